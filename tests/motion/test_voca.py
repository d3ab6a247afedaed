"""VOCA against numbers of the official graph (../shared/reference), and what must hold without them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from reference import stored
from tensorflow_samples import write_checkpoint

from mien.errors import AssetError, FormatError, InputError
from mien.motion.voca import (
    OFFICIAL_SPEAKERS,
    Voca,
    VocaConfig,
    VocaLossConfig,
    VocaNetwork,
    _tensorflow_names,
    load_voca,
    losses,
    save_voca,
    state_from_tensorflow,
    windows,
)
from mien.training.optimiser import TensorFlowAdam
from mien.types import SpeechFeatures

SMALL = VocaConfig(n_vertices=120)


@pytest.fixture(scope="module")
def reference():
    arrays, said = stored("voca_tf_reference_N120")
    return arrays, said["tolerance"]


def group(arrays, prefix):
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def network_of(variables):
    network = VocaNetwork(SMALL)
    network.load_state_dict(state_from_tensorflow(variables))
    return network


def inputs(arrays):
    features = torch.from_numpy(arrays["speech_features"][..., 0])
    speaker = torch.from_numpy(arrays["condition"]).long()
    return features, speaker, torch.from_numpy(arrays["target"][..., 0] - arrays["template"][..., 0])


def close(got, wanted, tolerance):
    got = got.detach().numpy() if isinstance(got, torch.Tensor) else got
    assert np.abs(got - wanted).max() <= tolerance


def test_forward_parity(reference):
    arrays, tolerance = reference
    network = network_of(group(arrays, "w0/")).eval()
    features, speaker, target = inputs(arrays)
    coefficients = network.encode(features, speaker)
    offsets = network.decode(coefficients)
    close(coefficients, arrays["eval_encoding"], tolerance["eval_encoding"])
    close(offsets, arrays["eval_offset"][..., 0], tolerance["eval_offset"])
    close(offsets + torch.from_numpy(arrays["template"][..., 0]), arrays["eval_output"][..., 0], 1e-6)
    terms = losses(offsets.detach(), target, VocaLossConfig())
    for name, wanted in (("total", "eval_loss"), ("reconstruction", "eval_rec"), ("velocity", "eval_vel")):
        assert float(terms[name]) == pytest.approx(float(arrays[wanted]), abs=tolerance["losses"], rel=1e-5)


def test_gradients_batch_statistics_and_one_step_parity(reference):
    arrays, tolerance = reference
    network = network_of(group(arrays, "w0/")).train()
    optimiser = TensorFlowAdam(network.parameters(), lr=1e-4)
    features, speaker, target = inputs(arrays)
    offsets = network(features, speaker)
    close(offsets, arrays["train_offset"][..., 0], 1e-6)
    loss = losses(offsets, target, VocaLossConfig())["total"]
    assert loss.item() == pytest.approx(float(arrays["train_loss"]), abs=tolerance["losses"], rel=1e-5)
    loss.backward()
    wanted = state_from_tensorflow(
        group(arrays, "grad/") | {f"VOCA/SpeechEncoder/batch_norm/moving_{n}": 0 for n in ("mean", "variance")}
    )
    for name, parameter in network.named_parameters():
        close(parameter.grad, wanted[name].numpy(), tolerance["gradients"])
    for ours, theirs in (("running_mean", "mean"), ("running_var", "variance")):
        after = arrays[f"bn_after/VOCA/SpeechEncoder/batch_norm/moving_{theirs}"]
        close(getattr(network.encoder.batch_norm, ours), after, tolerance["bn_after"])
    optimiser.step()
    stepped = state_from_tensorflow(group(arrays, "w1/"))
    for name, parameter in network.named_parameters():
        close(parameter, stepped[name].numpy(), tolerance["w1"])


def test_several_steps_are_those_of_tensorflows_formula(reference):
    """Ten steps beside Adam as TensorFlow writes it: m / (sqrt(v) + 1e-8) at a rate corrected for both moments."""
    arrays, _ = reference
    network = network_of(group(arrays, "w0/")).double().train()
    optimiser = TensorFlowAdam(network.parameters(), lr=1e-4)
    features, speaker, target = inputs(arrays)
    expected = {name: p.detach().numpy().copy() for name, p in network.named_parameters()}
    first = {name: np.zeros_like(value) for name, value in expected.items()}
    second = {name: np.zeros_like(value) for name, value in expected.items()}
    for step in range(1, 11):
        optimiser.zero_grad()
        losses(network(features.double(), speaker), target.double(), VocaLossConfig())["total"].backward()
        rate = 1e-4 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        for name, parameter in network.named_parameters():
            gradient = parameter.grad.numpy()
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.999 * second[name] + 0.001 * gradient**2
            expected[name] = expected[name] - rate * first[name] / (np.sqrt(second[name]) + 1e-8)
        optimiser.step()
    for name, parameter in network.named_parameters():
        close(parameter, expected[name], 1e-12)


def test_released_checkpoint_names_and_official_file(reference, tmp_path):
    arrays, _ = reference
    variables = group(arrays, "w0/")
    released = {name.replace("ExpressionLayer", "FlameExpressionLayer"): value for name, value in variables.items()}
    np.savez(tmp_path / "voca.npz", **released)
    model = load_voca(tmp_path / "voca.npz")
    assert model.config == SMALL
    for name, value in network_of(variables).state_dict().items():
        assert torch.equal(model.network.state_dict()[name], value)


def test_official_file_of_something_else_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(FormatError, match="is missing"):
        load_voca(tmp_path / "other.npz")


def test_full_size_network():
    """5023 vertices, 8 speakers, 60 frames/s: sizes, keys, and the number of parameters the paper's program has."""
    network = VocaNetwork(VocaConfig())
    assert sum(p.numel() for p in network.parameters()) == 809_563
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == {
        "encoder.batch_norm.weight": (1,), "encoder.batch_norm.bias": (1,),
        "encoder.batch_norm.running_mean": (1,), "encoder.batch_norm.running_var": (1,),
        "encoder.batch_norm.num_batches_tracked": (),
        "encoder.conv1.weight": (32, 37, 3), "encoder.conv1.bias": (32,),
        "encoder.conv2.weight": (32, 32, 3), "encoder.conv2.bias": (32,),
        "encoder.conv3.weight": (64, 32, 3), "encoder.conv3.bias": (64,),
        "encoder.conv4.weight": (64, 64, 3), "encoder.conv4.bias": (64,),
        "encoder.fc1.weight": (128, 72), "encoder.fc1.bias": (128,),
        "encoder.fc2.weight": (50, 128), "encoder.fc2.bias": (50,),
        "decoder.weight": (15069, 50), "decoder.bias": (15069,),
    }  # fmt: skip
    assert network(torch.zeros(4, 16, 29), torch.tensor([0, 7, 3, -1])).shape == (4, 5023, 3)
    assert not OFFICIAL_SPEAKERS.count("") and len(set(OFFICIAL_SPEAKERS)) == 8


