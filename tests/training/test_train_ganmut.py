"""Training GANmut in the small: it learns, goes on where it stopped, and its weights are read again."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mien.errors import InputError
from mien.media.image import read_image
from mien.media.weights import load_header
from mien.perception.landmarks import MediapipeBackend
from mien.rendering.ganmut import CARD, LABELS, GanmutConfig, GanmutEditor, LinearGenerator, load_ganmut, save_ganmut
from mien.rendering.paste import GANMUT_MARGIN, FaceSquare
from mien.training.datasets.emotion_pictures import open_pictures
from mien.training.options import TrainGanmutOptions
from mien.training.recipes.ganmut import UprightFaces, run, split
from mien.types import Emotion

SMALL = {"channels": 4, "n_blocks": 1, "size": 64}


@pytest.fixture(scope="module")
def faces(tmp_path_factory, sample_portrait):
    """A folder per label; the pictures differ in a tint, so that labels can be told apart."""
    folder = tmp_path_factory.mktemp("faces")
    with Image.open(sample_portrait) as opened:
        picture = np.asarray(opened.convert("RGB").resize((128, 150)), np.float32)
    for number, label in enumerate(LABELS):
        place = folder / (label.value if label != Emotion.ANGER else "angry")
        place.mkdir()
        for i in range(3):
            tint = 0.6 + 0.4 * np.array([number % 3, number // 3, i % 2]) / 2
            Image.fromarray((picture * tint).astype(np.uint8)).save(place / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def crops(faces, tmp_path_factory):
    """The faces cut out once: a run that finds them in its folder does not search again."""
    folder = tmp_path_factory.mktemp("crops") / "faces"
    UprightFaces(folder, open_pictures(faces))
    return folder


def test_faces_are_cut_out_as_restyle_cuts_them(faces, crops):
    found = UprightFaces(crops, open_pictures(faces))
    picture = read_image(found.pictures[0].path)
    square = FaceSquare.around(MediapipeBackend().detect(picture)[0], GANMUT_MARGIN, upright=True)
    seen = np.asarray(Image.fromarray(square.cut(picture)).resize((128, 128), Image.Resampling.BILINEAR), float)
    assert found[0].shape == (128, 128, 3)
    assert np.abs(found[0] - seen).mean() < 3


def options(faces, folder, **changed):
    return TrainGanmutOptions(
        faces, folder, **{"epochs": 2, "batch_size": 7, "held_out": 0.34, "checkpoint_every": 1} | changed
    )


@pytest.mark.parametrize("space", ["linear", "gaussian"])
def test_a_run_goes_on_where_it_stopped_and_is_read_again(faces, crops, tmp_path, space):
    torch.set_num_threads(1)
    config = GanmutConfig(space, **SMALL)
    for name in ("whole", "parts"):
        shutil.copytree(crops, tmp_path / name / "faces")
    whole = run(options(faces, tmp_path / "whole", space=space), config=config)
    assert (whole.n_faces, whole.n_held_out, whole.epochs) == (14, 7, 2)
    for epochs in (1, 2):
        parts = run(options(faces, tmp_path / "parts", space=space, epochs=epochs), config=config)
    assert parts.output.read_bytes() == whole.output.read_bytes()
    generator = load_ganmut(whole.output)
    assert generator.config == replace(config, size=64)
    editor = GanmutEditor(generator)
    assert editor.restyle(np.zeros((80, 80, 3), np.uint8), editor.emotion_code("happy")).shape == (80, 80, 3)
    assert (tmp_path / "whole" / "previews" / "latest.png").is_file()


def test_both_networks_learn(faces, crops, tmp_path):
    from safetensors.torch import load_file

    shutil.copytree(crops, tmp_path / "faces")
    run(options(faces, tmp_path, epochs=1), config=GanmutConfig(**SMALL))
    run(options(faces, tmp_path, epochs=3), config=GanmutConfig(**SMALL))
    first, last = (load_file(path) for path in sorted((tmp_path / "checkpoints").glob("*.safetensors")))
    for part in (
        "network.generator.main.0.weight",
        "network.generator.axes.weight",
        "network.discriminator.conv2.weight",
    ):
        assert not torch.equal(first[part], last[part]), part


def test_axes_stand_in_the_file_by_name(tmp_path):
    save_ganmut(tmp_path / "a.safetensors", LinearGenerator(GanmutConfig(**SMALL)))
    emotions = load_header(tmp_path / "a.safetensors", CARD)["emotions"]
    assert list(emotions) == [label.value for label in LABELS]
    assert np.hypot(*emotions["happy"]) == pytest.approx(1, abs=1e-5)


def test_the_last_of_every_label_are_held_out():
    from pathlib import Path

    from mien.training.datasets.emotion_pictures import LabelledPicture

    pictures = [LabelledPicture(Path(f"{i}"), label) for label in LABELS for i in range(10)]
    training, held_out = split(pictures, 0.2)
    assert len(held_out) == 14
    assert not set(training) & set(held_out)
    assert {pictures[i].path.name for i in held_out} == {"8", "9"}


def test_bad_requests_are_refused(faces, tmp_path):
    with pytest.raises(InputError, match="no pictures of sad"):
        some = tmp_path / "some"
        shutil.copytree(faces / "happy", some / "happy")
        shutil.copytree(faces / "neutral", some / "neutral")
        run(options(some, tmp_path / "run"))
    with pytest.raises(InputError, match="at least 7"):
        run(options(faces, tmp_path / "run", space="gaussian", batch_size=4))
    with pytest.raises(InputError, match="held-out"):
        run(options(faces, tmp_path / "run", held_out=1.0))
