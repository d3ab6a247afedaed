"""How well a trained person renderer draws frames that it has never seen, beside what needs no training.

Drawn are the frames of each clip's last quarter, twice: by the landmarks seen in them, as a video's frames are when
its motion is changed, and by the tracked motion alone. Face is the part that the geometry images cover; mouth is
head2head++'s window. Everything is measured on the crops, a clip's value is the mean over its frames.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.errors import NoFaceError
from mien.media.output import atomic_output
from mien.media.person_folder import PersonClip
from mien.metrics.motion import average_expression_distance
from mien.metrics.pictures import average_pixel_distance, psnr, second_difference, ssim
from mien.perception.tracking import track_video
from mien.progress import Progress, track
from mien.rendering.conditioning import Conditioner
from mien.rendering.memory import N_POINTS
from mien.rendering.person import Wanted, WindowRenderer
from mien.rendering.video import relative
from mien.rendering.warp import WarpRenderer
from mien.training.datasets.person_frames import LEARN, REPORT, PersonFrames, Rows
from mien.training.distributed import agreed, world
from mien.training.loop import Log
from mien.training.options import TrainRendererResult
from mien.types import FaceMotion, Frame, Portrait

Mask = npt.NDArray[np.bool_]

MOUTH_SHARE = 72 / 256
"""Side of the mouth's window over that of the crop, as in head2head++."""

_MOST_FRAMES = 200
_WARPED_EVERY = 8  # frames between those that the warp renderer draws
_WORST = 4
_STILL = 2.5  # px at 256 that a frame's landmarks may move to count for flicker


def stopper(minutes: float, patience: int) -> Callable[[Log], bool]:
    """Enough is after so many minutes, or when validation has not become better for so many epochs."""

    def enough(log: Log) -> bool:
        totals = [entry["validation"]["total"] for entry in log]
        return agreed(log[-1]["minutes"] >= minutes or len(totals) - 1 - int(np.argmin(totals)) >= patience)

    return enough


def finish(
    path: Path,
    frames: PersonFrames,
    renderer: WindowRenderer,
    entries: Log,
    progress: Progress | None,
) -> TrainRendererResult:
    """Measure what a run has made, and write its report beside ``path``, from the first process alone."""
    figures: dict[str, Any] = {"drawn": {"face_psnr": float("nan"), "mouth_psnr": float("nan")}}
    if world()[0] == 0:
        figures, worst = measure(frames, renderer, progress)
        write_report(path.parent, frames, figures, worst, renderer, entries)
    drawn = figures["drawn"]
    return TrainRendererResult(
        path,
        len(entries),
        round(entries[-1]["minutes"], 1),
        len(frames.rows(LEARN)),
        drawn["face_psnr"],
        drawn["mouth_psnr"],
    )


def draw(renderer: WindowRenderer, frames: PersonFrames, rows: Rows, *, modelled: bool) -> Iterator[Frame]:
    """Some crops as the renderer draws them, by their landmarks or (``modelled``) by their motion alone."""
    points = frames.modelled if modelled else frames.points
    return renderer.windows(Wanted(points[row], frames.keys[[row]], modelled) for row in rows)


def measure(
    frames: PersonFrames, renderer: WindowRenderer, progress: Progress | None = None
) -> tuple[dict[str, Any], Sequence[int]]:
    """The figures, and the rows that were drawn worst.

    Args:
        frames: of the person.
        renderer: as trained.
        progress: sees a stage ``"report"``.
    """
    rows = held_out(frames)
    scores: dict[str, list[dict[str, float]]] = {}
    crops: list[Frame] = []
    drawn: list[Frame] = []
    masks: list[Mask] = []
    conditioner = Conditioner(frames.rig, frames.size)
    baselines = _Baselines(frames)
    by_landmarks, by_motion = (draw(renderer, frames, rows, modelled=modelled) for modelled in (False, True))
    for number, row in enumerate(track(rows.tolist(), progress, "report", len(rows))):
        crop = frames.crop(row)
        face = conditioner.draw(frames.points[row]).mask > 0
        mouth = mouth_window(frames, row)
        pictures = {"drawn": next(by_landmarks), "drawn_by_motion": next(by_motion), "nearest": baselines.nearest(row)}
        if number % _WARPED_EVERY == 0:
            pictures |= {"warp": baselines.warp(row), "warp_nearest": baselines.warp_nearest(row)}
        for name, picture in pictures.items():
            scores.setdefault(name, []).append(_scores(crop, picture, face, mouth))
        crops.append(crop)
        drawn.append(pictures["drawn"])
        masks.append(face)
    figures: dict[str, Any] = {
        name: {key: round(float(np.mean([s[key] for s in some])), 4) for key in some[0]}
        for name, some in scores.items()
    }
    figures["n_frames"] = len(rows)
    figures["flicker_ratio"] = _flicker_ratio(frames, rows, crops, drawn, masks)
    figures["aed"] = _expression_distance(frames, crops, drawn)
    order = np.argsort([s["face_psnr"] for s in scores["drawn"]])
    return figures, [int(rows[i]) for i in order[:_WORST]]


