"""``mien prepare``: the folder is right, survives being killed, grows, and says what is wrong with the material."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
import soundfile

import mien.pipelines.prepare as pipeline
from mien.errors import InputError, NoFaceError, OutputError
from mien.media.image import read_image
from mien.media.person_folder import crop_from_image, load_person
from mien.media.video import VideoReader, write_video
from mien.perception.tracking import track_video
from mien.pipelines.inspect import InspectOptions, inspect
from mien.pipelines.prepare import PrepareOptions, prepare

N, PART = 40, 12
CODE = f"import mien.pipelines.prepare as p; p.PART = {PART}; from mien.cli import main; import sys; sys.exit(main())"


@pytest.fixture(scope="module")
def clip(sample_portrait, tmp_path_factory):
    """A face that drifts to the right, with sound."""
    folder = tmp_path_factory.mktemp("clips")
    photo = read_image(sample_portrait, max_side=400)
    soundfile.write(folder / "a.wav", np.sin(np.arange(8000 * N // 25) / 20) / 4, 8000)
    frames = (np.roll(photo, 2 * i, axis=1) for i in range(N))
    return write_video(folder / "walk by.mp4", frames, 25, sound=folder / "a.wav")


@pytest.fixture(scope="module")
def folder(clip, tmp_path_factory):
    """The clip's folder, made without interruption by one process, in three parts."""
    target = tmp_path_factory.mktemp("person") / "set"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "PART", PART)
        result = prepare(PrepareOptions((clip,), target, crop_size=96, jobs=1))
    assert (result.n_clips, result.n_frames, result.seconds, result.left_out) == (1, N, N / 25, ())
    return target


