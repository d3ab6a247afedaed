"""The loader of VOCASET's layout: splits, pairs, epochs, safety, damage."""

import logging
import os
import pickle

import numpy as np
import pytest
from vocaset_samples import N_VERTICES, changed_json, frames_of, template_of, write_official, write_own

from mien.errors import FormatError, InputError
from mien.motion.voca import OFFICIAL_SPEAKERS, windows
from mien.training.datasets.vocaset import Frames, Split, official_splits, open_vocaset
from mien.training.loop import epoch_order

SENTENCES = ("sentence01", "sentence21", "sentence22")
SUBJECTS = (*OFFICIAL_SPEAKERS[:2], "FaceTalk_170811_03275_TA")


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    return write_official(tmp_path_factory.mktemp("data") / "vocaset", SUBJECTS, SENTENCES)


@pytest.fixture
def own(tmp_path):
    return write_own(tmp_path / "own", ("ann", "bob"), 3)


def test_official_splits():
    train, validation, test = (official_splits()[name] for name in ("train", "validation", "test"))
    assert train.subjects == OFFICIAL_SPEAKERS
    everybody = [*train.subjects, *validation.subjects, *test.subjects]
    assert len(set(everybody)) == len(everybody) == 12
    assert (len(train.sentences), train.sentences[0], train.sentences[-1]) == (40, "sentence01", "sentence40")
    assert validation.sentences == test.sentences == tuple(f"sentence{i}" for i in range(21, 41))


def test_official_files_are_read(official):
    dataset = open_vocaset(official)
    assert (dataset.fps, dataset.rig, dataset.official, len(dataset.clips)) == (60, "flame", True, 9)
    assert isinstance(dataset.vertices, np.memmap)
    clip = next(c for c in dataset.clips if (c.subject, c.sentence) == (SUBJECTS[1], SENTENCES[2]))
    wanted = template_of(1) + frames_of(1, 2, 24)[0]
    np.testing.assert_allclose(dataset.vertices[clip.rows], wanted)
    np.testing.assert_allclose(dataset.templates[SUBJECTS[1]], template_of(1))
    sound = dataset.sound(clip)
    assert (sound.sample_rate, len(sound)) == (16000, 6400)
    assert 0.1 < np.abs(sound.samples).max() < 0.5
    logits = dataset.processed_features(clip)
    np.testing.assert_allclose(logits, frames_of(1, 2, 24)[1][:, None] * np.linspace(-1, 1, 29), atol=1e-6)


def test_select_follows_the_split_and_reports_what_is_missing(official, caplog):
    dataset = open_vocaset(official)
    with caplog.at_level(logging.WARNING):
        chosen = dataset.select(Split(SUBJECTS[:2], ("sentence22", "sentence01", "sentence33")))
    assert [(c.subject, c.sentence) for c in chosen] == [
        (subject, sentence) for subject in SUBJECTS[:2] for sentence in ("sentence22", "sentence01")
    ]
    assert "lacks sentence33" in caplog.text
    with pytest.raises(InputError, match="no clip of Marilyn"):
        dataset.select(Split(("Marilyn",)))


def test_own_layout_is_read(own):
    dataset = open_vocaset(own)
    assert (dataset.fps, dataset.rig, dataset.official, len(dataset.clips)) == (30, "builtin", False, 6)
    assert dataset.sound(dataset.clips[4]).duration == pytest.approx(0.8)
    np.testing.assert_allclose(dataset.vertices[dataset.clips[4].rows], template_of(1) + frames_of(1, 1, 24, 30.0)[0])


def make_frames(dataset, lengths=None):
    clips = dataset.clips
    lengths = lengths or [24] * len(clips)
    features = [np.arange(n, dtype=np.float32)[:, None] + 100 * i + 1 for i, n in enumerate(lengths)]
    return Frames(dataset, clips, features, ("bob",), 16), features


