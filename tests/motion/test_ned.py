"""NED's manipulator: the published numbers, losses that stay finite, motions by label and by reference, loading."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from reference import Reference
from safetensors.torch import save_file

from mien.errors import FormatError, InputError
from mien.motion.ned import (
    NedConfig,
    NedEditor,
    NedNetworks,
    blend,
    discriminator_loss,
    discriminator_step,
    gaussian_weights,
    geometric_median,
    jaw_correlation,
    load_ned,
    translation_loss,
    translation_step,
)
from mien.types import ARKIT_NAMES, Emotion, FaceMotion

PARTS = ("generator", "mapping_network", "style_encoder", "discriminator")
TRANSLATION_PARTS = ("adversarial", "style", "cycle", "mouth")


@cache
def reference(name: str) -> Reference:
    return Reference(name)


@cache
def official() -> NedNetworks:
    networks = NedNetworks()
    for name, network in networks.named_children():
        network.load_state_dict(reference("ned_manipulator").state(name), strict=True)
    return networks


@cache
def random_networks() -> NedNetworks:
    torch.manual_seed(0)
    return NedNetworks()


def given(name: str, system: str = "ned_manipulator") -> torch.Tensor:
    return torch.from_numpy(np.array(reference(system).input(name)))


def within(output: str, value: torch.Tensor | np.ndarray, system: str = "ned_manipulator") -> None:
    """The published output, within the tolerance that goes with it."""
    ref = reference(system)
    array = value.detach().numpy() if isinstance(value, torch.Tensor) else value
    found = ref.fill.compare(output, array, ref.arrays, ref.info)
    assert found["ok"], found


def made_motion(n: int, seed: int = 0, fps: float = 25.0) -> FaceMotion:
    random = np.random.default_rng(seed)
    names = (*(f"expression_{i:02d}" for i in range(55)), "other")
    motion = FaceMotion.zeros(n, fps, "flame", names)
    return replace(
        motion,
        expression=np.cumsum(random.normal(0, 0.1, (n, 56)), 0),
        jaw_pose=0.1 * random.random((n, 3)),
        head_pose=0.1 * random.random((n, 3)),
        eye_pose=0.1 * random.random((n, 2, 3)),
    )


# ------------------------------------------------------------------------------------------------- published numbers


@pytest.mark.parametrize("part", PARTS)
def test_sizes_are_the_published_ones(part):
    info = reference("ned_manipulator").info["networks"][part]
    network = official().get_submodule(part)
    assert sum(p.numel() for p in network.parameters()) == info["parameters"]
    assert [[key, list(value.shape)] for key, value in network.state_dict().items()] == [
        e[:2] for e in info["state_dict"]
    ]


@torch.no_grad()
def test_networks_give_the_published_numbers():
    nets = official()
    noise, targets, labels, windows, others = (given(name) for name in ("z", "y_trg", "y_org", "x", "x_ref"))
    style = nets.mapping_network(noise, targets)
    within("style_latent", style)
    within("style_all", nets.mapping_network.all_styles(noise[:1]))
    seen = nets.style_encoder(others)
    within("style_reference", seen)
    fake = nets.generator(windows, style)
    within("fake_latent", fake)
    within("fake_reference", nets.generator(windows, seen))
    within("score", nets.discriminator(windows, labels))
    within("score_fake", nets.discriminator(fake, targets))
    within("score_all", nets.discriminator.read(windows))
    within("fake_long", nets.generator(given("x_long"), style[4:5]))
    within("style_long", nets.style_encoder(given("x_long")))


def gradient_norms(loss: torch.Tensor, nets: NedNetworks) -> np.ndarray:
    """Of translator, mapping network, style encoder and discriminator; 0 where none arrives."""
    nets.zero_grad(set_to_none=True)
    loss.backward()
    norms = []
    for part in PARTS:
        gradients = [p.grad for p in nets.get_submodule(part).parameters() if p.grad is not None]
        norms.append(float(np.sqrt(sum(float(g.square().sum()) for g in gradients))))
    nets.zero_grad(set_to_none=True)
    return np.array(norms, np.float32)


@pytest.mark.parametrize(("way", "cue"), [("latent", "z"), ("ref", "x_ref")])
def test_training_losses_and_gradients_are_the_published_ones(way, cue):
    nets, windows = official(), given("x").requires_grad_()
    loss, parts = discriminator_step(nets, windows, given("y_org"), given("y_trg"), given(cue))
    within(f"loss_d_{way}", loss[None])
    within(f"parts_d_{way}", torch.stack([parts["real"], parts["fake"]]))
    within(f"gradnorm_d_{way}", gradient_norms(loss, nets))
    assert windows.grad is not None
    within(f"grad_x_d_{way}", windows.grad.norm()[None])
    loss, parts = translation_step(nets, given("x"), given("y_trg"), given(cue))
    within(f"loss_g_{way}", loss[None])
    within(f"parts_g_{way}", torch.stack([parts[name] for name in TRANSLATION_PARTS]))
    within(f"gradnorm_g_{way}", gradient_norms(loss, nets))


def test_losses_of_plain_numbers_are_the_published_ones():
    system = "losses_ned"
    names = ("x_real", "x_fake", "x_rec", "s_trg", "s_pred", "score_fake")
    loss, parts = translation_loss(*(given(name, system) for name in names))
    within("g_total", loss[None], system)
    within("g_parts", torch.stack([parts[name] for name in TRANSLATION_PARTS]), system)
    loss, parts = discriminator_loss(given("score_real", system), given("score_fake", system))
    within("d_total", loss[None], system)
    within("d_parts", torch.stack([parts["real"], parts["fake"]]), system)


def test_median_weights_and_blend_are_the_published_ones():
    system = "losses_ned"
    within("geometric_median", geometric_median(reference(system).input("styles")), system)
    within("gaussian", gaussian_weights(), system)
    nets = NedNetworks()
    nets.generator.load_state_dict(reference(system).state("generator"), strict=True)
    editor = NedEditor(nets)
    sequence, styles = reference(system).input("sequence"), reference(system).input("two_styles")
    within("overlap_add_one_style", editor.translate(sequence, styles[0], official_edges=True), system)
    switched = styles[
        [int(max(frame - 5, 0) // (37 / 2)) for frame in range(37)]
    ]  # a window starts 5 before its middle
    within("overlap_add_two_style", editor.translate(sequence, switched, official_edges=True), system)
    smooth = editor.translate(sequence, styles[0])
    within_middle = np.abs(smooth - editor.translate(sequence, styles[0], official_edges=True))[9:-9].max()
    assert within_middle == 0, "the edges are the only thing that differs"


# ------------------------------------------------------------------------------------------------------------ losses


def test_a_still_jaw_gives_finite_losses_and_gradients():
    windows = torch.zeros(4, 10, 51)
    windows[1:, :, 0] = torch.linspace(0, 0.2, 10)
    for a, b in ((windows, windows.flip(0)), (windows[:1], windows[:1])):
        a, b = a.clone().requires_grad_(), b.clone().requires_grad_()
        jaw_correlation(a, b).backward()
        assert a.grad is not None and b.grad is not None
        assert torch.isfinite(a.grad).all() and torch.isfinite(b.grad).all() and a.grad.abs().max() < 1000
    assert jaw_correlation(windows[:1], windows[1:2]) == 0


def test_jaw_correlation_knows_neither_size_nor_offset_nor_other_values():
    random = torch.Generator().manual_seed(0)
    windows = torch.randn(3, 10, 51, generator=random)
    others = torch.randn(3, 10, 51, generator=random)
    others[..., 0] = 0.3 * windows[..., 0] + 5
    assert jaw_correlation(windows, others).item() == pytest.approx(1, abs=1e-5)
    others[..., 0] *= -1
    assert jaw_correlation(windows, others).item() == pytest.approx(-1, abs=1e-5)


def test_every_parameter_receives_a_gradient():
    nets = NedNetworks()
    random = torch.Generator().manual_seed(0)
    windows, noise = torch.randn(7, 10, 51, generator=random), torch.randn(7, 4, generator=random)
    labels = torch.arange(7)
    translation_step(nets, windows, labels, noise)[0].backward()
    for part in ("generator", "mapping_network", "style_encoder"):
        for name, parameter in nets.get_submodule(part).named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, f"{part}.{name}"
    nets.zero_grad(set_to_none=True)
    discriminator_step(nets, windows, labels, labels.roll(1), noise)[0].backward()
    for name, parameter in nets.named_parameters():
        arrived = parameter.grad is not None and bool(parameter.grad.abs().max() > 0)
        assert arrived == name.startswith("discriminator."), name


def test_train_and_eval_mode_give_the_same():
    nets, windows = random_networks(), torch.randn(2, 10, 51, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        trained = nets.train().generator(windows, nets.style_encoder(windows))
        assert torch.equal(nets.eval().generator(windows, nets.style_encoder(windows)), trained)


# --------------------------------------------------------------------------------------------------- median and blend


def test_geometric_median_ignores_a_few_odd_ones():
    random = np.random.default_rng(0)
    points = np.concatenate([random.normal(1, 0.01, (20, 3)), np.full((5, 3), 100.0)])
    assert np.abs(geometric_median(points) - 1).max() < 0.05
    corners = np.array([[0.0, 0], [4, 0], [4, 2], [0, 2]])
    np.testing.assert_allclose(geometric_median(corners), [2, 1], atol=1e-4)  # where the diagonals meet
    np.testing.assert_allclose(geometric_median([[0.0], [0], [0], [10]]), [0], atol=1e-4)  # on a point itself
    np.testing.assert_array_equal(geometric_median([[-1.0], [-1], [0], [0], [0], [2]]), [0])  # the start is the median
    np.testing.assert_array_equal(geometric_median([[3.0, 4]]), [3, 4])
    assert np.isnan(geometric_median([[np.nan], [1]])).all()  # it ends


@pytest.mark.parametrize("official_edges", [False, True])
@pytest.mark.parametrize("n_frames", [10, 11, 15, 19, 40])
def test_blending_what_was_cut_returns_it_exactly(n_frames, official_edges):
    sequence = np.random.default_rng(n_frames).normal(size=(n_frames, 3)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(sequence, 10, axis=0).swapaxes(1, 2)
    blocks = [block for block in (windows[:4], windows[4:]) if len(block)]
    blended = blend(blocks, gaussian_weights(), sequence.shape, official_edges=official_edges)
    np.testing.assert_array_equal(blended, sequence)


def test_the_edges_have_no_step():
    windows = np.random.default_rng(0).normal(size=(31, 10, 1)).astype(np.float32)  # windows that disagree
    smooth, official_edges = (blend([windows], gaussian_weights(), (40, 1), official_edges=o) for o in (False, True))
    jump = [np.abs(np.diff(sequence[:, 0]))[:9].max() for sequence in (smooth, official_edges)]
    assert jump[0] < jump[1]


# ------------------------------------------------------------------------------------------------------------ motions


def test_labels_go_by_name_and_by_seed():
    editor = NedEditor(random_networks())
    assert editor.config.emotions[1] is Emotion.ANGER and len(editor.config.emotions) == 7
    style = editor.label_style("angry", seed=3)
    assert style.shape == (16,)
    np.testing.assert_array_equal(style, editor.label_style(Emotion.ANGER, seed=3))
    assert (style != editor.label_style(Emotion.ANGER, seed=4)).any()
    assert (style != editor.label_style(Emotion.SAD, seed=3)).any()
    with pytest.raises(InputError, match="does not know the emotion 'contempt'; known: neutral, anger, disgust"):
        editor.label_style(Emotion.CONTEMPT)


def test_label_mode_is_the_same_for_the_same_seed():
    motion = made_motion(30)
    first, second = (
        (editor := NedEditor(random_networks())).edit(motion, editor.label_style("happy", seed=1)) for _ in range(2)
    )
    np.testing.assert_array_equal(first.expression, second.expression)
    np.testing.assert_array_equal(first.jaw_pose, second.jaw_pose)
    other = editor_of().edit(motion, editor_of().label_style("happy", seed=2))
    assert (other.expression != first.expression).any()


def editor_of() -> NedEditor:
    return NedEditor(random_networks())


def test_only_jaw_opening_and_fifty_expressions_change():
    motion, editor = made_motion(25), editor_of()
    edited = editor.edit(motion, editor.label_style("fear"))
    assert len(edited) == len(motion) and edited.fps == motion.fps and edited.rig == "flame"
    assert (edited.expression[:, :50] != motion.expression[:, :50]).any(0).all()
    np.testing.assert_array_equal(edited.expression[:, 50:], motion.expression[:, 50:])
    assert (edited.jaw_pose[:, 0] != motion.jaw_pose[:, 0]).all()
    np.testing.assert_array_equal(edited.jaw_pose[:, 1:], motion.jaw_pose[:, 1:])
    for name in ("head_pose", "eye_pose", "translation"):
        np.testing.assert_array_equal(getattr(edited, name), getattr(motion, name))


def test_columns_are_found_by_name():
    motion, editor = made_motion(12), editor_of()
    order = np.random.default_rng(0).permutation(56)
    names = tuple(motion.expression_names[i] for i in order)
    shuffled = replace(motion, expression_names=names, expression=motion.expression[:, order])
    np.testing.assert_array_equal(editor.values(shuffled), editor.values(motion))
    style = editor.label_style("sad")
    np.testing.assert_array_equal(
        editor.edit(shuffled, style).expression, editor.edit(motion, style).expression[:, order]
    )


def test_intensity_goes_from_the_source_to_the_translation():
    motion, editor = made_motion(24), editor_of()
    style = editor.label_style("happy")
    none, half, full = (editor.edit(motion, style, intensity=amount) for amount in (0, 0.5, 1))
    np.testing.assert_array_equal(none.expression, motion.expression)
    np.testing.assert_array_equal(none.jaw_pose, motion.jaw_pose)
    np.testing.assert_allclose(half.expression, (motion.expression + full.expression) / 2, atol=1e-5)
    curve = editor.edit(motion, style, intensity=np.repeat([0, 1], 12))
    np.testing.assert_array_equal(curve.expression[:12], motion.expression[:12])
    np.testing.assert_allclose(curve.expression[12:], full.expression[12:], atol=1e-5)
    for wrong in (-0.1, 1.5, np.nan):
        with pytest.raises(InputError, match="allowed: 0 to 1"):
            editor.edit(motion, style, intensity=wrong)


def test_style_may_change_over_the_frames():
    motion, editor = made_motion(60), editor_of()
    happy, sad = (editor.edit(motion, editor.label_style(label)).expression for label in ("happy", "sad"))
    changing = np.repeat([editor.label_style("happy"), editor.label_style("sad")], 30, axis=0)
    edited = editor.edit(motion, changing).expression
    np.testing.assert_array_equal(edited[:20], happy[:20])
    np.testing.assert_array_equal(edited[40:], sad[40:])
    with pytest.raises(ValueError, match=r"style: expected \(16,\) or \(60, 16\), got \(4,\)"):
        editor.edit(motion, np.zeros(4))


def test_reference_style_is_the_median_over_its_windows():
    editor, clip, odd = editor_of(), made_motion(100, seed=1), made_motion(20, seed=2)
    style = editor.reference_style(clip)
    with torch.inference_mode():
        values = editor.values(clip)
        styles = [
            editor.networks.style_encoder(torch.from_numpy(values[i : i + 10][None]))[0].numpy() for i in range(91)
        ]
    np.testing.assert_allclose(style, geometric_median(styles), atol=2e-5)
    assert np.linalg.norm(editor.reference_style(clip.concat(odd)) - style) < np.linalg.norm(
        editor.reference_style(odd) - style
    )


@pytest.mark.parametrize("n", [1, 2, 9, 10, 11, 19, 90])
def test_every_frame_of_any_length_is_translated(n):
    motion, editor = made_motion(n), editor_of()
    style = editor.reference_style(motion)
    edited = editor.edit(motion, style)
    assert len(edited) == n and (edited.jaw_pose[:, 0] != motion.jaw_pose[:, 0]).all()


def test_long_clips_in_blocks_give_what_one_piece_gives(monkeypatch):
    motion, editor = made_motion(50), editor_of()
    style = editor.label_style("surprised")
    whole = editor.edit(motion, style)
    monkeypatch.setattr("mien.motion.ned._BLOCK", 7)
    np.testing.assert_allclose(editor.edit(motion, style).expression, whole.expression, atol=1e-5)


def test_rigs_that_open_the_jaw_by_an_expression():
    config = NedConfig(
        rig="builtin", expression_names=tuple(n for n in ARKIT_NAMES if n != "jawOpen"), jaw_expression="jawOpen"
    )
    motion = FaceMotion.zeros(15, 25).with_columns({"jawOpen": 0.2, "mouthSmileLeft": 0.4})
    editor = NedEditor(NedNetworks(config))
    assert editor.values(motion).shape == (15, 52) and (editor.values(motion)[:, 0] == np.float32(0.2)).all()
    edited = editor.edit(motion, np.zeros(16))
    assert (edited.column("jawOpen") != np.float32(0.2)).all() and not edited.jaw_pose.any()


def test_other_motions_are_refused():
    editor = editor_of()
    with pytest.raises(InputError, match=r"rig 'builtin' and lacks expression_00.*for 'flame'; retarget it first"):
        editor.edit(FaceMotion.zeros(20, 25), np.zeros(16))
    with pytest.raises(InputError, match="lacks expression_49"):
        editor.values(FaceMotion.zeros(20, 25, "flame", [f"expression_{i:02d}" for i in range(49)]))
    for act in (editor.reference_style, lambda motion: editor.edit(motion, np.zeros(16))):
        with pytest.raises(InputError, match="has no frames"):
            act(made_motion(0))


# ------------------------------------------------------------------------------------------------------------ loading


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_checkpoints_load_strictly(tmp_path, ending):
    networks = random_networks()
    path = tmp_path / f"02_nets_finetuned.{ending}"
    if ending == "pth":
        torch.save({name: network.state_dict() for name, network in networks.named_children()}, path)
    else:
        save_file(networks.state_dict(), path)
    loaded = load_ned(path)
    assert not loaded.training and loaded.state_dict().keys() == networks.state_dict().keys()
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in networks.state_dict().items())


class Malice:
    def __reduce__(self):
        return print, ("this must not run",)


def test_wrong_checkpoints_are_refused_in_one_line(tmp_path, capsys):
    nets = {name: network.state_dict() for name, network in random_networks().named_children()}
    bent = {**nets["mapping_network"], "shared.0.weight": torch.zeros(64, 16)}
    cases = [
        ({key: value for key, value in nets.items() if key != "style_encoder"}, "no state dict named style_encoder"),
        ({**nets, "style_encoder": nets["generator"]}, "NED style_encoder"),
        ({**nets, "mapping_network": bent}, "another shape of shared.0.weight"),
        (nets["generator"], "no state dict named generator"),
        ({"generator": Malice()}, "Python objects"),
    ]
    for number, (content, message) in enumerate(cases):
        path = tmp_path / f"{number}.pth"
        torch.save(content, path)
        with pytest.raises(FormatError, match=message) as found:
            load_ned(path)
        assert "\n" not in str(found.value) and str(path) in str(found.value)
    save_file(nets["generator"], tmp_path / "flat.safetensors")
    with pytest.raises(FormatError, match=r"NED generator checkpoint, it lacks LSTM"):
        load_ned(tmp_path / "flat.safetensors")
    with pytest.raises(InputError, match="no such file"):
        load_ned(tmp_path / "none.pth")
    assert "must not run" not in capsys.readouterr().out
