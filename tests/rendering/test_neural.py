"""head2head and NED's renderer: the published numbers, whose statistics count, losses, every frame, loading."""

from dataclasses import replace
from functools import cache
from itertools import islice

import numpy as np
import pytest
import torch
from reference import Reference
from safetensors.torch import save_file

from mien.errors import FormatError, InputError
from mien.rendering.neural import (
    FRAME_DISCRIMINATOR,
    HEAD2HEAD,
    NED,
    NED_DISCRIMINATOR,
    TEMPORAL_DISCRIMINATOR,
    TEMPORAL_STEPS,
    Discriminator,
    DiscriminatorConfig,
    Generator,
    NeuralConfig,
    NeuralRenderer,
    cut,
    discriminator_loss,
    feature_matching,
    flow_loss,
    generator_loss,
    load_discriminator,
    load_generator,
    masked_l1,
    temporal_groups,
    temporal_pictures,
    warp,
    window_around,
)

SMALL = NeuralConfig(width=4)
SMALL_NED = replace(NED, width=4)
DISCRIMINATORS = {
    ("head2head", "D"): FRAME_DISCRIMINATOR,
    ("head2head", "Dm"): FRAME_DISCRIMINATOR,
    ("head2head", "D_T0"): TEMPORAL_DISCRIMINATOR,
    ("ned_renderer", "D"): NED_DISCRIMINATOR,
    ("ned_renderer", "Dm"): NED_DISCRIMINATOR,
}


@cache
def reference(name: str) -> Reference:
    return Reference(name)


def tensor(value: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(value))


def fill(network: torch.nn.Module, prefix: str = "") -> None:
    """Official values; of a layer with two names only the one that counts is made, for these are 70 million numbers."""
    rule = reference("head2head").fill
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if "resnetblock_sequential" not in key:
                value.copy_(torch.from_numpy(rule.fill_array(key, value.shape, prefix=prefix)))


@cache
def official_generator() -> Generator:
    """head2head's own, filled once; NED's differs in one layer only, keys decide values."""
    network = Generator(HEAD2HEAD)
    fill(network)
    return network


def within(name: str, output: str, value: torch.Tensor, factor: float = 1.0) -> None:
    """The published output, within the tolerance that goes with it."""
    ref = reference(name)
    found = ref.fill.compare(output, value.detach().numpy(), ref.arrays, ref.info, factor)
    assert found["ok"], found


def keys_of(name: str, network: str) -> list[list]:
    return [[key, shape] for key, shape, _ in reference(name).info["networks"][network]["state_dict"]]


def alike(a: torch.Tensor, b: torch.Tensor) -> None:
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), atol=1e-5, rtol=1e-5)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


# ------------------------------------------------------------------------------------------------- published numbers


def test_head2head_generator_gives_the_published_numbers():
    ref = reference("head2head")
    network = official_generator().train()
    assert [[key, list(value.shape)] for key, value in network.state_dict().items()] == keys_of("head2head", "G")
    assert sum(p.numel() for p in network.parameters()) == ref.info["networks"]["G"]["parameters"] == 70_806_531
    buffers = {key: value.clone() for key, value in network.named_buffers()}
    with torch.no_grad():
        within("head2head", "G_down_seg", network.model_down_seg(tensor(ref.input("cond"))))
        for size in ("", "_small"):
            picture = network(tensor(ref.input(f"cond{size}")), tensor(ref.input(f"prev{size}")))
            within("head2head", f"G_frame{size}", picture)
    within("head2head", "G_running_mean_after", network.model_down_seg[2].running_mean)
    within("head2head", "G_running_var_after", network.model_down_seg[2].running_var)
    network.load_state_dict(buffers, strict=False)


def test_ned_generator_gives_the_published_numbers():
    ref, shared = reference("ned_renderer"), official_generator()
    network = Generator(replace(NED, width=1))  # its layers are replaced below: 70 million numbers are made only once
    for name in ("model_down_seg", "model_down_img", "model_res_img", "model_up_img", "model_final_img"):
        setattr(network, name, getattr(shared, name))
    first = torch.nn.Conv2d(27, 64, 7)
    network.model_down_seg = torch.nn.Sequential(shared.model_down_seg[0], first, *shared.model_down_seg[2:])
    for key, value in first.state_dict().items():
        value.copy_(torch.from_numpy(ref.fill.fill_array(f"model_down_seg.1.{key}", value.shape)))
    assert [[key, list(value.shape)] for key, value in network.state_dict().items()] == keys_of("ned_renderer", "G")
    assert sum(p.numel() for p in network.parameters()) == ref.info["networks"]["G"]["parameters"] == 70_834_755
    network.eval()
    with torch.no_grad():
        for size in ("", "_small"):
            picture = network(tensor(ref.input(f"cond{size}")), tensor(ref.input(f"prev{size}")))
            within("ned_renderer", f"G_frame{size}", picture)
            outside = tensor(ref.input(f"cond{size}"))[:, -1:].expand_as(picture) == 0
            assert outside.any() and (picture[outside] == -1).all()


