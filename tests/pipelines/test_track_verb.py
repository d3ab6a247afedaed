import json

import numpy as np
import pytest

from mien.errors import InputError, NoFaceError, OutputError
from mien.media.emotion_file import read_emotion
from mien.media.image import read_image, write_image
from mien.media.motion_file import read_motion
from mien.media.openface import read_openface
from mien.media.provenance import provenance, read_provenance
from mien.media.video import VideoReader, write_video
from mien.pipelines.inspect import InspectOptions, inspect
from mien.pipelines.track import TrackOptions, track


@pytest.fixture(scope="module")
def clip(sample_portrait, tmp_path_factory):
    """Twelve frames of a face that drifts to the right."""
    photo = read_image(sample_portrait, max_side=400)
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return write_video(path, (np.roll(photo, 2 * i, axis=1) for i in range(12)), 25)


@pytest.mark.parametrize("ending", ["npz", "csv"])
def test_a_clip_becomes_motion(clip, tmp_path, ending):
    result = track(TrackOptions(clip, tmp_path / f"a.{ending}"))
    motion = read_motion(result.output)
    assert len(motion) == result.n_frames == result.found == 12
    assert motion.fps == result.fps == 25
    assert motion.expression.min() >= 0 and motion.expression.max() <= 1


def test_action_units_by_the_longer_ending(clip, tmp_path):
    result = track(TrackOptions(clip, tmp_path / "a.openface.csv", fps=50))
    read = read_openface(result.output)
    assert len(read.units) == result.n_frames == 24 and read.units.fps == 50
    assert read.success.all() and len(read.units.names) == 17


def test_several_results_of_one_pass(clip, tmp_path):
    names = ("a.emotion.csv", "a.openface.csv", "a.json")
    track(TrackOptions(clip, tmp_path / "a.npz", also=tuple(tmp_path / name for name in names), fps=50))
    emotion = read_emotion(tmp_path / "a.emotion.csv")
    assert len(emotion) == len(read_motion(tmp_path / "a.npz")) == 24 and emotion.fps == 50
    assert len(read_openface(tmp_path / "a.openface.csv").units) == 24
    summary = json.loads((tmp_path / "a.json").read_text())
    assert sum(summary["emotions"].values()) == pytest.approx(1, abs=1e-3)
    assert summary["valence"]["min"] <= emotion.va[0, 0] <= summary["valence"]["max"]
    looks = [inspect(InspectOptions(tmp_path / name)) for name in names[:2]]
    assert [look.kind for look in looks] == ["emotion (table)", "action units (OpenFace CSV)"]
    assert all(look.figures["rows"] == 24 and look.figures["fps"] == 50 for look in looks)


def test_emonet_reads_with_the_users_weights(sample_portrait, tmp_path):
    import torch

    from mien.perception.emonet import LABELS_5, EmoNet, EmoNetConfig

    torch.manual_seed(0)
    torch.save(EmoNet(EmoNetConfig(labels=LABELS_5)).state_dict(), tmp_path / "emonet_5.pth")
    outputs = [tmp_path / "a.emotion.csv", tmp_path / "b.emotion.csv"]
    for path in outputs:
        track(TrackOptions(sample_portrait, path, estimator=f"emonet:{tmp_path / 'emonet_5.pth'}"))
    assert read_emotion(outputs[0]).labels == LABELS_5
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


@pytest.mark.parametrize(
    ("estimator", "message"), [("emonet", "give own"), ("deca", "give own"), ("emonet:no", "no such")]
)
def test_unknown_estimators_are_refused_before_any_work(tmp_path, estimator, message):
    with pytest.raises(InputError, match=message):
        track(TrackOptions(tmp_path / "missing.mp4", tmp_path / "a.npz", estimator=estimator))


def test_motion_can_be_resampled(clip, tmp_path):
    result = track(TrackOptions(clip, tmp_path / "a.npz", fps=50))
    assert result.n_frames == len(read_motion(result.output)) == 24


def test_the_overlay_has_every_frame_and_shows_the_face(clip, tmp_path):
    result = track(TrackOptions(clip, tmp_path / "a.mp4"))
    drawn, given = list(VideoReader(result.output)), list(VideoReader(clip))
    assert len(drawn) == len(given) == 12
    changed = np.abs(drawn[0].astype(int) - given[0]).max(axis=2) > 40
    assert 0.01 < changed.mean() < 0.5


def test_the_summary_holds_what_was_seen(clip, tmp_path):
    track(TrackOptions(clip, tmp_path / "a.json"))
    summary = json.loads((tmp_path / "a.json").read_text())
    assert summary["n_frames"] == summary["frames_with_face"] == 12
    assert summary["blinks"] == [] and summary["shots"] == [0.0]
    assert set(summary["expression"]["jawOpen"]) == {"mean", "min", "max"}


@pytest.mark.parametrize("ending", ["npz", "json", "png"])
def test_a_picture_is_one_frame(sample_portrait, tmp_path, ending):
    result = track(TrackOptions(sample_portrait, tmp_path / f"a.{ending}"))
    assert result.n_frames == 1 and result.output.stat().st_size > 0


@pytest.mark.parametrize("ending", ["mp3", "", "npy"])
def test_other_endings_are_refused_before_any_work(tmp_path, ending):
    with pytest.raises(OutputError, match="end -o in one of"):
        track(TrackOptions(tmp_path / "missing.mp4", tmp_path / f"a.{ending}"))


def test_endings_must_suit_the_input(sample_portrait, clip, tmp_path):
    with pytest.raises(OutputError, match=r"\.png"):
        track(TrackOptions(sample_portrait, tmp_path / "a.mp4"))
    with pytest.raises(OutputError, match=r"\.mp4"):
        track(TrackOptions(clip, tmp_path / "a.png"))


def test_without_a_face_nothing_is_written(tmp_path):
    write_image(tmp_path / "grey.png", np.full((128, 128, 3), 128, np.uint8))
    with pytest.raises(NoFaceError):
        track(TrackOptions(tmp_path / "grey.png", tmp_path / "a.npz"))
    assert not (tmp_path / "a.npz").exists()
    with pytest.raises(InputError):
        track(TrackOptions(tmp_path / "missing.png", tmp_path / "a.npz"))


def test_the_input_is_never_the_output(sample_portrait, tmp_path):
    picture = tmp_path / "me.png"
    write_image(picture, read_image(sample_portrait, max_side=300))
    before = picture.read_bytes()
    with pytest.raises(OutputError, match="the input itself"):
        track(TrackOptions(picture, picture))
    assert picture.read_bytes() == before


def test_what_is_measured_is_as_synthetic_as_its_input(clip, sample_portrait, tmp_path):
    marked = tmp_path / "marked.png"
    write_image(marked, read_image(sample_portrait, max_side=300), provenance=provenance("speak", inputs={}))
    for source, synthetic in ((sample_portrait, False), (clip, False), (marked, True)):
        track(TrackOptions(source, tmp_path / "a.npz"))
        record = read_provenance(tmp_path / "a.npz")
        assert record is not None and record["synthetic"] is synthetic
