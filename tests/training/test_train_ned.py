"""``mien train ned``: layouts, the split by people, windows, both methods, and runs that go on where they stopped."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mien.errors import InputError
from mien.motion.ned import NedConfig, NedEditor, NedNetworks, builtin_config, load_ned
from mien.motion.ned_reversible import CURVES, load_reversible, style_of
from mien.training.datasets.emotion_clips import EmotionClip, read_emotion_clips, split_people
from mien.training.options import TrainNedOptions
from mien.training.recipes.ned import NedTask, windows_of
from mien.training.recipes.ned_reversible import stretches_of
from mien.training.train import train_ned
from mien.types import Emotion, FaceMotion

EMOTIONS = {"happy": "mouthSmileLeft", "sad": "browInnerUp", "neutral": "jawOpen"}


def motion(n: int, seed: int, name: str) -> FaceMotion:
    """Something that talks with one expression standing."""
    time = np.arange(n) / 25
    curve = 0.2 + 0.2 * np.sin(9 * time + seed)
    return FaceMotion.zeros(n, 25.0).with_columns({name: 0.6, "mouthFunnel": curve} | {"jawOpen": curve})


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Four people, three emotions, two sentences each, in pairs."""
    for person in "abcd":
        for label, name in EMOTIONS.items():
            folder = tmp_path / "data" / person / label
            folder.mkdir(parents=True)
            for sentence in range(2):
                motion(24, sentence, name).save(folder / f"{sentence}.npz")
    return tmp_path / "data"


def options(data: Path, output: Path, **changes) -> TrainNedOptions:
    small = {
        "epochs": 2,
        "width": 16,
        "reader_width": 16,
        "hop": 4,
        "batch_size": 16,
        "learning_rate": 1e-3,
        "checkpoint_every": 9,
    }
    return TrainNedOptions(data, output, **{**small, **changes})


def test_own_clips_in_folders(own: Path, tmp_path: Path) -> None:
    clips = read_emotion_clips(own, tmp_path / "cache")
    assert len(clips) == 24 and {clip.person for clip in clips} == set("abcd")
    assert {label for clip in clips for label in clip.labels} == {Emotion.HAPPY, Emotion.SAD, Emotion.NEUTRAL}


def test_mead_strongest_emotions_from_the_front(tmp_path: Path) -> None:
    for label, level in (("angry", "level_3"), ("angry", "level_1"), ("neutral", "level_1"), ("disgusted", "level_3")):
        for side in ("front", "left_30"):
            folder = tmp_path / "M003" / "video" / side / label / level
            folder.mkdir(parents=True)
            motion(12, 0, "browDownLeft").save(folder / "001.npz")
    clips = read_emotion_clips(tmp_path, tmp_path / "cache")
    assert sorted(str(clip.labels[0]) for clip in clips) == ["anger", "disgust", "neutral"]
    assert {clip.person for clip in clips} == {"M003"}


def test_affwild2_labels_frame_by_frame(tmp_path: Path) -> None:
    annotations = tmp_path / "annotations" / "Train_Set"
    annotations.mkdir(parents=True)
    (tmp_path / "videos").mkdir()
    motion(30, 0, "mouthSmileLeft").save(tmp_path / "videos" / "12-30.npz")
    header = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other"
    rows = [0] * 12 + [4] * 12 + [-1] * 3 + [7]
    (annotations / "12-30.txt").write_text("\n".join([header, *map(str, rows)]))
    (clip,) = read_emotion_clips(tmp_path, tmp_path / "cache")
    assert clip.labels[0] is Emotion.NEUTRAL and clip.labels[12] is Emotion.HAPPY
    assert list(clip.labels[24:]) == [None] * 6
    windows = windows_of([clip], NedNetworks(builtin_config(8, 16)))
    assert len(windows) == 24 - 10 + 1  # none over a frame without a label
    assert windows.labels[0] == 0 and windows.labels[-1] == 4


