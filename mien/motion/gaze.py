"""The gaze lane: fixations on and around the viewer, joined by saccades.

People who talk to somebody look at the face in front of them for most of the time, dwell for about a second, and
glance away now and then (Argyle and Cook, "Gaze and mutual gaze", 1976; Lee, Badler and Badler, "Eyes alive", 2002, for
the statistics of amplitude and dwell time).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mien.direction import sample_keyframes
from mien.types import Array, FaceMotion

_SACCADE = 0.08  # s; a 10 degree saccade takes about 0.045 s, which is one frame at 25 fps
_DWELL = 1.1  # s, median
_ON_FACE = (2.2, 1.2)  # degrees of standard deviation of yaw and pitch around the target
_AWAY = (6.0, 3.0)
_AWAY_SHARE = 0.15


def gaze(
    n_frames: int, fps: float, *, amount: Array | float = 1.0, yaw: Array | float = 0, pitch: Array | float = 0,
    seed: int = 0,
) -> FaceMotion:  # fmt: skip
    """Where the eyes look, relative to the viewer.

    Args:
        n_frames: length of the clip.
        fps: frames per second.
        amount: of natural movement, 0 (none) to 2, ``(n_frames,)`` or constant.
        yaw: of the target in degrees, positive to the subject's left.
        pitch: of the target in degrees, positive downwards.
        seed: of the fixations.

    Returns:
        Motion with ``eye_pose`` alone, the same for both eyes; :func:`mien.motion.compose.compose` moves the lids
        along. With amount 0 and no target it is exactly zero.
    """
    rng = np.random.default_rng([seed, 3])
    times, points, spread = [0.0], [(0.0, 0.0)], _ON_FACE
    while times[-1] < n_frames / fps:
        glanced = spread is _AWAY  # nobody glances away for long, nor twice in a row
        spread = _AWAY if not glanced and rng.random() < _AWAY_SHARE else _ON_FACE
        times.append(times[-1] + 0.25 + _DWELL * rng.lognormal(0, 0.5) * (0.6 if glanced else 1))
        yaw_away, pitch_away = np.clip(rng.normal(0, spread), (-12, -6), (12, 6)).tolist()
        points.append((yaw_away, pitch_away))
    natural = sample_keyframes(times, np.array(points, np.float32), n_frames, fps, _SACCADE)
    motion = np.zeros((n_frames, 2, 3), np.float32)
    motion[:, :, 0] = np.radians(natural[:, 1] * amount + pitch)[:, None]
    motion[:, :, 1] = np.radians(natural[:, 0] * amount + yaw)[:, None]
    return replace(FaceMotion.zeros(n_frames, fps), eye_pose=motion)
