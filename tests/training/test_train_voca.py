"""``mien train voca`` on a tiny data set, and ``mien prepare voca`` on made motion."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from reference import DATA
from vocaset_samples import write_official, write_own

from mien.cli import main
from mien.errors import InputError
from mien.motion.voca import OFFICIAL_SPEAKERS, load_voca
from mien.perception.speech import analyse
from mien.training.datasets.vocaset import Frames, open_vocaset
from mien.training.options import TrainVocaOptions
from mien.training.prepare import PrepareOptions, Take, aligned, lag_of, prepare, spoken_motion, write_dataset
from mien.training.recipes.voca import run, split, start_basis, vertex_weights
from mien.types import ARKIT_NAMES, Audio, FaceMotion

VALIDATION = "FaceTalk_170811_03275_TA"


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "vocaset"
    return write_official(folder, (*OFFICIAL_SPEAKERS[:2], VALIDATION), ("sentence01", "sentence21", "sentence22"))


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    return write_own(tmp_path_factory.mktemp("data") / "own", ("ann", "bob"), 3)


def options(data, output, **changes):
    fast = {"epochs": 40, "batch_size": 16, "learning_rate": 5e-3, "features": "deepspeech29", "checkpoint_every": 20}
    return TrainVocaOptions(data=data, output=output, **{**fast, **changes})


def test_it_learns_what_the_sound_says(official, tmp_path):
    result = run(options(official, tmp_path))
    model = load_voca(result.output)
    assert model.config.speakers == OFFICIAL_SPEAKERS[:2]
    assert (model.config.feature_kind, model.config.fps, model.config.rig) == ("deepspeech29", 60, "flame")
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert set(log[0]["train"]) == set(log[0]["validation"]) == {"reconstruction", "velocity", "total"}
    assert log[-1]["train"]["total"] < 0.1 * log[0]["train"]["total"]
    dataset = open_vocaset(official)
    clip = dataset.clips[0]
    truth = dataset.vertices[clip.rows] - dataset.templates[clip.subject]
    made = np.concatenate(list(model.blocks(dataset.processed_features(clip), clip.subject)))
    assert np.corrcoef(made.ravel(), truth.ravel())[0, 1] > 0.9
    assert (tmp_path / "curves.png").exists()
    assert result.train == pytest.approx(1000 * log[-1]["train"]["reconstruction"] ** 0.5, abs=1e-3)


def test_same_run_twice_and_in_two_parts_gives_the_same_file(official, tmp_path):
    for name, parts in (("a", (3,)), ("b", (3,)), ("c", (1, 3))):
        for epochs in parts:
            run(options(official, tmp_path / name, epochs=epochs, checkpoint_every=1))
    files = [(tmp_path / name / "voca.safetensors").read_bytes() for name in "abc"]
    assert files[0] == files[1] == files[2]


def test_two_processes_as_torchrun_starts_them_learn_what_one_does(official, tmp_path, monkeypatch):
    same = ["--epochs", "1", "--batch-size", "15", "--learning-rate", "1e-3", "--features", "deepspeech29", "-q"]
    arguments = ["train", "voca", "-i", str(official), *same]
    assert main([*arguments, "-o", str(tmp_path / "one")]) == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    command = [sys.executable, "-m", "mien", *arguments, "-o", str(tmp_path / "two")]
    second = subprocess.Popen(command, env={**os.environ, **place, "RANK": "1", "OMP_NUM_THREADS": "1"})
    for name, value in (place | {"RANK": "0"}).items():
        monkeypatch.setenv(name, value)
    assert main([*arguments, "-o", str(tmp_path / "two")]) == 0
    assert second.wait(timeout=300) == 0
    logs = [json.loads((tmp_path / name / "log.jsonl").read_text().splitlines()[-1]) for name in ("one", "two")]
    for part in ("train", "validation"):
        assert logs[1][part] == pytest.approx(logs[0][part], rel=1e-4)
    states = [load_voca(tmp_path / name / "voca.safetensors").network.state_dict() for name in ("one", "two")]
    for name, value in states[0].items():
        np.testing.assert_allclose(states[1][name], value, atol=1e-5, err_msg=name)


def test_phones_of_own_clips(own, tmp_path):
    result = run(options(own, tmp_path, features="phones42", epochs=2))
    model = load_voca(result.output)
    assert (model.config.speakers, model.config.n_features, model.config.fps) == (("ann", "bob"), 42, 30)
    dataset = open_vocaset(own)
    speech = analyse(dataset.sound(dataset.clips[0]), 25)
    motion = model.animate(speech, "bob")
    assert (len(motion), motion.fps, motion.rig, motion.expression_names) == (len(speech), 25, "builtin", ARKIT_NAMES)


def test_lips_may_count_more(official, own, tmp_path):
    weights = vertex_weights("builtin", 50)
    assert weights.mean() == pytest.approx(1)
    assert weights[13] == pytest.approx(50 * weights[10].item())  # a lip, the forehead
    with pytest.raises(InputError, match="its own rig only"):
        run(options(official, tmp_path / "run", lip_weight=50))
    with pytest.raises(InputError, match="above 0"):
        run(options(own, tmp_path / "run", features="phones42", lip_weight=0))


def test_splits(official, own):
    train, validation = split(open_vocaset(official))
    assert {c.subject for c in train} == set(OFFICIAL_SPEAKERS[:2])
    assert [(c.subject, c.sentence) for c in validation] == [(VALIDATION, "sentence21"), (VALIDATION, "sentence22")]
    train, validation = split(open_vocaset(own))
    assert [(c.subject, c.sentence) for c in validation] == [("ann", "s2"), ("bob", "s2")]
    assert not {(c.subject, c.sentence) for c in train} & {(c.subject, c.sentence) for c in validation}
    train, validation = split(open_vocaset(own), ["bob"])
    assert ({c.subject for c in train}, {c.subject for c in validation}) == ({"ann"}, {"bob"})
    with pytest.raises(InputError, match=r"no speaker eve.*ann, bob"):
        split(open_vocaset(own), ["eve"])
    with pytest.raises(InputError, match="nothing is left"):
        split(open_vocaset(own), ["ann", "bob"])


def test_basis_spans_the_offsets(own):
    dataset = open_vocaset(own)
    clips = dataset.clips
    frames = Frames(dataset, clips, [np.zeros((len(c.rows), 1), np.float32) for c in clips], (), 16)
    basis = start_basis(dataset, frames, 5)
    assert basis.shape == (60, 5)
    assert np.linalg.norm(basis[:, 2]) < 1e-3 * np.linalg.norm(basis[:, 0])  # two people, two directions
    offsets = frames.batch(np.arange(len(frames)), 1).offsets.reshape(len(frames), -1)
    left = offsets - offsets.mean(0)
    left = left - left @ np.linalg.pinv(basis[:, :2]).T @ basis[:, :2].T
    assert np.abs(left).max() < 1e-5


def test_command_line(own, tmp_path, capsys):
    code = main(["train", "voca", "-i", str(own), "-o", str(tmp_path / "run"), "--epochs", "1", "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert (code, answer["ok"], answer["epochs"], answer["n_frames"]) == (0, True, 1, 96)
    assert main(["train", "voca", "-i", str(tmp_path / "no"), "-o", str(tmp_path / "x")]) == 2
    assert "no such folder" in capsys.readouterr().err
    bad = ["train", "voca", "-i", str(own), "-o", str(tmp_path / "y"), "--acceleration-weight", "1"]
    assert main(bad) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["train"]) == 2
    assert "train voca" in capsys.readouterr().err


def test_spoken_motion_is_the_mouth_relative_to_its_closed_lips():
    n = 40
    jaw = np.where(np.arange(n) < 20, 0.3, 0.5)  # parted even in the pause
    jaw[30:32] = 0.1  # a p, say
    motion = FaceMotion.zeros(n, 25).with_columns({"jawOpen": jaw, "browInnerUp": 0.7, "mouthDimpleLeft": 0.3})
    spoken, rest = spoken_motion(motion)
    assert rest.column("jawOpen") == pytest.approx(0.1)
    assert rest.column("mouthDimpleLeft") == pytest.approx(0.3)
    assert rest.column("browInnerUp") == 0
    np.testing.assert_allclose(spoken[:, ARKIT_NAMES.index("jawOpen")], jaw - 0.1, atol=1e-6)
    assert np.abs(np.delete(spoken, ARKIT_NAMES.index("jawOpen"), 1)).max() < 1e-6


def test_lag_is_taken_out():
    """A picture that comes 0.2 s late loses its first 5 frames, one that comes early the sound's first 0.2 s."""
    motion = FaceMotion.zeros(50, 25).with_columns({"jawOpen": np.arange(50) / 50})
    sound = Audio(np.arange(32000, dtype=np.float32) / 32000, 16000)
    same, later = aligned(sound, motion, 0.2)
    assert (len(same), later.column("jawOpen")[0]) == (32000, pytest.approx(0.1))
    later, same = aligned(sound, motion, -0.2)
    assert (len(same), later.samples[0]) == (50, pytest.approx(0.1))