def test_full_size_parity_with_a_plain_restatement():
    """The 5023-vertex network beside the layers written out in NumPy from the graph's description, all 8 speakers."""
    torch.manual_seed(0)
    network = VocaNetwork(VocaConfig()).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) * (0.1 if parameter.ndim > 1 else 0.05))
    state = {name: value.double().numpy() for name, value in network.state_dict().items()}
    features = torch.randn(8, 16, 29)
    got = network(features, torch.arange(8)).detach().numpy()

    x = (features.double().numpy() - state["encoder.batch_norm.running_mean"]) / np.sqrt(
        state["encoder.batch_norm.running_var"] + 1.001e-5
    )
    x = x * state["encoder.batch_norm.weight"] + state["encoder.batch_norm.bias"]
    one_hot = np.eye(8)
    x = np.concatenate([x, np.repeat(one_hot[:, None], 16, 1)], 2)
    for layer in ("conv1", "conv2", "conv3", "conv4"):
        weight, bias = state[f"encoder.{layer}.weight"], state[f"encoder.{layer}.bias"]
        padded = np.pad(x, ((0, 0), (0, 1), (0, 0)))
        steps = range(0, x.shape[1], 2)
        x = np.stack([np.einsum("btc,oct->bo", padded[:, t : t + 3], weight) + bias for t in steps], 1)
        x = np.maximum(x, 0)
    x = np.tanh(np.c_[x[:, 0], one_hot] @ state["encoder.fc1.weight"].T + state["encoder.fc1.bias"])
    x = x @ state["encoder.fc2.weight"].T + state["encoder.fc2.bias"]
    x = x @ state["decoder.weight"].T + state["decoder.bias"]
    assert np.abs(got - x.reshape(8, 5023, 3)).max() < 1e-5


def test_a_given_basis_starts_the_last_layer():
    basis = np.random.default_rng(0).normal(size=(360, 60))
    network = VocaNetwork(SMALL, basis)
    np.testing.assert_allclose(network.decoder.weight.detach().numpy(), basis[:, :50].astype(np.float32))
    assert not network.decoder.bias.detach().numpy().any()
    with pytest.raises(ValueError, match=r"expected \(360, n\)"):
        VocaNetwork(SMALL, basis[:-1])