@pytest.mark.parametrize(("name", "key"), DISCRIMINATORS)
def test_discriminators_give_the_published_numbers(name, key):
    ref = reference(name)
    network = Discriminator(DISCRIMINATORS[name, key])
    assert sum(p.numel() for p in network.parameters()) == ref.info["networks"][key]["parameters"]
    network.load_state_dict(ref.state(key), strict=True)
    assert len(network.state_dict()) == 38
    entry = {"D": "d_in", "Dm": "dm_in", "D_T0": "dt_in"}[key]
    with torch.no_grad():
        said = network(tensor(ref.input(entry)))
    outputs = [output for output in ref.info["outputs"] if output.startswith(f"{key}_scale")]
    assert outputs
    for output in outputs:
        scale, layer = (int(part[5:]) for part in output.removeprefix(f"{key}_").split("_"))
        within(name, output, said[scale][layer])


def test_stored_statistics_give_what_eval_would_have_done():
    ref = reference("head2head_eval")
    network = official_generator().eval()
    norms = [module for module in network.modules() if hasattr(module, "stored")]
    for norm in norms:
        norm.stored = True
    network.eval()
    with torch.no_grad():
        within(
            "head2head_eval", "G_frame_small", network(tensor(ref.input("cond_small")), tensor(ref.input("prev_small")))
        )
    for norm in norms:
        norm.stored = False
    network.eval()
    mouth = Discriminator(replace(FRAME_DISCRIMINATOR, stored_statistics=True)).eval()
    mouth.load_state_dict(ref.state("Dm"), strict=True)
    with torch.no_grad():
        said = mouth(tensor(ref.input("dm_in")))
    for output in ref.info["outputs"]:
        if output.startswith("Dm"):
            scale, layer = (int(part[5:]) for part in output.removeprefix("Dm_").split("_"))
            within("head2head_eval", output, said[scale][layer])


def test_losses_are_the_published_ones():
    ref = reference("losses_head2head")
    real, fake = (
        [[tensor(ref.input(f"feat_{kind}_{s}_{n}")) for n in range(5)] for s in range(2)] for kind in ("real", "fake")
    )
    within("losses_head2head", "gan_ls", torch.stack([*discriminator_loss(real, fake), generator_loss(fake)]))
    hinge = torch.stack([*discriminator_loss(real, fake, "hinge"), generator_loss(fake, "hinge")])
    within("losses_head2head", "gan_hinge", hinge)
    within("losses_head2head", "feature_matching", 10 * feature_matching(real, fake)[None])
    pictures = [tensor(ref.input(name)) for name in ("B_fake", "B_real", "mask")]
    within("losses_head2head", "masked_l1", masked_l1(*pictures)[None])


def test_losses_through_a_discriminator_have_the_published_gradients():
    ref = reference("losses_head2head")
    network = Discriminator()
    network.load_state_dict(ref.state("D"), strict=True)
    condition, real, fake = (tensor(ref.input(name)) for name in ("A", "B_real", "B_fake"))
    fake.requires_grad_()
    judged_real, judged_fake = (network(torch.cat([condition, picture], 1)) for picture in (real, fake))
    d_real, d_fake = discriminator_loss(judged_real, judged_fake)
    g, matching = generator_loss(judged_fake), 10 * feature_matching(judged_real, judged_fake)
    within("losses_head2head", "D_losses", torch.stack([d_real, d_fake, g, matching]))
    (gradient,) = torch.autograd.grad(g + matching, fake, retain_graph=True)
    within("losses_head2head", "D_losses_grad_fake", gradient)
    gradients = torch.autograd.grad(0.5 * (d_real + d_fake), list(network.parameters()))
    norm = torch.sqrt(sum((gradient.square().sum() for gradient in gradients), torch.zeros(())))
    within("losses_head2head", "D_step_gradnorm", norm[None])