def test_pairs_windows_and_speakers(own):
    dataset = open_vocaset(own)
    frames, features = make_frames(dataset)
    assert len(frames) == 6 * 24
    batch = frames.batch(np.array([0, 24 + 5, 3 * 24 + 23]), 2)
    expected = [(0, 0), (0, 0), (1, 4), (1, 5), (3, 22), (3, 23)]  # the first frame of a clip is repeated
    assert batch.speaker.tolist() == [-1, -1, -1, -1, 0, 0]
    for row, (clip, frame) in enumerate(expected):
        np.testing.assert_array_equal(batch.features[row], windows(features[clip])[frame])
        offsets = frames_of(clip // 3, clip % 3, 24, 30.0)[0]
        np.testing.assert_allclose(batch.offsets[row], offsets[frame], atol=1e-7)
    assert batch.offsets.shape == (6, N_VERTICES, 3)


def test_three_consecutive_frames(own):
    frames, features = make_frames(open_vocaset(own))
    batch = frames.batch(np.array([24 + 1, 24 + 9]), 3)
    for row, frame in enumerate((0, 0, 1, 7, 8, 9)):
        np.testing.assert_array_equal(batch.features[row], windows(features[1])[frame])


def test_the_shorter_of_sound_and_picture_counts(own):
    frames, _ = make_frames(open_vocaset(own), [24, 23, 30, 24, 10, 24])
    assert len(frames) == 24 + 23 + 24 + 24 + 10 + 24


def test_one_epoch_yields_every_frame_once():
    """Also the first batch, which the official batcher never uses."""
    n = 1000
    orders = [epoch_order(n, seed=3, epoch=epoch) for epoch in range(3)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(n))
    assert not np.array_equal(orders[0], orders[1])
    np.testing.assert_array_equal(orders[1], epoch_order(n, seed=3, epoch=1))
    assert not np.array_equal(orders[1], epoch_order(n, seed=4, epoch=1))


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("owned",)


def test_hostile_pickle_is_refused(official, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "hostile"
    folder.mkdir()
    for path in official.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    for name in ("templates.pkl", "subj_seq_to_idx.pkl"):
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(pickle.dumps({SUBJECTS[0]: Hostile()}, protocol=2))
        with pytest.raises(FormatError, match=r"mkdir"):
            open_vocaset(folder)
        (folder / name).write_bytes(before)
    (folder / "raw_audio_fixed.pkl").write_bytes(pickle.dumps(Hostile(), protocol=2))
    dataset = open_vocaset(folder)
    with pytest.raises(FormatError, match=r"mkdir"):
        dataset.sound(dataset.clips[0])
    assert not (tmp_path / "owned").exists()


def dump(content):
    return lambda path: path.write_bytes(pickle.dumps(content, protocol=2))


DAMAGE = {
    "file missing": ("templates.pkl", lambda p: p.unlink(), "templates.pkl missing"),
    "cut off": ("data_verts.npy", lambda p: p.write_bytes(p.read_bytes()[:-10]), "data_verts.npy"),
    "no array": ("data_verts.npy", lambda p: p.write_bytes(b"hello"), "not a plain array"),
    "flat": ("data_verts.npy", lambda p: np.save(p, np.zeros((5, 60), np.float32)), r"expected float \(N, V, 3\)"),
    "too few rows": ("data_verts.npy", lambda p: np.save(p, np.zeros((5, N_VERTICES, 3), np.float32)), "asks for rows"),
    "no index": ("subj_seq_to_idx.pkl", lambda p: p.write_bytes(b"hello"), "subj_seq_to_idx.pkl"),
    "odd index": ("subj_seq_to_idx.pkl", dump({"a": {"b": ["x"]}}), "not an index"),
    "list as index": ("subj_seq_to_idx.pkl", dump([1]), "no table of subjects"),
    "other mesh": ("templates.pkl", dump({s: np.zeros((7, 3)) for s in SUBJECTS}), r"template of .* is \(7, 3\)"),
    "no template": ("templates.pkl", dump({}), "is missing"),
}


@pytest.mark.parametrize(("name", "harm", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_files_are_named(official, tmp_path, name, harm, message):
    folder = tmp_path / "damaged"
    folder.mkdir()
    for path in official.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    harm(folder / name)
    with pytest.raises(FormatError, match=message) as caught:
        open_vocaset(folder)
    assert "\n" not in str(caught.value)


def test_damaged_sound(official, tmp_path):
    folder = tmp_path / "damaged"
    folder.mkdir()
    for path in official.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    dump({SUBJECTS[0]: {}})(folder / "raw_audio_fixed.pkl")
    dataset = open_vocaset(folder)
    with pytest.raises(FormatError, match=f"nothing for {SUBJECTS[0]} sentence01"):
        dataset.sound(dataset.clips[0])
    (folder / "processed_audio_deepspeech.pkl").unlink()
    with pytest.raises(InputError, match="phones42"):
        dataset.processed_features(dataset.clips[0])


@pytest.mark.parametrize("changes", [{"format": "other"}, {"version": 99}, {"fps": -1}, {"clips": [{}]}])
def test_damaged_own_index(own, changes):
    changed_json(own / "index.json", **changes)
    with pytest.raises(FormatError, match=r"index\.json"):
        open_vocaset(own)


def test_no_folder(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        open_vocaset(tmp_path / "nothing")