def held_out(frames: PersonFrames) -> Rows:
    """The frames to report on: from every clip's last quarter as many, from its start."""
    rows = frames.rows(REPORT)
    each = -(-_MOST_FRAMES // len(frames.person.clips))
    return np.concatenate([rows[frames.clip[rows] == clip][:each] for clip in range(len(frames.person.clips))])


def mouth_window(frames: PersonFrames, row: int) -> tuple[slice, slice]:
    """Rows and columns around the median of the lips' landmarks."""
    side = round(MOUTH_SHARE * frames.size)
    lips = np.concatenate([frames.rig.contours["lips_outer"], frames.rig.contours["lips_inner"]])
    middle = np.median(frames.points[row, lips, :2], 0)
    left, top = np.clip(np.rint(middle - side / 2), 0, frames.size - side).astype(int).tolist()
    return slice(top, top + side), slice(left, left + side)


def _scores(crop: Frame, picture: Frame, face: Mask, mouth: tuple[slice, slice]) -> dict[str, float]:
    return {
        "face_psnr": psnr(crop, picture, face),
        "mouth_psnr": psnr(crop[mouth], picture[mouth]),
        "psnr": psnr(crop, picture),
        "ssim": ssim(crop, picture),
        "apd": average_pixel_distance(crop, picture),
        "mapd": average_pixel_distance(crop, picture, face),
        "mouth_apd": average_pixel_distance(crop[mouth], picture[mouth]),
    }


class _Baselines:
    """What needs no training: the training frame with the nearest landmarks, and the warp renderer."""

    def __init__(self, frames: PersonFrames) -> None:
        self._frames = frames
        self._rows = frames.rows(LEARN)
        self._points = frames.points[self._rows, :, :2].reshape(len(self._rows), -1)
        keys = frames.keys.mouth[self._rows]
        self._typical = int(self._rows[((keys - np.median(keys, 0)) ** 2).sum(1).argmin()])
        self._renderer = WarpRenderer(self._portrait(self._typical))

    def nearest_row(self, row: int) -> int:
        wanted = self._frames.points[row, :, :2].reshape(-1)
        return int(self._rows[((self._points - wanted) ** 2).sum(1).argmin()])

    def nearest(self, row: int) -> Frame:
        return self._frames.crop(self.nearest_row(row))

    def warp(self, row: int) -> Frame:
        """From the training frame whose mouth is the most usual."""
        return self._moved(self._renderer, self._typical, row)

    def warp_nearest(self, row: int) -> Frame:
        """From the nearest training frame: a portrait anew for each frame."""
        start = self.nearest_row(row)
        return self._moved(WarpRenderer(self._portrait(start)), start, row)

    def _moved(self, renderer: WarpRenderer, start: int, row: int) -> Frame:
        return next(renderer.render(relative(self._motion(row), self._motion(start))))

    def _place(self, row: int) -> tuple[PersonClip, int]:
        """The clip that a frame is of, and its number there."""
        return self._frames.person.clips[self._frames.clip[row]], int(self._frames.index[row])

    def _motion(self, row: int) -> FaceMotion:
        clip, index = self._place(row)
        return clip.motion[index : index + 1]

    def _portrait(self, row: int) -> Portrait:
        clip, index = self._place(row)
        left, top, side = clip.boxes[index]
        scale = self._frames.size / side
        camera = (clip.cameras[index] - np.array([0, left, top], np.float32)) * scale
        landmarks = (clip.landmarks[index] - np.array([left, top, 0], np.float32)) * scale
        return Portrait(self._frames.crop(row), landmarks, clip.identity, self._motion(row), camera)


def _flicker_ratio(
    frames: PersonFrames, rows: Rows, crops: Sequence[Frame], drawn: Sequence[Frame], masks: Sequence[Mask]
) -> float:
    """Second difference over time of skin that stands still, drawn over filmed.

    Still are frames whose landmarks hardly move; skin is the face without mouth and eyes.
    """
    most = _STILL * frames.size / 256
    real, ours = [], []
    for i in range(1, len(rows) - 1):
        before, now, after = rows[i - 1 : i + 2]
        if not (frames.goes_on[before] and frames.goes_on[now] and before + 1 == now and now + 1 == after):
            continue
        points = frames.points[[before, now, after], :N_POINTS, :2]
        if np.abs(np.diff(points, axis=0)).max() > most:
            continue
        skin = masks[i].copy()
        for name in ("lips_outer", "eye_left", "eye_right"):
            corners = points[1, frames.rig.contours[name]]
            reach = 0.25 * np.ptp(corners, axis=0).max()
            left, top = np.maximum(corners.min(0) - reach, 0).astype(int)
            right, bottom = (corners.max(0) + reach).astype(int)
            skin[top:bottom, left:right] = False
        real.append(second_difference(crops[i - 1], crops[i], crops[i + 1], skin))
        ours.append(second_difference(drawn[i - 1], drawn[i], drawn[i + 1], skin))
    return round(float(np.mean(ours)) / max(float(np.mean(real)), 1e-6), 4) if real else float("nan")


def _expression_distance(frames: PersonFrames, crops: Sequence[Frame], drawn: Sequence[Frame]) -> float | None:
    """AED between what tracking reads in the filmed and in the drawn crops; ``None`` if it finds no face in them."""
    fps = frames.person.clips[0].fps
    try:
        read = [track_video(pictures, fps=fps).motion.expression for pictures in (crops, drawn)]
    except NoFaceError:
        return None
    return round(average_expression_distance(*read), 4)


def write_report(
    folder: Path,
    frames: PersonFrames,
    figures: Mapping[str, Any],
    worst: Sequence[int],
    renderer: WindowRenderer,
    entries: Log,
) -> None:
    """``report.json`` and ``report.png`` in the folder of a run: figures, learning curve, worst frames beside truth.

    Args:
        folder: of the run.
        frames: of the person.
        figures: of :func:`measure`.
        worst: of :func:`measure`.
        renderer: as trained.
        entries: the log of the training.
    """
    from matplotlib.figure import Figure

    curve = [{"minutes": e["minutes"], "cpu_minutes": e["cpu_minutes"], **e["validation"]} for e in entries]
    with atomic_output(folder / "report.json") as temporary:
        temporary.write_text(json.dumps({**figures, "curve": curve}, indent=1) + "\n", encoding="utf-8")
    figure = Figure(figsize=(10, 3 + 2.5 * len(worst)), layout="constrained")
    grid = figure.add_gridspec(1 + len(worst), 3)
    axes = figure.add_subplot(grid[0, :])
    axes.plot([c["cpu_minutes"] for c in curve], [c["face_psnr"] for c in curve], marker=".")
    axes.set(xlabel="minutes of processor time", ylabel="face PSNR, dB", title="on the frames that say when to stop")
    axes.grid(alpha=0.3)
    pictures = zip(worst, draw(renderer, frames, np.array(worst), modelled=False), strict=True)
    for line, (row, picture) in enumerate(pictures, 1):
        crop = frames.crop(row)
        error = np.abs(crop.astype(np.int16) - picture).max(-1)
        for column, (title, shown) in enumerate((("filmed", crop), ("drawn", picture), ("difference", error))):
            place = figure.add_subplot(grid[line, column])
            place.imshow(shown, cmap="magma", vmin=0, vmax=96 if column == 2 else 255)
            place.set_title(f"{title}, {frames.person.clips[frames.clip[row]].name} {frames.index[row]}", fontsize=8)
            place.set_axis_off()
    with atomic_output(folder / "report.png") as temporary:
        figure.savefig(temporary, dpi=100, format="png")


def table(figures: Mapping[str, Any]) -> Iterable[str]:
    """The figures in words, one line each."""
    names = {
        "drawn": "drawn by landmarks",
        "drawn_by_motion": "drawn by the motion alone",
        "nearest": "nearest training frame",
        "warp": "warp renderer, usual frame",
        "warp_nearest": "warp renderer, nearest frame",
    }
    yield "| what | face, dB | mouth, dB | SSIM | APD | MAPD | mouth APD |"
    yield "|---|---|---|---|---|---|---|"
    for key, name in names.items():
        f = figures[key]
        yield (
            f"| {name} | {f['face_psnr']:.2f} | {f['mouth_psnr']:.2f} | {f['ssim']:.3f} | {f['apd']:.2f} "
            f"| {f['mapd']:.2f} | {f['mouth_apd']:.2f} |"
        )
    yield f"flicker of still skin over the film's own: {figures['flicker_ratio']:.2f}; AED {figures['aed']}"
