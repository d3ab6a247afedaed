"""How closely the warp renderer follows a clip that drives its own first frame.

    ./run python scripts/check_reenact.py --data ../shared/data [--sheets FOLDER] [CLIP ...]

Driver and output are both looked at with MediaPipe's Face Landmarker, which mien does not contain. "error" is the mean
distance of the 478 landmarks over the distance of the outer eye corners, in per cent, nothing aligned; "still" is the
same if the photo did not move at all. Lids and mouth are the correlations of the gap between the lids (over the eye's
width) and between the lips (over the face height). "mien's eyes" compares the Landmarker on the driver with the mesh
that mien's tracker sees in the very same pictures: what two readers of one picture disagree about. "In the mirror"
compares what the Landmarker says of the driver with what it says of its mirror image: how sure it is itself.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

os.environ.setdefault("GLOG_minloglevel", "3")

from mien import metrics
from mien.media.image import write_image
from mien.media.sheet import contact_sheet
from mien.media.video import VideoReader
from mien.motion.transfer import Driver, Manner, follow
from mien.perception.landmarks import MediapipeBackend, opposites
from mien.perception.tracking import beyond_rig, track_image, track_video
from mien.pipelines.reenact import warped
from mien.types import Frame

Array = npt.NDArray[np.float32]

ROOT = Path(__file__).parents[1]
TASK = "weights/mediapipe/face_landmarker.task"
TUNED_ON = ("styletalk_source/Obama_clip1.mp4", "edtalk/expression_source.mp4", "edtalk/pose_source2.mp4",
            "liveportrait/d0.mp4", "liveportrait/d9.mp4", "liveportrait/d14.mp4",
            "styletalk_style/furious_talk1_clip2.mp4")  # fmt: skip
LEFT_OUT = ("icface/00296.mp4", "styletalk_source/andrew_clip_1.mp4", "styletalk_source/feifeili_clip1.mp4",
            "liveportrait/d3.mp4", "liveportrait/d10.mp4", "liveportrait/d13.mp4", "liveportrait/d19.mp4",
            "pyfeat/WolfgangLanger_Pexels.mp4", "edtalk/mouth_source.mp4", "grid_s1/bbaf2n.mpg")  # fmt: skip
"""Other people than those above."""
_LIDS = ((33, 133, (159, 145), (158, 153), (160, 144)), (263, 362, (386, 374), (385, 380), (387, 373)))


class Landmarker:
    """The Face Landmarker on single pictures."""

    def __init__(self, path: Path) -> None:
        from mediapipe.tasks.python import BaseOptions, vision

        base = BaseOptions(model_asset_buffer=path.read_bytes())
        self._task = vision.FaceLandmarker.create_from_options(vision.FaceLandmarkerOptions(base_options=base))

    def __call__(self, frame: Frame) -> Array:
        """``(478, 2)`` pixels, NaN if there is no face."""
        import mediapipe as mp

        seen = self._task.detect(mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(frame)))
        if not seen.face_landmarks:
            return np.full((478, 2), np.nan, np.float32)
        return np.array([(p.x, p.y) for p in seen.face_landmarks[0]], np.float32) * frame.shape[1::-1]

    def in_the_mirror(self, frame: Frame) -> Array:
        """The same, of the mirror image, and mirrored back."""
        seen = self(frame[:, ::-1])[opposites()]
        seen[:, 0] = frame.shape[1] - seen[:, 0]
        return seen


def lid_gap(points: Array) -> Array:
    """``(T,)`` mean gap between the lids over the eye's width."""

    def distance(a: int, b: int) -> Array:
        return np.asarray(np.linalg.norm(points[:, a] - points[:, b], axis=-1), np.float32)

    eyes = [
        np.mean([distance(*pair) for pair in pairs], axis=0) / distance(outer, inner) for outer, inner, *pairs in _LIDS
    ]
    return np.asarray(np.mean(eyes, axis=0), np.float32)


