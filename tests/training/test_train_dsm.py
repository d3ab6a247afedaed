"""``mien train dsm`` on a person made by code whose moods look otherwise than everybody's."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mood_samples import mood_person  # noqa: E402
from scipy.ndimage import gaussian_filter1d  # noqa: E402

from mien.cli import main  # noqa: E402
from mien.errors import InputError  # noqa: E402
from mien.media.person_folder import load_person  # noqa: E402
from mien.motion.dsm import PAPER_LAYERS, load_dsm  # noqa: E402
from mien.training.options import TrainDsmOptions  # noqa: E402
from mien.training.recipes.dsm import SETTINGS, Frames, doubt_of, run, split  # noqa: E402


@pytest.fixture(scope="module")
def person(tmp_path_factory):
    return mood_person(tmp_path_factory.mktemp("person") / "ann")


@pytest.fixture(scope="module")
def trained(person):
    return run(TrainDsmOptions(person, epochs=60))


def test_it_knows_the_person_better_than_their_mean_and_than_everybody(trained, person):
    assert trained.output == person / "dsm" / "dsm.safetensors"
    assert trained.decoder <= 0.8 * trained.mean
    assert trained.decoder <= 0.8 * trained.generic
    figures = json.loads((person / "dsm" / "figures.json").read_text())
    assert figures["decoder"] == trained.decoder and figures["setting"] == "fast"


def test_it_learned_from_frames_with_a_face_only(trained, person):
    model = load_dsm(trained.output)
    assert model.cloud[:, 2].sum() == pytest.approx(trained.n_frames / 25, rel=1e-3)
    clips = load_person(person).clips
    training, validation = split(clips, 0.2)
    kept = [clip.found[:375].sum() for clip in clips]  # a fifth is held out, and a second before it is left out
    assert trained.n_frames == len(training) == sum(kept)
    assert len(validation) == sum(clip.found[400:].sum() for clip in clips)


def test_validation_comes_after_training(person):
    clips = load_person(person).clips
    training, validation = split(clips[:1], 0.3)
    frames = clips[0].motion.expression
    last_seen = max(i for i in range(len(frames)) if (frames[i] == training.expression[-1]).all())
    first_held_out = min(i for i in range(len(frames)) if (frames[i] == validation.expression[0]).all())
    assert first_held_out - last_seen >= 25


def test_doubt_is_what_moods_do_not_explain():
    rng = np.random.default_rng(0)
    n = 750

    def film(share):
        va = gaussian_filter1d(rng.normal(size=(n, 2)), 25, axis=0) * 4
        speech = gaussian_filter1d(rng.normal(size=(n, 6)), 3, axis=0)
        mood = np.concatenate([va, va**2, np.tanh(3 * va)], 1)
        faces = 0.3 + share * mood / mood.std(0) + (1 - share) * speech / speech.std(0)
        return Frames(va.astype(np.float32), faces.astype(np.float32), np.full(n, 0.04, np.float32))

    talker, mixed, actor = (doubt_of([film(share), film(share)]) for share in (0, 0.5, 0.9))
    assert actor < 0.25 < mixed < 5 < talker


def test_a_run_goes_on_to_the_same_weights(person, tmp_path):
    options = {"data": person, "dropout": 0.1}
    run(TrainDsmOptions(**options, output=tmp_path / "a", epochs=4))
    run(TrainDsmOptions(**options, output=tmp_path / "b", epochs=2))
    run(TrainDsmOptions(**options, output=tmp_path / "b", epochs=4))
    first, second = (load_dsm(tmp_path / name / "dsm.safetensors") for name in "ab")
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name


def test_the_faithful_setting_is_the_published_recipe():
    setting = SETTINGS["faithful"]
    assert (setting.hidden, setting.batch_size, setting.epochs, setting.jitter) == (PAPER_LAYERS, 32, 1000, 0.0)


def test_bad_input_is_refused(person, tmp_path):
    with pytest.raises(InputError, match="dropout"):
        run(TrainDsmOptions(person, tmp_path, dropout=1.0))
    with pytest.raises(InputError, match="held-out"):
        run(TrainDsmOptions(person, tmp_path, held_out=0.9))
    with pytest.raises(InputError, match="no such folder"):
        run(TrainDsmOptions(tmp_path / "nobody"))
    short = mood_person(tmp_path / "short", n_clips=1, n_frames=40)
    with pytest.raises(InputError, match="more film"):
        run(TrainDsmOptions(short))


def test_the_command(person, tmp_path, capsys):
    assert main(["train", "dsm", "-i", str(person), "-o", str(tmp_path), "--epochs", "2", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] and answer["epochs"] == 2 and np.isfinite(answer["decoder"])
