"""Pictures over the emotion disc: points stand where they belong, files are whole or absent."""

import numpy as np
import pytest
from PIL import Image

from mien.errors import InputError, OutputError
from mien.media.emotion_file import write_emotion
from mien.pipelines.plot import PlotOptions, plot, va_figure
from mien.types import EmotionTrack


def around(valence: float, arousal: float, n: int = 60) -> EmotionTrack:
    noise = np.random.default_rng(0).normal(size=(n, 2)) * 0.05
    return EmotionTrack(np.clip(noise + np.array([valence, arousal]), -1, 1), 25)


@pytest.fixture
def tables(tmp_path):
    paths = (tmp_path / "glad.emotion.csv", tmp_path / "low.emotion.csv")
    for path, track in zip(paths, (around(0.7, 0.2), around(-0.6, -0.4)), strict=True):
        write_emotion(path, track, np.ones(len(track), bool))
    return paths


def test_each_clip_stands_where_it_belongs():
    figure = va_figure({"glad": around(0.7, 0.2), "low": around(-0.6, -0.4)}, ("cloud", "density", "path"))
    cloud, density, path = figure.axes
    glad, low = (np.asarray(points.get_offsets()).mean(0) for points in cloud.collections)
    np.testing.assert_allclose(glad, (0.7, 0.2), atol=0.05)
    np.testing.assert_allclose(low, (-0.6, -0.4), atol=0.05)
    assert [text.get_text() for text in cloud.get_legend().get_texts()] == ["glad", "low"]
    assert {"happy", "sad", "anger"} <= {text.get_text() for text in density.texts}
    assert len(path.collections) == 2 and path.get_xlabel() == "valence"


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_picture_is_written(tables, tmp_path, ending):
    result = plot(PlotOptions(tables, tmp_path / f"va.{ending}"))
    assert (result.n_clips, result.n_frames) == (2, 120)
    if ending == "png":
        with Image.open(result.output) as picture:
            assert picture.width > 2 * picture.height


@pytest.mark.parametrize("kind", ["cloud", "density", "path"])
def test_one_frame_is_enough(tmp_path, kind):
    write_emotion(tmp_path / "a.emotion.csv", around(0.1, 0.1, 1), np.ones(1, bool))
    assert plot(PlotOptions((tmp_path / "a.emotion.csv",), tmp_path / "va.png", kinds=(kind,))).output.exists()


def test_bad_input(tables, tmp_path):
    with pytest.raises(OutputError, match=r"end -o in one of \.png"):
        plot(PlotOptions(tables, tmp_path / "va.mp4"))
    with pytest.raises(InputError, match="nothing to draw"):
        plot(PlotOptions((), tmp_path / "va.png"))
    with pytest.raises(InputError, match="missing"):
        plot(PlotOptions((tmp_path / "missing.emotion.csv",), tmp_path / "va.png"))
    assert not (tmp_path / "va.png").exists()