def everything(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_row_and_a_crop_for_every_frame(folder, clip):
    (read,) = load_person(folder).clips
    whole = track_video(clip)
    assert len(read) == N and read.found.all() and read.name == "walk_by" and read.shots == (0,)
    face = np.ptp(whole.landmarks[:, :, 0], axis=1).mean()
    assert np.abs(read.landmarks - whole.landmarks)[..., :2].mean() < 0.01 * face
    assert np.abs(read.motion.expression - whole.motion.expression).mean() < 0.03
    assert read.emotion.probabilities.shape == (N, 8) and read.units.values.shape[0] == N
    assert soundfile.info(read.sound).duration == pytest.approx(N / 25, abs=0.1)
    look = inspect(InspectOptions(folder))
    assert look.kind == "person" and look.figures["frames"] == N and "verb" in str(look)
    crops = [read.crop(i) for i in range(N)]
    assert crops[0].shape == (96, 96, 3) and (read.sharpness > 0).all()
    for i in (0, 20, 39):  # the crop shows what the box says, and the whole head is in it
        frame = next(VideoReader(clip).between(i, i + 1))
        points = read.landmarks[i, :, :2] @ crop_from_image(read.boxes[i], 96)[:, :2].T
        points = points + crop_from_image(read.boxes[i], 96)[:, 2]
        assert points.min() > 10 and points.max() < 86
        left, top, side = np.round(read.boxes[i]).astype(int)
        inside = cv2.resize(frame[max(top, 0) : top + side, left : left + side], (96, 96), interpolation=cv2.INTER_AREA)
        if top >= 0 and left >= 0 and left + side <= frame.shape[1] and top + side <= frame.shape[0]:
            assert np.abs(inside.astype(int) - crops[i]).mean() < 8


def test_the_square_follows_smoothly(folder):
    boxes = load_person(folder).clips[0].boxes
    assert np.ptp(boxes[:, 2]) == 0  # the face keeps its size, so the square does
    assert (np.diff(boxes[:, 0]) > 0).all() and np.abs(np.diff(boxes[:, 0], 2)).max() < 0.5


def test_killed_and_taken_up_again_it_is_the_same(folder, clip, tmp_path):
    command = [sys.executable, "-c", CODE, "prepare", str(clip), "-o", str(tmp_path / "set"), "--crop-size", "96"]
    with subprocess.Popen([*command, "--jobs", "2"], stderr=subprocess.PIPE) as run:
        until = time.monotonic() + 120
        while not list((tmp_path / "set").glob(".work/*/sight_*.npz")):
            assert run.poll() is None and time.monotonic() < until
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
        run.stderr.read()  # ends when the last of its processes has ended
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").glob(".work/*/sight_*.npz")}
    assert not (tmp_path / "set" / "manifest.json").exists() and kept
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "PART", PART)
        patch.setattr(pipeline.shutil, "rmtree", lambda *_, **__: None)  # to look at what was kept
        prepare(PrepareOptions((clip,), tmp_path / "set", crop_size=96, jobs=1))
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())  # not watched again
    made = {path: content for path, content in everything(tmp_path / "set").items() if path.parts[0] != ".work"}
    assert made == everything(folder)


def test_killed_in_its_very_last_step_it_is_finished(folder, clip, tmp_path):
    for path, content in everything(folder).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    begun = {"settings": json.loads((tmp_path / "manifest.json").read_text())["settings"], "clips": []}
    for name in ("manifest.json", "report.json", "report.png"):
        (tmp_path / name).unlink()
    (tmp_path / ".work").mkdir()
    (tmp_path / ".work" / "settings.json").write_text(json.dumps(begun))
    prepare(PrepareOptions((clip,), tmp_path, crop_size=96, jobs=1))
    assert everything(tmp_path) == everything(folder)


def test_a_finished_folder_is_left_alone_and_takes_more(folder, clip, tmp_path):
    target = tmp_path / "set"
    target.mkdir()
    for path, content in everything(folder).items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_bytes(content)
    again = PrepareOptions((clip,), target, crop_size=96, jobs=1)
    assert prepare(again).n_frames == N and everything(target) == everything(folder)
    grey = write_video(tmp_path / "grey.mp4", (np.full((96, 128, 3), 90, np.uint8) for _ in range(3)), 25)
    other = write_video(tmp_path / "still.mp4", list(VideoReader(clip).between(0, 4)), 25)
    result = prepare(replace(again, videos=(grey, other)))
    assert (result.n_clips, result.n_frames, result.left_out) == (2, N + 4, ("grey",))
    assert [read.name for read in load_person(target).clips] == ["walk_by", "still"]
    assert not (target / "clips" / "grey").exists() and not (target / ".work").exists()
    report = json.loads((target / "report.json").read_text())
    assert "no face" in report["left_out"]["grey"] and "still: has no sound" in report["warnings"]
    other.rename(tmp_path / "walk by.mp4")
    with pytest.raises(InputError, match="another video named walk_by"):
        prepare(replace(again, videos=(tmp_path / "walk by.mp4",)))
    with pytest.raises(InputError, match="begun with another --crop-size"):
        prepare(replace(again, crop_size=128))


def test_bad_options_and_places(clip, tmp_path):
    grey = write_video(tmp_path / "grey.mp4", (np.full((96, 128, 3), 90, np.uint8) for _ in range(3)), 25)
    with pytest.raises(InputError, match="no face found"):
        prepare(PrepareOptions((grey,), tmp_path / "a", jobs=1))
    with pytest.raises(InputError, match="at least one"):
        prepare(PrepareOptions((), tmp_path / "a"))
    for wrong in ({"crop_size": 8}, {"face": 0}, {"jobs": 0}, {"estimator": "x"}):
        with pytest.raises(InputError, match="--"):
            prepare(PrepareOptions((clip,), tmp_path / "a", **wrong))
    with pytest.raises(InputError, match="rename one"):
        prepare(PrepareOptions((clip, clip), tmp_path / "b"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="other things"):
        prepare(PrepareOptions((clip,), tmp_path / "full"))


def test_emonet_reads_the_same_as_in_one_go(clip, tmp_path):
    import torch

    from mien.perception.emonet import LABELS_5, EmoNet, EmoNetConfig
    from mien.pipelines.estimate import EmotionEstimator

    torch.manual_seed(0)
    torch.save(EmoNet(EmoNetConfig(labels=LABELS_5)).state_dict(), tmp_path / "w.pth")
    short = write_video(tmp_path / "a.mp4", list(VideoReader(clip).between(0, 5)), 25)
    estimator = f"emonet:{tmp_path / 'w.pth'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "PART", 3)
        prepare(PrepareOptions((short,), tmp_path / "set", crop_size=64, jobs=1, estimator=estimator))
    person = load_person(tmp_path / "set")
    read = person.clips[0]
    whole = EmotionEstimator.named(estimator).clip(short, read)
    assert read.emotion.labels == LABELS_5 and person.settings["estimator"].startswith("emonet:")
    assert str(tmp_path) not in (tmp_path / "set" / "manifest.json").read_text()
    np.testing.assert_allclose(read.va, whole.va, atol=1e-3)
    with pytest.raises(InputError, match="another --estimator"):
        prepare(PrepareOptions((short,), tmp_path / "set", crop_size=64, jobs=1))


def test_parts_that_saw_another_face_are_watched_again(clip, tmp_path):
    plan = pipeline.Plan(clip, tmp_path, "walk", "", 25.0, N, 96, None, "own", PART)
    for part in range(3):
        assert pipeline.watch_part(plan, part) == (PART, PART, N - 2 * PART)[part]
    right = pipeline._joined(plan, (400, 400)).landmarks
    path = plan.work / "sight_0001.npz"
    rows = pipeline._load(path)
    pipeline._save(path, **{**rows, "landmarks": rows["landmarks"] + 300})  # as if it had seen a neighbour
    mended = pipeline._joined(plan, (400, 400)).landmarks
    assert np.abs(mended - right)[..., :2].mean() < 1


def test_nobody_asked_for(clip, tmp_path):
    with pytest.raises((NoFaceError, InputError), match="face 3 asked for"):
        prepare(PrepareOptions((clip,), tmp_path / "a", face=3, jobs=1))
    assert not (tmp_path / "a").exists()  # another try may have other settings