def test_windows_and_groups_are_the_published_ones():
    ref = reference("losses_head2head")
    windows = [[*window_around(center[None]), 72, 72] for center in ref.input("centers")]
    np.testing.assert_array_equal(windows, ref.arrays["out/roi"])
    for chunk, scale, count, *frames in ref.arrays["out/temporal_indices"].astype(int):
        groups = temporal_groups(4 * (chunk + 1), 4, TEMPORAL_STEPS[scale])
        assert [frame for group in groups for frame in group] == list(frames[:count])


# -------------------------------------------------------------------------------------------------------- statistics


def test_eval_keeps_the_statistics_of_the_picture():
    network = Generator(SMALL)
    condition, previous = random(2, 18, 32, 32), random(2, 6, 32, 32, seed=1) * 2 - 1
    for _ in range(3):  # the stored ones move away from their start
        trained = network.train()(condition, previous)
    stored = network.model_down_seg[2].running_mean.clone()
    alike(network.eval()(condition, previous), trained)
    alone = torch.cat([network(condition[i : i + 1], previous[i : i + 1]) for i in range(2)])
    alike(alone, trained)  # nor does the rest of a batch matter
    assert torch.equal(network.model_down_seg[2].running_mean, stored), "eval() changed the stored statistics"
    other = Generator(replace(SMALL, stored_statistics=True)).eval()
    other.load_state_dict(network.state_dict())
    assert (other(condition, previous) - trained).abs().max() > 1e-3


def test_nothing_before_is_zeros_without_rounding_noise():
    network = Generator(SMALL).double()
    for name, parameter in network.model_down_img.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.zeros_(parameter)  # now a constant picture gives no rounding errors either
    condition = random(1, 18, 32, 32).double()
    alike(network(condition, torch.zeros(1, 6, 32, 32).double()), network(condition, None))
    assert (
        network(condition, torch.eye(32).expand(1, 6, 32, 32).double()) - network(condition, None)
    ).abs().max() > 1e-4


def test_wrong_conditions_are_refused():
    with pytest.raises(ValueError, match=r"expected \(N, 18, H, W\).*multiples of 8, got \(1, 18, 30, 32\)"):
        Generator(SMALL)(torch.zeros(1, 18, 30, 32), None)
    with pytest.raises(ValueError, match=r"expected \(N, 30, H, W\)"):
        Generator(SMALL_NED)(torch.zeros(1, 27, 32, 32), None)


# ---------------------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize(("config", "judge"), [(SMALL, 9), (SMALL_NED, 13)])
def test_every_parameter_receives_a_gradient(config, judge):
    network = Generator(config)
    judge_config = (
        DiscriminatorConfig(n_planes=12, mask_plane=9, width=4) if judge == 13 else DiscriminatorConfig(width=4)
    )
    discriminator = Discriminator(judge_config)
    condition = random(1, 3 * config.planes, 32, 32)
    picture = network(condition, random(1, 6, 32, 32, seed=1))
    judged = discriminator(torch.cat([condition[:, -config.planes :], picture], 1))
    assert judged[0][0].shape[1] == 4
    generator_loss(judged).backward()
    for part in (network, discriminator):
        for name, parameter in part.named_parameters():
            assert parameter.grad is not None, name
            # a bias before instance norm has no effect: what arrives there is rounding noise
            assert name.endswith("bias") or parameter.grad.abs().max() > 0, name


def test_feature_matching_does_not_train_the_discriminator_to_move_the_real_ones():
    features = [[torch.ones(1, 2, 3, 3, requires_grad=True), torch.ones(1, 1, 3, 3)] for _ in range(2)]
    fake = [[torch.zeros(1, 2, 3, 3, requires_grad=True), torch.zeros(1, 1, 3, 3)] for _ in range(2)]
    feature_matching(features, fake).backward()
    assert features[0][0].grad is None and fake[0][0].grad is not None


