"""DSM's network has the published sizes, and its adapter leaves alone what it must."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mood_samples import mood_motion  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from mien.errors import FormatError, InputError  # noqa: E402
from mien.motion.dsm import Dsm, DsmConfig, ExpressionDecoder, cloud_of, load_dsm, save_dsm  # noqa: E402
from mien.motion.emotion import expression_at  # noqa: E402
from mien.types import ARKIT_NAMES, FaceMotion  # noqa: E402


def some_model(va: np.ndarray | None = None) -> Dsm:
    torch.manual_seed(0)
    config = DsmConfig(hidden=(16, 8))
    va = np.random.default_rng(0).uniform(0, 0.6, (2000, 2)).astype(np.float32) if va is None else va
    cloud = cloud_of(va, np.full(len(va), 0.04, np.float32))
    return Dsm(config, ExpressionDecoder(config).eval(), cloud, np.full(52, 0.05, np.float32))


@pytest.mark.parametrize(("n_outputs", "n_parameters"), [(30, 11_101_790), (50, 11_103_090)])
def test_it_has_as_many_parameters_as_published(n_outputs, n_parameters):
    with torch.device("meta"):
        network = ExpressionDecoder(DsmConfig(tuple(f"e{i}" for i in range(n_outputs)), rig="flame"))
    assert sum(p.numel() for p in network.parameters()) == n_parameters


def test_dropout_acts_in_training_only():
    network = ExpressionDecoder(DsmConfig(hidden=(64, 64), dropout=0.5))
    va = torch.ones(1, 2)
    assert not torch.equal(network(va), network(va))
    network.eval()
    assert torch.equal(network(va), network(va))


def test_every_parameter_learns():
    network = ExpressionDecoder(DsmConfig(hidden=(32, 16)))
    network(torch.randn(64, 2)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_it_learns_a_known_map():
    torch.manual_seed(0)
    network = ExpressionDecoder(DsmConfig(("a", "b"), hidden=(32, 32)))
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    va = torch.rand(256, 2) * 2 - 1
    wanted = torch.stack([va[:, 0].clamp(min=0), va[:, 1].square()], 1)
    for _ in range(300):
        loss = (network(va) - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 1e-3


def test_nothing_changes_where_the_person_is_already():
    motion = mood_motion(60)
    own = np.random.default_rng(1).uniform(-1, 1, (60, 2)).astype(np.float32)
    moved = some_model().moved(motion, own, own, expression_at)
    np.testing.assert_array_equal(moved.expression, motion.expression)


@pytest.mark.parametrize("way", ["moved", "replaced"])
def test_gaze_stays_the_videos_and_in_the_papers_way_the_lids(way):
    model, motion = some_model(), mood_motion(60)
    wanted = np.tile(np.array([[0.8, 0.2]], np.float32), (60, 1))
    made = model.replaced(motion, wanted) if way == "replaced" else model.moved(motion, -wanted, wanted, expression_at)
    for name in ARKIT_NAMES:
        if name.startswith("eyeLook" if way == "moved" else ("eyeBlink", "eyeLook")):
            np.testing.assert_array_equal(made.column(name), motion.column(name))
    assert np.abs(made.expression - motion.expression).max() > 0.05
    assert made.expression.min() >= 0 and made.expression.max() <= 1
    np.testing.assert_array_equal(made.head_pose, motion.head_pose)


def test_replacing_freezes_the_speech_and_moving_keeps_it():
    model, motion = some_model(), mood_motion(100)
    wanted = np.tile(np.array([[0.5, 0.3]], np.float32), (100, 1))
    own = np.zeros((100, 2), np.float32)
    jaw = motion.column("jawOpen")
    assert np.std(model.replaced(motion, wanted).column("jawOpen")) < 1e-6
    assert np.corrcoef(model.moved(motion, own, wanted, expression_at).column("jawOpen"), jaw)[0, 1] > 0.9


def test_coverage_knows_where_the_person_was():
    """A cloud like that of an actor of MEAD: the upper half, nothing calm and pleasant."""
    rng = np.random.default_rng(0)
    turn, radius = rng.uniform(0, np.pi, 3000), np.sqrt(rng.uniform(0, 1, 3000))
    model = some_model(np.stack([radius * np.cos(turn), radius * np.sin(turn)], 1).astype(np.float32))
    known = model.coverage(np.array([[0.3, 0.5], [-0.5, 0.4], [0.8, -0.8], [0.0, -0.6]], np.float32))
    assert (known[:2] > 0.8).all() and (known[2:] < 0.01).all()
    face = model.face(np.array([[0.8, -0.8]], np.float32), expression_at)
    generic = np.clip(model.own + expression_at(np.array([[0.8, -0.8]])), 0, 1)
    np.testing.assert_allclose(face, generic, atol=0.01)
    assert not np.isclose(model.decode(np.array([[0.8, -0.8]], np.float32)), generic, atol=0.05).all()


def test_where_film_is_short_doubt_prefers_the_mean_face():
    model = some_model()
    doubtful = replace(model, mean=np.full(52, 0.2, np.float32), doubt=30.0)
    va = np.array([[0.3, 0.3], [-0.9, -0.1]], np.float32)
    sure, unsure = model.decode(va), doubtful.decode(va)
    np.testing.assert_array_equal(sure, doubtful.network_faces(va))
    np.testing.assert_allclose(unsure[1], 0.2, atol=1e-3)
    seconds = 2000 * 0.04 * 2 * np.pi * 0.1**2 / 0.36  # around a point inside the square that was filmed
    share = (unsure[0] - 0.2) / (sure[0] - 0.2)
    np.testing.assert_allclose(share, seconds / (seconds + 30), rtol=0.1)
    apart = np.abs(model.face(va, expression_at) - (model.own + expression_at(va)))[0].mean()
    assert np.abs(doubtful.face(va, expression_at) - (model.own + expression_at(va)))[0].mean() < 0.8 * apart


def test_coverage_counts_time_not_frames():
    va = np.full((100, 2), 0.2, np.float32)
    slow, quick = (cloud_of(np.repeat(va, n, 0), np.full(100 * n, 0.04 / n, np.float32)) for n in (1, 2))
    np.testing.assert_allclose(slow, quick, rtol=1e-4)


def test_it_is_written_and_read_back(tmp_path):
    model = replace(some_model(), mean=np.full(52, 0.2, np.float32), doubt=4.0)
    save_dsm(tmp_path / "a.safetensors", model)
    read = load_dsm(tmp_path / "a.safetensors")
    va = np.random.default_rng(2).uniform(-1, 1, (20, 2)).astype(np.float32)
    assert read.config == model.config and read.doubt == 4.0
    np.testing.assert_array_equal(read.decode(va), model.decode(va))
    np.testing.assert_array_equal(read.face(va, expression_at), model.face(va, expression_at))
    assert len(read.decode(va[:0])) == 0


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_dsm(tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(FormatError, match="not a decoder"):
        load_dsm(tmp_path / "other.safetensors")


def test_another_rig_is_refused():
    motion = FaceMotion.zeros(3, 25.0, rig="flame", expression_names=("a",))
    with pytest.raises(InputError, match="retarget"):
        some_model().replaced(motion, np.zeros((3, 2), np.float32))
