"""DSM in redirect: from a trained person and a wish to a motion; and the picture of the path."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from mood_samples import FPS, mood_motion, mood_person
from scipy.stats import spearmanr

from mien.direction import Direction
from mien.errors import InputError, OutputError
from mien.media.emotion_file import read_emotion
from mien.motion.keep_speech import keep_speech
from mien.perception.emotion import load_emotion_reader
from mien.pipelines import dsm
from mien.pipelines.dsm import dsm_motion, load_decoder
from mien.pipelines.plot_regions import PlotRegionsOptions, plot_regions
from mien.spans import parse_spans, plan_direction, plan_spans
from mien.training.options import TrainDsmOptions
from mien.training.recipes.dsm import run

N = 100


@pytest.fixture(scope="module")
def person(tmp_path_factory):
    folder = mood_person(tmp_path_factory.mktemp("person") / "ann")
    run(TrainDsmOptions(folder, epochs=40))
    return folder


def felt(person, wish, *, intensity=1.0, faithful=False, seed=0):
    plan = plan_spans(parse_spans(wish), N, FPS)
    plan = replace(plan, weights=plan.weights * np.float32(intensity))  # as redirect does
    return dsm_motion(mood_motion(N, 5), plan, person, intensity=intensity, faithful=faithful, seed=seed)


def read_back(person, valence, arousal):
    kept = keep_speech(mood_motion(N, 5), felt(person, f"va({valence:.2f},{arousal:.2f})"))
    return load_emotion_reader()(kept).va.mean(0)


def test_what_is_asked_is_what_is_read_back(person, monkeypatch):
    model = load_decoder(person)
    grid = np.stack(np.meshgrid(np.linspace(-0.9, 0.9, 10), np.linspace(-0.9, 0.9, 10)), -1).reshape(-1, 2)
    points = grid[model.coverage(grid.astype(np.float32)) > 0.5]
    assert len(points) >= 8
    read = np.array([read_back(person, v, a) for v, a in points])
    for axis in (0, 1):
        assert spearmanr(points[:, axis], read[:, axis])[0] >= 0.9
    monkeypatch.setattr(dsm, "_ROUNDS", 1)
    at_once = np.array([read_back(person, v, a) for v, a in points])
    assert np.abs(read - points).mean() < 0.8 * np.abs(at_once - points).mean()


def test_no_intensity_leaves_the_motion(person):
    motion = mood_motion(N, 5).expression
    np.testing.assert_array_equal(felt(person, "happy:0").expression, motion)
    np.testing.assert_array_equal(felt(person, "happy:0.8", intensity=0).expression, motion)
    weak, strong = (np.abs(felt(person, f"happy:{i}").expression - motion).mean() for i in (0.3, 0.9))
    assert 0 < weak < strong


def test_faithful_replaces_the_mouth(person):
    def talk(motion):
        return np.diff(motion.column("jawOpen"))

    assert np.corrcoef(talk(felt(person, "va(0.1,0.6)")), talk(mood_motion(N, 5)))[0, 1] > 0.9
    assert np.abs(talk(felt(person, "va(0.1,0.6)", faithful=True))).max() < 1e-6


def test_the_seed_decides(person):
    np.testing.assert_array_equal(felt(person, "sad:0.5").expression, felt(person, "sad:0.5").expression)
    assert np.abs(felt(person, "sad:0.5", seed=1).expression - felt(person, "sad:0.5").expression).max() > 1e-3


def test_keyframes_are_the_path_themselves(person):
    plan = plan_direction(Direction.parse("0s:neutral, 2s:va(0.6,0.3)"), N, FPS)
    made = dsm_motion(mood_motion(N, 5), plan, person, intensity=1, faithful=True, seed=0)
    model = load_decoder(person)
    smile = made.expression_names.index("mouthSmileLeft")
    np.testing.assert_allclose(made.expression[:, smile], np.clip(model.decode(plan.va)[:, smile], 0, 1), atol=1e-6)


def test_it_says_where_the_person_was_never_seen(person, caplog):
    felt(person, "va(0.2,0.3)")
    assert not caplog.records
    felt(person, "tired")
    assert "none that the person was seen in" in caplog.text


def test_somebody_unknown_is_refused(person, tmp_path):
    with pytest.raises(InputError, match="needs to know the person"):
        felt(None, "happy")
    with pytest.raises(InputError, match="has no decoder"):
        felt(tmp_path, "happy")
    other = mood_person(tmp_path / "bob", n_clips=1, n_frames=120, estimator="emonet:abc")
    run(TrainDsmOptions(other, epochs=1))
    with pytest.raises(InputError, match="trained on readings of emonet"):
        felt(other, "happy")


def test_the_path_is_drawn_and_written(person, tmp_path):
    options = PlotRegionsOptions(
        tmp_path / "way.png", "0s-4s:happy:0.8, 4s-8s:sad", person, curve=tmp_path / "way.emotion.csv"
    )
    result = plot_regions(options)
    assert result.n_points == 10 and result.known is not None and 0 <= result.known < 1
    assert np.asarray(Image.open(tmp_path / "way.png").convert("RGB")).std() > 5
    table = read_emotion(tmp_path / "way.emotion.csv")
    assert len(table) == 250 and table.va[10, 0] > 0.5 and table.va[190, 0] < -0.5
    assert plot_regions(PlotRegionsOptions(tmp_path / "regions.svg")).n_points == 0


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"output": "way.txt"}, OutputError),
        ({"curve": "way.csv"}, InputError),
        ({"emotion": "2s-5s:0.8"}, InputError),
        ({"emotion": "glee"}, InputError),
        ({"duration": 0}, InputError),
        ({"smoothness": 2}, InputError),
        ({"regions": "none.yaml"}, InputError),
    ],
)
def test_bad_options_write_nothing(tmp_path, changes, error):
    paths = {k: tmp_path / v for k, v in changes.items() if k in ("output", "curve", "regions")}
    with pytest.raises(error):
        plot_regions(replace(PlotRegionsOptions(tmp_path / "way.png", "happy"), **{**changes, **paths}))
    assert not list(tmp_path.iterdir())
