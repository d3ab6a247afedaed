"""The head lane: slow drift, nods on stressed syllables, settling at the ends of phrases.

Head movement of talkers follows pitch and loudness (Munhall et al., "Visual prosody and speech intelligibility", 2004;
Hadar et al., "Head movement correlates of juncture and stress at sentence level", 1983) with a standard deviation of
about 2 to 3 degrees in real talking clips.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mien.face.rhythm import accents, bumps, pauses, speaking, wander
from mien.types import Array, FaceMotion, SpeechFeatures

_DRIFT = (5.0, 7.0, 4.0)  # degrees of pitch, yaw and roll at the extremes of the drift
_PERIOD = 4.0  # s
_NOD = 2.6  # degrees down on the strongest accent
_NOD_WIDTH = 0.5  # s
_SETTLE, _SETTLE_WIDTH = 1.2, 1.2  # degrees down at the end of a phrase, and s
_SILENT_SHARE = 0.45  # of the drift that is left while nobody speaks


def head(
    n_frames: int, fps: float, *, amount: Array | float = 1.0, pitch: Array | float = 0, yaw: Array | float = 0,
    roll: Array | float = 0, speech: SpeechFeatures | None = None, seed: int = 0,
) -> FaceMotion:  # fmt: skip
    """Natural head movement around a given pose.

    Args:
        n_frames: length of the clip.
        fps: frames per second.
        amount: of natural movement, 0 (none) to 2, ``(n_frames,)`` or constant.
        pitch: of the given pose in degrees, positive downwards.
        yaw: positive to the subject's left.
        roll: positive counter-clockwise as the viewer sees it.
        speech: what the nods follow; without it there is only the drift of somebody who listens.
        seed: of the drift.

    Returns:
        Motion with ``head_pose`` alone; with amount 0 and no given pose it is exactly zero.
    """
    rng = np.random.default_rng([seed, 4])
    degrees = wander(n_frames, fps, 3, _PERIOD, rng) * np.array(_DRIFT, np.float32)
    nods = np.zeros(n_frames, np.float32)
    talking = np.zeros(n_frames, np.float32)
    if speech is not None:
        talking = speaking(speech)[:n_frames]
        stressed = accents(speech)
        heights = [_NOD * strength * rng.uniform(0.4, 1) for _, strength in stressed]
        nods = bumps(n_frames, fps, [time for time, _ in stressed], heights, _NOD_WIDTH)
        ends = [start for start, end in pauses(speech, 0.25) if start > 0]
        nods += bumps(n_frames, fps, ends, [_SETTLE] * len(ends), _SETTLE_WIDTH)
    degrees *= (_SILENT_SHARE + (1 - _SILENT_SHARE) * talking)[:, None]
    degrees[:, 0] += nods
    degrees *= np.reshape(np.asarray(amount, np.float32), (-1, 1))
    for axis, offset in enumerate((pitch, yaw, roll)):
        degrees[:, axis] += offset
    # The angles are small, so their vector is the axis-angle to well under a tenth of a degree; large given poses are
    # meant per axis anyway.
    return replace(FaceMotion.zeros(n_frames, fps), head_pose=np.radians(degrees))