def test_a_small_generator_learns_a_clip():
    torch.manual_seed(0)
    network = Generator(replace(SMALL, width=8, n_blocks=2))
    condition, previous = (
        torch.nn.functional.interpolate(random(2, planes, 4, 4, seed=planes), (32, 32), mode="bilinear")
        for planes in (18, 6)
    )
    target = condition[:, 12:15] * 1.6 - 0.8
    errors = []
    for _ in range(40):
        loss = (network(condition, previous) - target).abs().mean()
        network.zero_grad()
        loss.backward()
        errors.append(loss.item())
        with torch.no_grad():
            for parameter in network.parameters():  # Adam's first step, without the second torch needs to import it
                parameter -= 2e-3 * parameter.grad.sign()
    assert errors[-1] < 0.6 * errors[0]


# --------------------------------------------------------------------------------------------------- flow and windows


def test_warp_fetches_from_where_the_flow_points():
    picture = random(1, 3, 20, 24)
    moved = torch.roll(picture, (2, -3), (2, 3))  # down 2, left 3
    flow = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 20, 24)
    alike(warp(picture, flow)[:, :, 2:, :-3], moved[:, :, 2:, :-3])


def test_flow_loss_is_zero_for_a_still_clip_and_ignores_what_it_cannot_trust():
    still, noise = random(1, 3, 16, 16), random(1, 3, 16, 16, seed=1)
    flow = torch.zeros(1, 2, 16, 16)
    assert flow_loss(still, still, noise, noise, flow) < 1e-6
    assert flow_loss(still, noise, still, still, flow) > 0.1
    assert flow_loss(still, noise, still, 1 - still.round(), flow) < 0.05  # the real frames do not match anywhere


def test_temporal_pictures_are_frames_then_flows():
    planes = temporal_pictures(torch.ones(1, 3, 3, 8, 8), torch.full((1, 2, 2, 8, 8), 40.0))
    assert planes.shape == (1, 13, 8, 8) and (planes[:, :9] == 1).all() and (planes[:, 9:] == 2).all()


def test_a_window_is_cut_around_the_mouth():
    corner = window_around(np.array([[100.0, 200], [120, 210], [140, 220]], np.float32))
    assert corner == (84, 174)
    picture = torch.zeros(1, 1, 256, 256)
    picture[0, 0, 210, 120] = 1
    window = cut(picture, [corner])
    assert window.shape == (1, 1, 72, 72) and window[0, 0, 36, 36] == 1


# ---------------------------------------------------------------------------------------------------------- rendering


def test_a_clip_is_drawn_with_what_came_before_the_oldest_first():
    network = Generator(SMALL).eval()
    conditions = [random(16, 16, 6, seed=seed) for seed in range(3)]
    frames = list(NeuralRenderer(network).render([condition.numpy() for condition in conditions]))
    c0, c1, c2 = (condition.permute(2, 0, 1)[None] for condition in conditions)
    with torch.no_grad():
        first = network(torch.cat([c0, c0, c0], 1), None)
        second = network(torch.cat([c0, c0, c1], 1), torch.cat([torch.zeros_like(first), first], 1))
        third = network(torch.cat([c0, c1, c2], 1), torch.cat([first, second], 1))
    for frame, picture in zip(frames, (first, second, third), strict=True):
        np.testing.assert_allclose(frame, (picture[0].permute(1, 2, 0).numpy() + 1) * 127.5, atol=0.51)


@pytest.mark.parametrize("config", [SMALL, SMALL_NED])
def test_every_frame_is_drawn_and_a_short_clip_is_the_start_of_a_long_one(config):
    torch.manual_seed(1)
    renderer = NeuralRenderer(Generator(config))
    conditions = [random(32, 40, config.planes, seed=seed).round(decimals=2).numpy() for seed in range(6)]
    frames = list(renderer.render(conditions))
    assert len(frames) == 6 and all(f.shape == (32, 40, 3) and f.dtype == np.uint8 for f in frames)
    streamed = list(islice(renderer.render(iter(conditions)), 3))
    np.testing.assert_array_equal(frames[:3], streamed)
    other = list(renderer.render([1 - conditions[0], *conditions[1:]]))
    assert (other[3] != frames[3]).any(), "what was drawn before has no influence"


def test_drawing_leaves_the_mode_of_the_caller_alone():
    for _ in NeuralRenderer(Generator(SMALL)).render([np.zeros((16, 16, 6), np.float32)] * 2):
        assert not torch.is_inference_mode_enabled()


