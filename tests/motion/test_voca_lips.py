"""VOCA as the lips lane: shapes instead of vertices, silence shut, closures kept by composing."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from test_lips import speech_of  # noqa: E402

from mien.direction import Direction  # noqa: E402
from mien.errors import InputError  # noqa: E402
from mien.face.rig import load_rig  # noqa: E402
from mien.metrics import closure_rate  # noqa: E402
from mien.motion.voca import Voca, VocaConfig, VocaNetwork  # noqa: E402
from mien.motion.voca_lips import MOUTH, voca_lips  # noqa: E402
from mien.pipelines.speak import perform  # noqa: E402
from mien.types import Emotion  # noqa: E402

FPS = 30.0
INNER = (13, 14)  # landmarks of the inner lips' middles


def gaping(rig="builtin", **changes):
    """A model that holds the jaw open at 0.6, whatever it hears, and smiles the more the second speaker has a say."""
    config = VocaConfig(load_rig().n_vertices, ("ann", "bob"), "phones42", 42, FPS, rig, "ann", **changes)
    network = VocaNetwork(config)
    basis = load_rig().expression_basis
    index = load_rig().expression_index
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.decoder.bias[:] = torch.from_numpy(0.6 * basis[index["jawOpen"]].ravel())
        network.decoder.weight[:, 0] = torch.tensor(basis[index["mouthSmileLeft"]].ravel())
        network.encoder.fc1.weight[0, -1] = 1
        network.encoder.fc2.weight[0, 0] = 0.5
    return Voca(config, network.eval())


def test_vertices_become_the_shapes_that_made_them():
    speech = speech_of("AA T IY", fps=FPS, each=0.4)
    middle = round(speech.fps * 1.1)
    motion = voca_lips(gaping(), speech)
    assert motion.column("jawOpen")[middle] == pytest.approx(0.6, abs=1e-3)
    others = [name for name in motion.expression_names if name != "jawOpen"]
    assert max(abs(motion.column(name)[middle]) for name in others) < 1e-3
    smiling = voca_lips(gaping(), speech, "bob").column("mouthSmileLeft")[middle]
    assert smiling == pytest.approx(0.5 * np.tanh(1), abs=1e-3)
    half = voca_lips(gaping(), speech, "ann:0.5,bob:0.5", gain=0.5)
    assert half.column("mouthSmileLeft")[middle] == pytest.approx(smiling / 4, abs=1e-3)
    assert half.column("jawOpen")[middle] == pytest.approx(0.3, abs=1e-3)
    assert set(MOUTH) <= set(motion.expression_names) and "browInnerUp" not in MOUTH


@pytest.mark.parametrize("fps", [25.0, 60.0])
def test_silence_is_shut_at_any_rate(fps):
    speech = speech_of("AA M AY S OW", fps=fps)
    motion = voca_lips(gaping(), speech)
    at = np.arange(len(speech)) / fps
    silent = (at < 0.5 - 0.12) | (at > speech.phones[-1].start + 0.12)
    assert len(motion) == len(speech) and silent.sum() > 8 and not motion.expression[silent].any()


def test_a_direction_takes_it_and_lips_meet_on_p_b_m():
    speech = speech_of("AA P AA S B IY AE M OW P UW AA M B AY", fps=25.0)
    direction = Direction.parse("lips: {source: voca, speaker: bob}\nemotion: surprise:1")
    motion = perform(direction, speech, voca=gaping())
    vertices = load_rig().vertices(motion)
    gap = vertices[:, INNER[0], 1] - vertices[:, INNER[1], 1]
    assert closure_rate(gap, 25.0, speech.phones) == 1
    assert gap.max() > 0.008 and motion.column("mouthSmileLeft").max() > 0.2


@pytest.mark.parametrize("emotion", list(Emotion))
def test_the_default_closes_on_p_b_m_and_in_silence_under_every_emotion(emotion):
    speech = speech_of("AA P AA S B IY AE M OW P UW AA M B AY T EH B AA", fps=25.0)
    motion = perform(Direction.parse(f"lips: {{source: voca}}\nemotion: {emotion}:1\nblink: 0"), speech)
    rig = load_rig()
    vertices = rig.vertices(motion)
    gap = vertices[:, INNER[0], 1] - vertices[:, INNER[1], 1]
    assert closure_rate(gap, 25.0, speech.phones) >= 0.95
    at = np.arange(len(speech)) / 25.0
    silent = (at < 0.5 - 0.2) | (at > speech.phones[-1].start + 0.2)
    height = np.linalg.norm(rig.template[10] - rig.template[152])
    neutral = rig.template[INNER[0], 1] - rig.template[INNER[1], 1]
    assert np.abs(gap[silent] - neutral).max() < 0.02 * height
    assert gap.max() > 0.004


def test_what_does_not_fit_is_refused():
    speech = speech_of("AA")
    with pytest.raises(InputError, match="for rig ict does not move the lips of a direction"):
        voca_lips(gaping("ict"), speech)
    with pytest.raises(InputError, match="no talking style 'eve'; there are ann, bob"):
        voca_lips(gaping(), speech, "eve")
    with pytest.raises(InputError, match="trained on phones42 features"):
        from dataclasses import replace

        voca_lips(gaping(), replace(speech, kind="deepspeech29"))