def figures(truth: Array, other: Array) -> tuple[float, float, float]:
    """Landmark error in per cent of the eye distance, correlation of the lids and of the mouth."""
    both = np.isfinite(truth).all((1, 2)) & np.isfinite(other).all((1, 2))
    truth, other = truth[both], other[both]
    lips = metrics.pearson(metrics.lip_aperture(truth), metrics.lip_aperture(other))
    return metrics.landmark_distance(truth, other), metrics.pearson(lid_gap(truth), lid_gap(other)), lips


def surroundings(landmarks: Array, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the picture around a face in all frames ``(T, N, 2)``, half a face wider."""
    low, high = landmarks.min((0, 1)), landmarks.max((0, 1))
    margin = np.ptp(landmarks, axis=1).max() / 2
    left, top = np.maximum(low - margin, 0).astype(int)
    right, bottom = np.minimum(high + margin, size[::-1]).astype(int)
    return int(left), int(top), int(right), int(bottom)


def measure(clip: Path, task: Path, longest: int, sheet: Path | None, cut: bool) -> tuple[list[Array], float]:
    """Figures of the output, of mien's own eyes, of the Landmarker in the mirror, of a photo that stays still; the
    furthest the head turns, degrees."""
    reader = VideoReader(clip)
    frames = list(reader.between(0, longest))
    seen = track_video(frames, fps=reader.fps, backend=MediapipeBackend(careful=True))
    portrait = track_image(frames[0])
    driver = Driver(seen.motion, seen.cameras[:, 0], seen.identity, beyond_rig(seen))
    followed = follow(driver, portrait.rest, portrait.identity, Manner())
    made = list(warped(portrait, followed))
    look, own = Landmarker(task), seen.landmarks[..., :2]
    if sheet is not None:
        picked = np.linspace(0, len(frames) - 1, 8).astype(int)
        pictures = [*(frames[i] for i in picked), *(made[i] for i in picked)]
        write_image(sheet / f"{clip.stem}.png", contact_sheet(pictures, columns=8, width=230))
    turn = float(np.rad2deg(np.linalg.norm(followed.motion.head_pose, axis=1).max()))
    if cut:
        left, top, right, bottom = surroundings(own, seen.size)
        own = own - np.array([left, top], np.float32)
        frames, made = ([frame[top:bottom, left:right] for frame in pictures] for pictures in (frames, made))
    truth, again = (np.stack([look(frame) for frame in pictures]) for pictures in (frames, made))
    mirrored = np.stack([look.in_the_mirror(frame) for frame in frames])
    still = np.repeat(truth[:1], len(truth), 0)
    compared = (again, own, mirrored, still)
    return [np.array(figures(truth, other), np.float32) for other in compared], turn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", help="clips in the folder video, instead of all in the table")
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data", help="folder with video and weights")
    parser.add_argument("--frames", type=int, default=150, help="no more than this many frames of each clip")
    parser.add_argument("--cut", action="store_true", help="show the Landmarker only what is around the face: where a "
                        "face is small in the picture its mesh does not fit")  # fmt: skip
    parser.add_argument("--sheets", type=Path, help="folder for pictures, driver above output")
    options = parser.parse_args()
    columns = "turn  error  lids  mouth   mien's eyes: error  lids  mouth   in the mirror: error  lids  mouth   still"
    print(f"{'':40s}  {columns}")
    groups = (("asked for", options.clips),) if options.clips else (("tuned on", TUNED_ON), ("left out", LEFT_OUT))
    for title, clips in groups:
        rows = []
        for clip in clips:
            path = options.data / "video" / clip
            results, turn = measure(path, options.data / TASK, options.frames, options.sheets, options.cut)
            row, own, mirrored, still = results
            rows.append(row)
            print(
                f"{clip:40s} {turn:5.0f} {row[0]:6.2f} {row[1]:5.2f} {row[2]:6.2f}"
                f" {own[0]:20.2f} {own[1]:5.2f} {own[2]:6.2f}"
                f" {mirrored[0]:22.2f} {mirrored[1]:5.2f} {mirrored[2]:6.2f} {still[0]:7.2f}",
                flush=True,
            )
        error, lids, mouth = np.median(rows, axis=0)
        print(f"{title + ', median':40s} {'':5s} {error:6.2f} {lids:5.2f} {mouth:6.2f}")


if __name__ == "__main__":
    main()