def test_nothing_is_drawn_outside_the_mask_of_the_current_frame():
    renderer = NeuralRenderer(Generator(SMALL_NED))
    conditions = [random(32, 32, 10, seed=seed).numpy() for seed in range(3)]
    for i, condition in enumerate(conditions):
        condition[..., 9] = 0
        condition[8 * i : 8 * i + 8, :, 9] = 1
    for i, frame in enumerate(renderer.render(conditions)):
        rows = np.flatnonzero(frame.any((1, 2)))
        assert rows.min() >= 8 * i and rows.max() < 8 * i + 8 and len(rows)


def test_a_condition_of_another_kind_is_refused():
    with pytest.raises(ValueError, match=r"expected \(H, W, 6\), got \(16, 16, 10\)"):
        next(NeuralRenderer(Generator(SMALL)).render([np.zeros((16, 16, 10), np.float32)]))


# ------------------------------------------------------------------------------------------------------------ loading


@pytest.fixture
def narrow(monkeypatch):
    """The loaders' networks with few channels, so that files are small; layout and keys are the published ones."""
    from mien.rendering import neural

    monkeypatch.setattr(neural, "_GENERATORS", {n: replace(c, width=4) for n, c in neural._GENERATORS.items()})
    monkeypatch.setattr(neural, "_DISCRIMINATORS", {n: replace(c, width=4) for n, c in neural._DISCRIMINATORS.items()})


@pytest.mark.parametrize("config", [SMALL, SMALL_NED])
@pytest.mark.parametrize("kind", ["pth", "one name", "other name", "safetensors"])
def test_generators_load_strictly(tmp_path, narrow, config, kind):
    torch.manual_seed(2)
    network = Generator(config)
    state = network.state_dict()
    assert len(state) == 337
    path = tmp_path / ("latest_net_G.safetensors" if kind == "safetensors" else "latest_net_G.pth")
    if kind != "pth":
        left_out = "resnetblock_sequential" if kind == "one name" else "conv_block"
        state = {key: value for key, value in state.items() if left_out not in key}
    save_file(state, path) if kind == "safetensors" else torch.save(state, path)
    loaded = load_generator(path)
    assert loaded.config == config and not loaded.training
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in network.state_dict().items())
    assert load_generator(path, stored_statistics=True).config.stored_statistics


@pytest.mark.parametrize("n_planes", [9, 12, 13])
def test_discriminators_load_strictly(tmp_path, narrow, n_planes):
    state = Discriminator(DiscriminatorConfig(n_planes=n_planes, width=4)).state_dict()
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "latest_net_D.pth")
    loaded = load_discriminator(tmp_path / "latest_net_D.pth")
    assert loaded.config.n_planes == n_planes and loaded.config.mask_plane == (9 if n_planes == 12 else None)
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in state.items())


class Malice:
    def __reduce__(self):
        return print, ("this must not run",)


def test_wrong_checkpoints_are_refused_in_one_line(tmp_path, narrow, capsys):
    generator, discriminator = Generator(SMALL).state_dict(), Discriminator(DiscriminatorConfig(width=4)).state_dict()
    lacking = {key: value for key, value in generator.items() if "model_res_img.2." not in key}
    wide = {**generator, "model_down_seg.1.weight": torch.zeros(4, 21, 7, 7)}
    bent = {**generator, "model_final_img.1.bias": torch.zeros(4)}
    cases = [
        (load_generator, discriminator, "lacks model_down_seg.1.weight"),
        (load_generator, lacking, "lacks model_res_img.2"),
        (load_generator, wide, "first layer takes 21 planes; known: 18, 27"),
        (load_generator, bent, "another shape of model_final_img.1.bias"),
        (load_generator, {**generator, "extra": torch.zeros(1)}, "unknown extra"),
        (load_generator, {"net": Malice()}, "Python objects"),
        (load_discriminator, generator, "lacks scale0_layer0.0.weight"),
        (load_discriminator, [1, 2], "no state dict"),
    ]
    for number, (load, content, message) in enumerate(cases):
        path = tmp_path / f"{number}.pth"
        torch.save(content, path)
        with pytest.raises(FormatError, match=message) as found:
            load(path)
        assert "\n" not in str(found.value) and str(path) in str(found.value)
    (tmp_path / "torn.pth").write_bytes((tmp_path / "1.pth").read_bytes()[:999])
    with pytest.raises(FormatError, match=r"torn\.pth"):
        load_generator(tmp_path / "torn.pth")
    with pytest.raises(InputError, match="no such file"):
        load_generator(tmp_path / "none.pth")
    assert "must not run" not in capsys.readouterr().out