def test_a_lag_is_measured():
    rng = np.random.default_rng(0)
    fps, n = 25, 250
    loud = np.repeat(np.convolve(rng.random(n), np.ones(4) / 4, "same"), 16000 // fps).astype(np.float32)
    sound = Audio(np.clip(0.3 * loud**3 * rng.normal(size=len(loud)), -1, 1).astype(np.float32), 16000)
    level = loud[:: 16000 // fps]
    for late in (0, 4, -3):
        jaw = np.clip(np.roll(level, late) + 0.02 * rng.normal(size=n), 0, 1)
        motion = FaceMotion.zeros(n, fps).with_columns({"jawOpen": jaw})
        assert lag_of(sound, motion, "clip") == pytest.approx(late / fps, abs=0.5 / fps)
    assert lag_of(sound, motion[:100], "short") == 0
    assert lag_of(sound, FaceMotion.zeros(n, fps), "still") == 0


def take(subject, sentence, n=10, seed=0):
    rng = np.random.default_rng(seed)
    sound = Audio(rng.normal(0, 0.1, 4000).astype(np.float32), 16000)
    return Take(subject, sentence, sound, rng.normal(size=(7, 3)).astype(np.float32), rng.normal(size=(n, 7, 3)))


def test_written_data_set_is_read_again(tmp_path):
    takes = [take("ann", "a", 10, 0), take("ann", "b", 12, 1), take("bob", "a", 5, 2)]
    write_dataset(tmp_path / "set", iter(takes), 25)
    dataset = open_vocaset(tmp_path / "set")
    assert dataset.fps == 25
    assert not list((tmp_path / "set").glob("*.partial"))
    for clip, made in zip(dataset.clips, takes, strict=True):
        assert (clip.subject, clip.sentence) == (made.subject, made.sentence)
        offsets = dataset.vertices[clip.rows] - dataset.templates[clip.subject]
        np.testing.assert_allclose(offsets, made.offsets, atol=1e-5)
        np.testing.assert_allclose(dataset.sound(clip).samples, made.sound.samples, atol=1e-4)
    np.testing.assert_allclose(dataset.templates["ann"], takes[0].neutral)


def test_data_is_made_without_pytorch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import mien.training.prepare, mien.training.datasets.vocaset, mien.training.train"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_prepare_refuses(tmp_path):
    missing = tmp_path / "ann" / "a.mp4"
    with pytest.raises(InputError, match="no clip could be used"):
        prepare(PrepareOptions((missing,), tmp_path / "set"))
    with pytest.raises(InputError, match="two clips are both eve/a"):
        prepare(PrepareOptions((missing, tmp_path / "bob" / "a.mp4"), tmp_path / "other", speaker="eve"))
    from mien.errors import OutputError

    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(OutputError, match="is there already"):
        prepare(PrepareOptions((missing,), tmp_path / "full"))


def test_a_filmed_clip_becomes_data(tmp_path):
    clip = DATA / "video" / "grid_s1" / "bbaf2n.mpg"
    if not clip.exists():
        pytest.skip("the filmed clips are not at hand (../shared/data)")
    result = prepare(PrepareOptions((clip,), tmp_path / "set"))
    assert (result.n_clips, result.n_speakers, result.n_frames, result.skipped) == (1, 1, 90, 0)
    dataset = open_vocaset(tmp_path / "set")
    (only,) = dataset.clips
    assert (only.subject, only.sentence) == ("grid_s1", "bbaf2n")
    offsets = dataset.vertices[only.rows] - dataset.templates["grid_s1"]
    opening = 1000 * (offsets[:, 13, 1] - offsets[:, 14, 1])  # inner lips, mm
    speech = analyse(dataset.sound(only), 30)
    n = min(len(opening), len(speech))
    opening, voiced = opening[:n], speech.voiced[:n] > 0
    assert abs(np.quantile(opening, 0.03)) < 0.5  # closed lips are the template's
    assert opening[voiced].max() > 5
    assert np.abs(offsets[:, [105, 334]]).max() < 0.001  # brows are not speech