def test_nothing_usable_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="PERSON/EMOTION/CLIP"):
        read_emotion_clips(tmp_path, tmp_path / "cache")


def test_people_are_split_never_clips(own: Path, tmp_path: Path) -> None:
    clips = read_emotion_clips(own, tmp_path / "cache")
    training, validation = split_people(clips)
    assert {clip.person for clip in validation} == {"a"} and not {c.person for c in training} & {"a"}
    assert {clip.person for clip in split_people(clips, ["b", "d"])[1]} == {"b", "d"}
    with pytest.raises(InputError, match="nobody is called x"):
        split_people(clips, ["x"])
    with pytest.raises(InputError, match="nobody is left"):
        split_people(clips, list("abcd"))


def test_a_run_that_was_stopped_ends_in_the_same_weights(own: Path, tmp_path: Path) -> None:
    whole = train_ned(options(own, tmp_path / "whole"))
    train_ned(options(own, tmp_path / "parts", epochs=1))
    parts = train_ned(options(own, tmp_path / "parts"))
    a, b = load_file(whole.output), load_file(parts.output)
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    assert whole.people == 3 and np.isfinite(whole.cycle)
    edited = NedEditor(load_ned(whole.output)).edit(motion(30, 1, "jawForward"), np.zeros(32))
    assert len(edited) == 30


def test_what_labels_do_is_learned_and_resumed(own: Path, tmp_path: Path) -> None:
    settings = {"method": "reversible", "learning_rate": 2e-2, "batch_size": 9}
    whole = train_ned(options(own, tmp_path / "whole", epochs=60, **settings))
    train_ned(options(own, tmp_path / "parts", epochs=7, **settings))
    parts = train_ned(options(own, tmp_path / "parts", epochs=60, **settings))
    assert whole.output.read_bytes() == parts.output.read_bytes()
    assert whole.moved > 0.8 and whole.cycle < 1e-4
    model = load_reversible(whole.output)
    assert model is not None
    style = style_of(motion(100, 3, "mouthSmileLeft"))
    brow, smile = (CURVES.index(name) for name in ("browInnerUp", "mouthSmileLeft"))
    sad, happy = model("sad", style)[0], model("happy", style)[0]
    assert sad[brow] > happy[brow] + 0.2 and sad[smile] < happy[smile] - 0.2


def test_stretches_end_where_the_label_changes() -> None:
    labels = [Emotion.HAPPY] * 30 + [None] * 5 + [Emotion.SAD] * 20 + [Emotion.HAPPY] * 5
    clip = EmotionClip("a", "one", motion(60, 0, "browInnerUp"), labels)
    found = stretches_of([clip], NedConfig())
    assert [len(each) for each in found.motions] == [30, 20]
    assert [NedConfig().emotions[i] for i in found.labels] == [Emotion.HAPPY, Emotion.SAD]


def test_reversible_goes_on_from_nothing(own: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="takes no --start"):
        train_ned(options(own, tmp_path / "run", method="reversible", start=tmp_path / "a.safetensors"))


def test_all_networks_learn_and_constant_jaws_do_no_harm(own: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    networks = NedNetworks(builtin_config(8, 16))
    still = [clip for clip in read_emotion_clips(own, tmp_path) if clip.labels[0] is not Emotion.NEUTRAL]
    data = windows_of(still, networks)
    task = NedTask(networks, data, None, seed=0)
    for group in task.optimiser.param_groups:
        group["lr"] = 1e-3
    before = {name: value.clone() for name, value in networks.state_dict().items()}
    terms = task.loss(np.arange(16))
    assert all(torch.isfinite(value) for value in terms.values())
    terms["total"].backward()
    changed = {n.split(".")[0] for n, value in networks.state_dict().items() if not torch.equal(value, before[n])}
    assert changed == {"generator", "mapping_network", "style_encoder", "discriminator"}
    assert all(p.grad is None for p in networks.style_encoder.parameters())  # by reference, only the translator learns
    assert networks.generator.seq2[-1].weight.grad.abs().sum() > 0