def test_every_parameter_receives_a_gradient():
    torch.manual_seed(1)
    network = VocaNetwork(SMALL)
    config = VocaLossConfig(3, velocity_weight=10, acceleration_weight=1, regulariser_weight=1)
    offsets = network(torch.randn(6, 16, 29), torch.tensor([0, 0, 0, 5, 5, 5]))
    losses(offsets, torch.randn(6, 120, 3), config)["total"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_a_vertex_counts_as_much_as_its_weight():
    offsets, target = torch.zeros(2, 2, 3), torch.tensor([[[3.0, 0, 0], [0, 1.0, 0]]] * 2)
    config = VocaLossConfig(velocity_weight=0)
    both = losses(offsets, target, config)["reconstruction"]
    first = losses(offsets, target, config, torch.tensor([2.0, 0]))["reconstruction"]
    assert (both.item(), first.item()) == pytest.approx((5, 9))


def test_losses_by_hand():
    """Three frames of two vertices that move along x: 0, 1, 4 predicted against 0, 0, 0."""
    predicted, target = torch.zeros(3, 2, 3), torch.zeros(3, 2, 3)
    predicted[1, :, 0], predicted[2, :, 0] = 1, 4
    squared = losses(predicted, target, VocaLossConfig(3, False, 10, 2, 0.5))
    assert squared["reconstruction"].item() == pytest.approx((0 + 1 + 16) / 3)
    assert squared["velocity"].item() == pytest.approx(10 * 9)
    assert squared["acceleration"].item() == pytest.approx(2 * 4)
    assert squared["regulariser"].item() == pytest.approx(0.5 * 5 / 3)
    assert squared["total"].item() == pytest.approx(17 / 3 + 90 + 8 + 2.5 / 3)
    absolute = losses(predicted, target, VocaLossConfig(3, True, 10, 2, 0))
    assert absolute["reconstruction"].item() == pytest.approx(5 / 3)
    assert absolute["velocity"].item() == pytest.approx(30)
    assert set(losses(predicted, target, VocaLossConfig(1, velocity_weight=0))) == {"reconstruction", "total"}


@pytest.mark.parametrize(
    ("frames", "weights"), [(1, {}), (2, {"acceleration_weight": 1.0}), (0, {"velocity_weight": 0})]
)
def test_too_few_consecutive_frames_are_refused(frames, weights):
    with pytest.raises(InputError, match="n_consecutive_frames"):
        VocaLossConfig(frames, **weights)


def test_windows_hold_8_frames_before_and_7_after():
    rows = np.arange(1, 31, dtype=np.float32)[:, None]
    view = windows(rows)
    assert view.shape == (30, 16, 1)
    assert view[15, :, 0].tolist() == list(range(8, 24))
    assert view[0, :, 0].tolist() == [0] * 8 + list(range(1, 9))
    assert view[29, :, 0].tolist() == [*range(22, 31), 0, 0, 0, 0, 0, 0, 0]


def make_features(n, fps=60.0, kind="deepspeech29", columns=29, seed=0):
    still = np.zeros(n, np.float32)
    values = np.random.default_rng(seed).normal(size=(n, columns)).astype(np.float32)
    return SpeechFeatures(values, fps, kind, (), still, still, still)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    network = VocaNetwork(SMALL)
    with torch.no_grad():
        for parameter in network.encoder.parameters():  # the paper's start hardly tells styles apart
            parameter.mul_(8)
    return Voca(SMALL, network.eval())


def test_animate_fills_offsets_only(model):
    motion = model.animate(make_features(90))
    assert (len(motion), motion.fps, motion.rig) == (90, 60.0, "flame")
    assert motion.offsets.shape == (90, 120, 3)
    assert motion.offsets.std(0).max() > 1e-4
    for name in ("jaw_pose", "head_pose", "eye_pose", "translation"):
        assert not getattr(motion, name).any()


def test_blocks_do_not_show(model, monkeypatch):
    values = make_features(70).values
    whole = np.concatenate(list(model.blocks(values)))
    monkeypatch.setattr("mien.motion.voca._BLOCK", 16)
    # These random weights give offsets of up to 9; sums in another order differ in float32's last digits of those.
    rounding = 1e-6 * np.abs(whole).max()
    np.testing.assert_allclose(np.concatenate(list(model.blocks(values))), whole, rtol=0, atol=rounding)


def test_other_rates_show_the_same_times(model):
    """Slow features at 30 frames/s give every second frame of those at 60."""
    t = np.arange(120)[:, None] / 60
    smooth = np.sin(2 * np.pi * t * np.linspace(0.2, 1, 29)).astype(np.float32)
    fast = replace(make_features(120), values=smooth)
    slow = replace(make_features(60, fps=30.0), values=smooth[::2])
    expected = model.animate(fast).offsets[::2]
    error = np.abs(model.animate(slow).offsets - expected)[2:-8].max()
    assert error < 0.05 * np.abs(expected).max()


def test_styles(model):
    speech = make_features(20)
    named = {name: model.animate(speech, name).offsets for name in (*OFFICIAL_SPEAKERS, "none")}
    assert len({offsets.tobytes() for offsets in named.values()}) == 9
    np.testing.assert_array_equal(model.animate(speech, "3").offsets, named[OFFICIAL_SPEAKERS[2]])
    np.testing.assert_array_equal(model.animate(speech).offsets, named[OFFICIAL_SPEAKERS[2]])
    mixed = model.animate(speech, {OFFICIAL_SPEAKERS[0]: 3, OFFICIAL_SPEAKERS[1]: 1, OFFICIAL_SPEAKERS[2]: 0}).offsets
    mean = np.mean([named[name] for name in OFFICIAL_SPEAKERS], axis=0)
    np.testing.assert_allclose(model.animate(speech, "all").offsets, mean, rtol=1e-4, atol=1e-4)
    average = 0.75 * named[OFFICIAL_SPEAKERS[0]] + 0.25 * named[OFFICIAL_SPEAKERS[1]]
    np.testing.assert_allclose(mixed, average, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("style", ["Marilyn", "0", "9", "-1"])
def test_unknown_style_lists_the_known(model, style):
    with pytest.raises(InputError, match=f"{OFFICIAL_SPEAKERS[0]}.*none"):
        model.animate(make_features(5), style)


def test_mixture_of_nothing_is_refused(model):
    with pytest.raises(InputError, match="shares above 0"):
        model.animate(make_features(5), {OFFICIAL_SPEAKERS[0]: 0})


def test_wrong_features_are_refused(model):
    with pytest.raises(InputError, match=r"deepspeech29 features \(29 columns\), these are phones42 \(42 columns\)"):
        model.animate(make_features(5, kind="phones42", columns=42))


def test_saved_and_loaded(model, tmp_path):
    path = tmp_path / "voca.safetensors"
    save_voca(path, model)
    again = load_voca(path)
    assert again.config == model.config
    speech = make_features(8)
    np.testing.assert_array_equal(again.animate(speech).offsets, model.animate(speech).offsets)


def test_the_default_opens_on_vowels_and_closes_in_silence():
    from mien.face.rig import load_rig
    from mien.perception.phones import UNITS

    default = load_voca()
    assert (default.config.rig, default.config.n_vertices) == ("builtin", load_rig().n_vertices)
    assert (default.config.feature_kind, default.config.n_features) == ("phones42", len(UNITS))
    spoken = ["SIL"] * 15 + ["AY"] * 5 + ["SIL"] * 15
    values = np.eye(len(UNITS), dtype=np.float32)[[UNITS.index(phone) for phone in spoken]]
    for style in (*default.config.speakers, "all"):
        offsets = np.concatenate(list(default.blocks(values, style)))
        opening = 1000 * (offsets[:, 13, 1] - offsets[:, 14, 1])  # inner lips, mm
        assert opening[14:22].max() > 2 + max(opening[:8].max(), opening[28:33].max())
        brows = np.linalg.norm(offsets[:, [105, 334]], axis=-1)
        assert brows.max() < 0.0005


def test_the_official_checkpoint_is_read_without_tensorflow(model, tmp_path):
    variables = {}
    state = {name: value.numpy() for name, value in model.network.state_dict().items()}
    for ours, theirs in _tensorflow_names().items():
        array = state[ours]
        if array.ndim == 3:
            array = array.transpose(2, 1, 0)[:, None]
        variables[theirs.replace("ExpressionLayer", "FlameExpressionLayer")] = np.ascontiguousarray(
            array.T if array.ndim == 2 else array
        )
    write_checkpoint(tmp_path / "gstep_52280.model", variables | {"global_step": np.array(52280, np.int64)})
    again = load_voca(tmp_path / "gstep_52280.model")
    assert again.config.speakers == OFFICIAL_SPEAKERS and again.config.feature_kind == "deepspeech29"
    speech = make_features(8)
    np.testing.assert_array_equal(again.animate(speech).offsets, model.animate(speech).offsets)


def test_bad_model_files(model, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_voca(tmp_path / "none.safetensors")
    with pytest.raises(AssetError, match="no such VOCA model"):
        load_voca("vocca")
    path = tmp_path / "voca.safetensors"
    save_voca(path, model)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(FormatError, match="damaged"):
        load_voca(path)
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(FormatError, match="not a VOCA model"):
        load_voca(path)
