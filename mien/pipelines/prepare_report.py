"""How good a person's material is: figures per clip, sentences about what is wrong, and a picture to look at."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mien.media.person_folder import PersonClip
from mien.types import Array, Frame

REPORT, PICTURE = "report.json", "report.png"

_RINGS = (0.15, 0.5)
"""Radii on the emotion disc: within the first is the neutral field; outside there are two rings of eight fields."""
_N_FIELDS = 17
_LEAST_SECONDS = 1.0
"""So long must a clip stay in a field of the disc for the field to count as covered."""
_SYNC_PIECE = 60.0
"""Seconds of sound that are compared with the mouth at a time."""
_CLEAR_SYNC = 0.1
"""By so much must the best correlation of sound and mouth stand above chance for its lag to mean anything."""
_IN_SYNC = 0.95
"""Sound and picture that fit as they are to this share of the best fit have no lag: neighbouring frames look alike."""
_LARGEST_LAG = 0.1
_SHEET = (4, 12)
_MOUTH = ("jaw", "mouth")


def clip_quality(clip: PersonClip, crop_size: int) -> dict[str, Any]:
    """Figures about one clip.

    Returns:
        ``sharpness`` (median), ``without_face`` (share of frames), ``face_px`` (median height of the face, px of the
        video), ``enlarged`` (share of frames whose crop shows fewer pixels of the video than it has itself),
        ``coverage`` (share of the fields of the emotion disc), ``labels`` (share of frames by likeliest label),
        ``head_degrees`` (range of nod, turn, tilt) and, where there is a face nearly throughout and sound for four
        seconds or more, ``sync`` and ``lag`` (seconds by which the picture comes after the sound; ``None`` if nothing
        fits).
    """
    head = np.rad2deg(clip.motion.head_pose)
    height = np.ptp(clip.landmarks[..., 1], axis=1)
    labels = Counter(clip.emotion.best())
    quality = {
        "sharpness": round(float(np.median(clip.sharpness)), 4),
        "without_face": round(1 - float(clip.found.mean()), 4),
        "face_px": round(float(np.median(height[clip.found])), 1),
        "enlarged": round(float((clip.boxes[:, 2] < crop_size).mean()), 4),
        "coverage": round(float(covered(clip.va, clip.fps).mean()), 4),
        "labels": {label: round(n / len(clip), 4) for label, n in labels.most_common()},
        "head_degrees": [round(float(np.ptp(angle)), 1) for angle in head.T],
    }
    return quality | _sync(clip)


def _sync(clip: PersonClip) -> dict[str, Any]:
    from mien.media.audio import read_audio
    from mien.metrics.sync import log_mel, sync_score

    n = round(_SYNC_PIECE * clip.fps)
    if clip.sound is None or len(clip) < 4 * clip.fps or clip.found.mean() < 0.9:
        return {}
    sound = log_mel(read_audio(clip.sound), clip.fps, len(clip))
    mouth = clip.motion.expression[:, [name.startswith(_MOUTH) for name in clip.motion.expression_names]]
    starts = range(0, max(1, len(clip) - n // 2), n)
    ends = [*list(starts)[1:], len(clip)]
    scores = []
    for start, end in zip(starts, ends, strict=True):
        try:
            scores.append(sync_score(sound[start:end], mouth[start:end], clip.fps))
        except ValueError:  # too short, or a mouth that never moves
            continue
    clear = [
        0.0 if score.at_zero > _IN_SYNC * score.best else score.lag
        for score in scores
        if score.best - score.off_peak > _CLEAR_SYNC
    ]
    return {
        "sync": round(float(np.median([score.best for score in scores])), 4) if scores else None,
        "lag": round(float(np.median(clear)), 3) if clear else None,
    }


def fields(va: Array) -> np.ndarray:
    """``(T,)`` which of the 17 fields of the emotion disc each row of ``(T, 2)`` lies in; 0 is the neutral one."""
    ring = np.searchsorted(_RINGS, np.hypot(va[:, 0], va[:, 1]), side="right")
    sector = np.round(np.arctan2(va[:, 1], va[:, 0]) / (np.pi / 4)).astype(np.int64) % 8
    return np.where(ring == 0, 0, 1 + (ring - 1) * 8 + sector)


def covered(va: Array, fps: float) -> np.ndarray:
    """``(17,)`` which fields of the emotion disc are visited for a second or more."""
    return np.bincount(fields(va), minlength=_N_FIELDS) >= _LEAST_SECONDS * fps


def warnings_of(clips: Sequence[PersonClip]) -> list[str]:
    """What is wrong with the material, in plain sentences."""
    found = []
    for clip in clips:
        quality = clip.quality
        if quality["without_face"] > 0.02:
            found.append(f"{clip.name}: no face in {quality['without_face']:.0%} of the frames")
        if quality["enlarged"] > 0.5:
            found.append(f"{clip.name}: the face is only {quality['face_px']:.0f} px high, its crops are enlarged")
        lag = quality.get("lag")
        if lag is not None and abs(lag) > _LARGEST_LAG:
            side = "after" if lag > 0 else "before"
            found.append(f"{clip.name}: the picture comes {abs(lag):.2f} s {side} the sound")
        if clip.sound is None:
            found.append(f"{clip.name}: has no sound")
    share = coverage(clips)
    if share < 0.5:
        found.append(f"only {share:.0%} of the emotion disc is visited: film more moods to teach them")
    seconds = sum(clip.motion.duration for clip in clips)
    if seconds < 60:
        found.append(f"{seconds:.0f} s are little to learn from")
    return found


def coverage(clips: Sequence[PersonClip]) -> float:
    """Share of the 17 fields of the emotion disc that all clips together visit for a second or more."""
    seconds = sum(np.bincount(fields(clip.va), minlength=_N_FIELDS) / clip.fps for clip in clips)
    return float(np.mean(seconds >= _LEAST_SECONDS))


def write_report(folder: Path, clips: Sequence[PersonClip], left_out: Mapping[str, str]) -> None:
    """``report.json`` and ``report.png``.

    Raises:
        OSError: if the place cannot be written.
    """
    from mien.media.output import atomic_output

    frames = sum(map(len, clips))
    content = {
        "n_clips": len(clips),
        "n_frames": frames,
        "seconds": round(sum(clip.motion.duration for clip in clips), 2),
        "coverage": round(coverage(clips), 4),
        "warnings": warnings_of(clips),
        "left_out": dict(left_out),
        "clips": {clip.name: dict(clip.quality) for clip in clips},
    }
    with atomic_output(folder / REPORT) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    with atomic_output(folder / PICTURE) as temporary:
        _figure(clips, content).savefig(temporary, dpi=100)


def _figure(clips: Sequence[PersonClip], content: Mapping[str, Any]) -> Any:
    """Crops from all clips, the emotion disc, and sharpness over time."""
    from matplotlib.figure import Figure

    from mien.pipelines.plot import disc_of

    figure = Figure(figsize=(14, 9.5), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.15, 1))
    top, bottom = parts
    axes = top.add_subplot()
    axes.imshow(contact_sheet(clips))
    axes.set_axis_off()
    says = [f"{content['n_clips']} clips, {content['n_frames']} frames, {content['seconds']:.0f} s",
            *content["warnings"][:4]]  # fmt: skip
    axes.set_title("\n".join(says), loc="left", fontsize=9)
    left, right = bottom.subplots(1, 2, width_ratios=(1, 1.6))
    disc_of(left, {clip.name: clip.emotion for clip in clips}, "cloud")
    left.set_title(f"{content['coverage']:.0%} of the disc's fields visited", fontsize=9)
    start = 0.0
    for clip in clips:
        at = start + np.arange(len(clip)) / clip.fps
        right.plot(at, np.where(clip.found, clip.sharpness, np.nan), linewidth=0.7)
        right.vlines(at[~clip.found], 0, 0.02, color="red", linewidth=0.7)
        right.text(start, 1.0, clip.name, fontsize=6, rotation=20, transform=right.get_xaxis_transform())
        start += clip.motion.duration
    right.set(xlabel="seconds, all clips in a row", ylabel="sharpness of the crop (red: no face)", ylim=(0, None))
    return figure


def contact_sheet(clips: Sequence[PersonClip]) -> Frame:
    """Crops at equal distances through all clips, 128 px each."""
    import cv2

    rows, columns = _SHEET
    where = [(clip, index) for clip in clips for index in range(len(clip))]
    chosen = [where[int(i)] for i in np.linspace(0, len(where) - 1, rows * columns)]
    tiles = [cv2.resize(clip.crop(index), (128, 128), interpolation=cv2.INTER_AREA) for clip, index in chosen]
    return np.asarray(
        np.vstack([np.hstack(tiles[row * columns : (row + 1) * columns]) for row in range(rows)]), np.uint8
    )
