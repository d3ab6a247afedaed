"""``mien train emonet``: pictures by folder or table, crops, a run that resumes to the same weights."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mien.errors import FormatError, InputError
from mien.media.image import read_image
from mien.perception.emonet import EmoNet, EmoNetConfig
from mien.training.datasets.emotion_pictures import FaceCrops, LabelledPicture, is_clean, open_pictures
from mien.training.options import TrainEmoNetOptions
from mien.training.recipes import emonet as recipe
from mien.types import Emotion

TINY = EmoNetConfig(channels=16, n_landmarks=3)


@pytest.fixture(scope="module")
def pictures(sample_portrait, tmp_path_factory):
    """Five pictures of one face under different light, one without a face; a folder per label, and a table."""
    folder = tmp_path_factory.mktemp("pictures")
    photo = Image.fromarray(read_image(sample_portrait, max_side=300))
    rows = []
    for i, label in enumerate(["happy", "happy", "happy", "sadness", "sadness"]):
        (folder / label).mkdir(exist_ok=True)
        photo.point(lambda level, i=i: level * (0.5 + 0.1 * i)).save(folder / label / f"{i}.png")
        rows.append([f"{label}/{i}.png", label, *((0.8, 0.3) if label == "happy" else (-0.5, 0.1 * i - 0.6))])
    Image.new("RGB", (128, 128), (90, 90, 90)).save(folder / "happy" / "grey.png")
    rows += [["happy/grey.png", "happy", "", ""]]
    with (folder / "faces.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "valence", "arousal"], *rows])
    return folder


def options(pictures, output, **changes):
    settings = {"epochs": 2, "batch_size": 3, "held_out": 0.3, "learning_rate": 1e-2} | changes
    return TrainEmoNetOptions(pictures / "faces.csv", output, **settings)


def test_folders_and_tables_list_the_same(pictures):
    folders, table = open_pictures(pictures), open_pictures(pictures / "faces.csv")
    assert {p.path for p in folders} == {p.path for p in table}
    assert [p.label for p in table] == [Emotion.HAPPY] * 3 + [Emotion.SAD] * 2 + [Emotion.HAPPY]
    assert (table[0].valence, table[0].arousal) == (0.8, 0.3) and np.isnan(table[-1].valence)


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        ("path,label\na.png,hungry\n", InputError, "line 2: no emotion 'hungry'"),
        ("path,label,valence,arousal\na.png,happy,2,0\n", FormatError, "line 2"),
        ("path,label,valence,arousal\na.png,happy,0.2,\n", FormatError, "give both"),
        ("path,label,valence,arousal\na.png,happy,x,0\n", FormatError, "no number"),
        ("a,b\n1,2\n", FormatError, "no columns path and label"),
        ("path,label\n", InputError, "lists no pictures"),
    ],
)
def test_bad_tables(tmp_path, content, error, says):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(error, match=says):
        open_pictures(tmp_path / "t.csv")


def test_bad_folders(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        open_pictures(tmp_path / "none")
    (tmp_path / "angre").mkdir()
    (tmp_path / "angre" / "a.png").touch()
    with pytest.raises(InputError, match="no emotion 'angre'"):
        open_pictures(tmp_path)


def test_cleaning_rules(tmp_path):
    def clean(label, v, a):
        return is_clean(LabelledPicture(tmp_path, Emotion(label), v, a))

    assert clean("neutral", 0.1, 0.1) and not clean("neutral", 0.2, 0.1)
    assert clean("happy", 0.5, -0.2) and not clean("happy", -0.1, 0.5) and not clean("happy", 0.1, 0.1)
    assert clean("disgust", -0.3, 0.1) and not clean("disgust", -0.25, 0.1)
    assert clean("fear", 0, 0.3) and not clean("fear", -0.3, -0.1) and not clean("anger", -0.5, -0.1)
    assert not any(clean(label, float("nan"), float("nan")) for label in Emotion)


def test_crops_are_made_once_and_lie_as_in_the_evaluation(pictures, tmp_path):
    crops = FaceCrops(tmp_path, open_pictures(pictures / "faces.csv"))
    assert len(crops) == 5 and crops[0].shape == (384, 384, 3)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(FaceCrops(tmp_path, open_pictures(pictures / "faces.csv"))) == 5
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == kept
    from mien.face.rig import load_rig
    from mien.perception.emonet import crop_face
    from mien.perception.landmarks import MediapipeBackend

    picture = read_image(crops.pictures[0].path)
    points = MediapipeBackend().detect(picture)[0][load_rig().landmark_indices_68]
    assert np.abs(recipe.middle(crops[0]).astype(int) - crop_face(picture, points)).mean() < 3


def test_killed_and_resumed_it_ends_in_the_same_weights(pictures, tmp_path):
    whole = recipe.run(options(pictures, tmp_path / "whole"), config=TINY)
    assert (whole.epochs, whole.n_pictures, whole.n_held_out) == (2, 3, 2)
    assert np.isfinite([whole.accuracy, whole.valence_ccc, whole.arousal_ccc]).all()
    recipe.run(options(pictures, tmp_path / "parts", epochs=1), config=TINY)
    recipe.run(options(pictures, tmp_path / "parts"), config=TINY)
    first, second = (load_file(tmp_path / name / "emonet.safetensors") for name in ("whole", "parts"))
    assert first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_only_the_head_learns_from_given_weights(pictures, tmp_path, monkeypatch):
    torch.manual_seed(1)
    network = EmoNet(TINY)
    save_file(network.state_dict(), tmp_path / "start.safetensors")
    monkeypatch.setattr(recipe, "load_emonet", lambda path: _filled(EmoNet(TINY), path))
    recipe.run(options(pictures, tmp_path / "run", start=tmp_path / "start.safetensors", epochs=1))
    after = load_file(tmp_path / "run" / "emonet.safetensors")
    head = ("conv1x1_input_emo_2", "emo_net_2", "emo_fc_2")
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, after[name])}
    assert moved and all(name.startswith(head) for name in moved)


def _filled(network, path):
    network.load_state_dict(load_file(path))
    return network.eval()


def test_the_loss_does_without_valence_and_arousal(pictures, tmp_path):
    result = recipe.run(TrainEmoNetOptions(pictures, tmp_path, epochs=1, batch_size=8, held_out=0), config=TINY)
    assert np.isnan(result.accuracy) and result.n_held_out == 0


def test_bad_numbers(pictures, tmp_path):
    with pytest.raises(InputError, match="--held-out"):
        recipe.run(options(pictures, tmp_path, held_out=1), config=TINY)
    with pytest.raises(InputError, match="no picture is clean"):
        recipe.run(TrainEmoNetOptions(pictures, tmp_path, clean=True), config=TINY)
