"""``mien redirect`` on a clip made of a photo that nods and, for some frames, is not there."""

from pathlib import Path

import numpy as np
import pytest

from mien.errors import DirectionError, InputError, OutputError
from mien.media.motion_file import read_motion
from mien.media.provenance import read_provenance
from mien.media.video import VideoReader, write_video
from mien.metrics import psnr
from mien.pipelines.redirect import RedirectOptions, redirect, visibility

FPS = 25


@pytest.fixture(scope="module")
def clip(tmp_path_factory, sample_portrait: Path) -> Path:
    """Thirty frames: the portrait drifts; the last five are grey, which is a cut."""
    from mien.media.image import read_image

    photo = read_image(sample_portrait, max_side=224)
    frames = [np.roll(photo, i // 4, 1) for i in range(25)] + [np.full_like(photo, 128)] * 5
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", frames, FPS, crf=5)


@pytest.fixture(scope="module")
def happy(clip: Path, tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("happy")
    video, motion = folder / "out.mp4", folder / "out.npz"
    result = redirect(RedirectOptions(clip, video, emotion="0.3s-1s:happy:0.9"))
    assert (result.n_frames, result.fps, result.method) == (30, FPS, "rules")
    assert 15 <= result.changed <= 17
    redirect(RedirectOptions(clip, motion, emotion="0.3s-1s:happy:0.9"))
    return video, motion


def test_frames_outside_the_stretch_and_without_a_face_stay(clip: Path, happy) -> None:
    before, after = list(VideoReader(clip)), list(VideoReader(happy[0]))
    assert len(after) == len(before) == 30
    kept = [psnr(before[i], after[i]) for i in (*range(8), *range(25, 30))]  # what the second encoding costs
    assert min(kept) > 38
    assert psnr(before[16], after[16]) < min(kept) - 4


def test_the_motion_is_felt_and_mostly_the_clips_own(clip: Path, happy, tmp_path: Path) -> None:
    from mien.perception.tracking import track_video

    own, motion = track_video(clip).motion, read_motion(happy[1])
    assert np.array_equal(motion.expression[:8], own.expression[:8])
    assert np.array_equal(motion.expression[25:], own.expression[25:])
    assert motion.column("mouthSmileLeft")[16] > own.column("mouthSmileLeft")[16] + 0.2
    steps = np.abs(np.diff(motion.column("mouthSmileLeft") - own.column("mouthSmileLeft")))
    assert steps.max() < 0.25
    assert np.array_equal(motion.head_pose, own.head_pose)


def test_the_record_says_what_was_done(happy) -> None:
    record = read_provenance(happy[0])
    assert record is not None and record["verb"] == "redirect" and record["synthetic"]
    assert record["settings"]["method"] == "rules" and record["inputs"]["video"]["name"] == "clip.mp4"


def test_nothing_asked_for_is_the_clip(clip: Path, tmp_path: Path) -> None:
    result = redirect(RedirectOptions(clip, tmp_path / "out.npz", emotion="0.3s-1s:happy", intensity=0))
    assert result.changed == 0
    result = redirect(RedirectOptions(clip, tmp_path / "out.npz", direction="0s:neutral, 5s:happy"))
    assert result.changed == 0


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({}, "no emotion is asked for"),
        ({"emotion": "happy", "direction": "sad"}, "give one of them"),
        ({"emotion": "1s-2s:hapy"}, "did you mean 'happy'"),
        ({"emotion": "1s-2s:0.5"}, "names no emotion"),
        ({"emotion": "happy", "intensity": 2.0}, "--intensity is 2"),
        ({"emotion": "happy", "reference": (Path("x.npz"),)}, "the reference says what to feel"),
        ({"reference": (Path("x.npz"),), "method": "rules"}, "takes no --reference"),
        ({"emotion": "happy", "weights": Path("x.safetensors")}, "takes no --weights"),
        ({"reference": (Path("missing.npz"),)}, "missing.npz"),
        ({"emotion": "happy", "weights": Path("missing.npz"), "method": "ned"}, "missing.npz: no such file"),
        ({"emotion": "90s-99s:happy"}, "starts at 90 s, but the video ends at"),
        ({"emotion": "happy", "person": Path("somebody")}, "nothing that was learned of them is used"),
        ({"emotion": "happy", "face": 0}, "--face is 0"),
    ],
)
def test_bad_requests_are_refused_before_any_work(clip: Path, tmp_path: Path, flags, says: str) -> None:
    with pytest.raises((InputError, DirectionError)) as error:
        redirect(RedirectOptions(clip, tmp_path / "out.mp4", **flags))
    assert says in str(error.value)
    assert not list(tmp_path.iterdir())


def test_bad_outputs_are_refused(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.mp4, \.webm"):
        redirect(RedirectOptions(clip, tmp_path / "out.avi", emotion="happy"))
    with pytest.raises(OutputError, match="is the input itself"):
        redirect(RedirectOptions(clip, clip, emotion="happy"))


def test_an_emotion_fades_where_the_face_goes() -> None:
    found = np.ones(100, np.bool_)
    found[40:50] = False
    seen = visibility(found, (0, 60), FPS)
    assert (seen[40:50] == 0).all() and (seen[:33] == 1).all() and (seen[60:] == 1).all()
    assert 0 < seen[38] < 1 and 0 < seen[52] < 1 and np.abs(np.diff(seen)).max() <= 0.25
