"""Restyle: the emotion asked for is seen, and nothing else changes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reference import DATA, NEUTRAL_PORTRAITS

from mien import metrics
from mien.direction import LABELS, disc_weights
from mien.errors import InputError, OutputError
from mien.evaluation.emotion_judge import JUDGED_EMOTIONS, face_box, judge
from mien.media.image import read_image
from mien.media.provenance import read_provenance
from mien.media.video import VideoReader
from mien.perception.tracking import track_image
from mien.pipelines.restyle import RestyleOptions, restyle, warped
from mien.rendering.warp import WarpRenderer
from mien.types import Emotion, FaceMotion

SHARED = DATA / "portraits"


@pytest.fixture(scope="module")
def small(sample_portrait, tmp_path_factory):
    path = tmp_path_factory.mktemp("restyle") / "small.png"
    with Image.open(sample_portrait) as picture:
        picture.resize((256, 300)).save(path)
    return path


@pytest.fixture(scope="module")
def face(small):
    return track_image(read_image(small))


def of(label: str, intensity: float = 1) -> np.ndarray:
    weights = np.zeros(len(LABELS), np.float32)
    weights[LABELS.index("neutral")] = 1 - intensity
    weights[LABELS.index(label)] += intensity
    return weights


@pytest.mark.parametrize("name", NEUTRAL_PORTRAITS)
def test_emotions_are_named_by_an_independent_judge_and_grow(name):
    if not SHARED.is_dir():
        pytest.skip("the shared test portraits are not here")
    portrait = track_image(read_image(SHARED / name))
    box = face_box(portrait.image)
    assert box is not None
    levels = (0.0, 0.25, 0.5, 0.75, 1.0)
    for label in (label for label in JUDGED_EMOTIONS if label != Emotion.NEUTRAL):
        said = judge(list(warped([portrait], np.stack([of(label, level) for level in levels]))), box)
        assert metrics.spearman(levels, said[:, JUDGED_EMOTIONS.index(label)]) >= 0.9, (label, said)
        if label not in (Emotion.FEAR, Emotion.DISGUST):
            assert JUDGED_EMOTIONS[int(said[-1].argmax())] == label, (label, said[-1])


def test_outside_the_head_every_pixel_stays(small, tmp_path):
    restyle(RestyleOptions(small, tmp_path / "out.png", emotion=("surprise",)))
    before, after = read_image(small), read_image(tmp_path / "out.png")
    box = track_image(before).landmarks[:, :2]
    low, high = box.min(0), box.max(0)
    reach = 0.75 * (high - low).max()
    y, x = np.mgrid[: before.shape[0], : before.shape[1]]
    outside = (x < low[0] - reach) | (x > high[0] + reach) | (y < low[1] - reach) | (y > high[1] + reach)
    assert outside.mean() > 0.1
    np.testing.assert_array_equal(before[outside], after[outside])
    assert (before != after).any()
    assert read_provenance(tmp_path / "out.png")["synthetic"]


def test_neutral_at_rest_is_the_photo_and_asked_for_takes_the_smile_away(face):
    (same,) = warped([face], of("neutral")[None])
    np.testing.assert_array_equal(same, face.image)
    (smiling,) = warped([face], of("happy", 0.8)[None])
    glad = track_image(smiling)
    (calm,) = warped([glad], np.zeros((1, len(LABELS)), np.float32))
    before, after = (track_image(frame).rest for frame in (smiling, calm))
    smile = ("mouthSmileLeft", "mouthSmileRight")
    assert sum(float(after.column(n)[0]) for n in smile) < 0.5 * sum(float(before.column(n)[0]) for n in smile)


def test_no_emotion_closes_eyes_that_are_narrow_in_the_photo(face):
    narrow = face.rest.with_columns({"eyeBlinkLeft": [0.35], "eyeBlinkRight": [0.35]})
    (usual,), (held,) = (warped([replace(face, rest=rest)], of("tired")[None]) for rest in (face.rest, narrow))
    open_at_rest, drooping, kept = (
        sum(float(np.linalg.norm(lids[a] - lids[b])) for a, b in ((159, 145), (386, 374)))
        for lids in (face.landmarks, *(track_image(frame).landmarks for frame in (usual, held)))
    )
    assert drooping < 0.9 * open_at_rest
    assert kept - drooping > 0.4 * (open_at_rest - drooping)


@pytest.mark.parametrize(
    "lips", [{"mouthPucker": [1.0], "mouthFunnel": [0.3]}, {"mouthPressLeft": [0.9], "mouthPressRight": [0.9]}]
)
def test_pushed_and_pressed_lips_go_with_the_emotion(face, lips):
    (sulking,) = WarpRenderer(face).render(FaceMotion.zeros(1, 25).with_columns(lips))
    (calm,) = warped([track_image(sulking)], np.zeros((1, len(LABELS)), np.float32))
    before, after = (float(track_image(frame).rest.column(next(iter(lips)))[0]) for frame in (sulking, calm))
    assert after < 0.4 * before


def test_the_plane_is_valence_and_arousal(face):
    point = disc_weights(0.6, -0.5)
    (first,), (second,) = warped([face], point[None]), warped([face], point[None])
    np.testing.assert_array_equal(first, second)
    assert LABELS[int(point.argmax())] == "relaxed"


def test_every_face_or_the_one_asked_for(sample_portrait, tmp_path):
    with Image.open(sample_portrait) as picture:
        one = picture.convert("RGB").resize((256, 300))
    both = Image.new("RGB", (512, 300))
    both.paste(one, (0, 0))
    both.paste(one, (256, 0))
    both.save(tmp_path / "two.png")
    assert restyle(RestyleOptions(tmp_path / "two.png", tmp_path / "a.png", emotion=("happy",))).faces == 2
    assert restyle(RestyleOptions(tmp_path / "two.png", tmp_path / "b.png", emotion=("happy",), face=1)).faces == 1
    before, all_, one_ = (read_image(tmp_path / name).astype(int) for name in ("two.png", "a.png", "b.png"))
    left, right = ((np.abs(one_ - before)[:, half] > 8).mean() for half in (slice(0, 256), slice(256, 512)))
    assert (left == 0) != (right == 0)
    assert all((np.abs(all_ - before)[:, half] > 8).any() for half in (slice(0, 256), slice(256, 512)))


def test_a_video_goes_there_and_comes_back(small, tmp_path):
    made = restyle(RestyleOptions(small, tmp_path / "out.mp4", emotion=("happy:0.5", "sad"), fps=10))
    frames = list(VideoReader(tmp_path / "out.mp4"))
    assert len(frames) == made.n_frames == 41
    change = [np.abs(frame.astype(int) - frames[0]).mean() for frame in frames]
    assert max(change[8:30]) > 3 * max(change[-1], 0.3)


def test_grid_shows_the_plane(small, tmp_path):
    restyle(RestyleOptions(small, tmp_path / "grid.png", grid=True))
    assert min(read_image(tmp_path / "grid.png").shape[:2]) > 1000


@pytest.mark.parametrize(
    ("changed", "error", "says"),
    [
        ({}, InputError, "which emotion"),
        ({"emotion": ("happy",), "plane": "0,0"}, InputError, "one of them"),
        ({"emotion": ("happpy",)}, InputError, "happy"),
        ({"emotion": ("happy:1.4",)}, InputError, "0 to 1"),
        ({"plane": "0.3"}, InputError, "two numbers"),
        ({"plane": "0.3,1.4"}, InputError, "-1 to 1"),
        ({"emotion": ("happy", "sad")}, InputError, "end -o in .mp4"),
        ({"emotion": ("0s:happy, 1s:sad",)}, InputError, "spaces between"),
        ({"emotion": ("happy",), "renderer": "ganmut"}, InputError, "needs weights"),
        ({"emotion": ("happy",), "weights": Path("x")}, InputError, "--renderer ganmut"),
        ({"emotion": ("happy",), "output": Path("out.tiff")}, OutputError, ".png, .jpg"),
        ({"emotion": ("happy",), "face": 7}, InputError, "only 1 found"),
    ],
)
def test_bad_requests_are_refused_before_work(small, tmp_path, changed, error, says):
    options = {"input": small, "output": tmp_path / "out.png", **changed}
    with pytest.raises(error, match=says):
        restyle(RestyleOptions(**options))
    assert not list(tmp_path.iterdir())
