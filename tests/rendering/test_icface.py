"""ICface: the published numbers, modes, controls by name, losses, the renderer, loading."""

from functools import cache, partial

import numpy as np
import pytest
import torch
from reference import DATA, Reference
from torch import nn

from mien.errors import FormatError, InputError
from mien.rendering.icface import (
    ANIMATOR_FILE,
    ENCODER_FILE,
    NEUTRALISER_FILE,
    UNITS,
    Discriminator,
    Icface,
    IcfaceConfig,
    IcfaceRenderer,
    ImageEncoder,
    Judgement,
    ResnetGenerator,
    animator_loss,
    controls_from,
    discriminator_loss,
    load_icface,
    neutral_controls,
    neutraliser_loss,
    rotations_from_head_pose,
)
from mien.rendering.vgg import Vgg19
from mien.types import ActionUnits

SMALL = IcfaceConfig(channels=2, n_blocks=1, size=32, discriminator_channels=2, n_identities=5)
NETWORKS = {"netG": ResnetGenerator, "netGN": ResnetGenerator, "netDA": Discriminator, "I_E": ImageEncoder}


def filled(network: nn.Module, reference: Reference, name: str) -> nn.Module:
    """A network made on the meta device with the weights of the reference, in eval mode like the official program."""
    entry = reference.info["networks"][name]
    assert sum(p.numel() for p in network.parameters()) == entry["parameters"]
    assert len(network.state_dict()) == entry["state_entries"]
    fill = partial(reference.fill.fill_array, prefix=entry["fill_prefix"])
    state = {key: torch.from_numpy(fill(key, shape)) for key, shape, _ in entry["state_dict"]}
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval()


@cache
def official(name: str) -> nn.Module:
    with torch.device("meta"):
        network = NETWORKS[name]()
    return filled(network, Reference("icface"), name)


@pytest.fixture(autouse=True, scope="module")
def forget_the_weights():
    yield
    official.cache_clear()


def together(encoder: bool) -> Icface:
    network = Icface(SMALL, official("I_E") if encoder else None)
    network.animator, network.neutraliser = official("netG"), official("netGN")
    return network.eval()


def tensors(reference: Reference) -> dict[str, torch.Tensor]:
    return {key[3:]: torch.from_numpy(value) for key, value in reference.arrays.items() if key.startswith("in/")}


def close(reference: Reference, name: str, value: torch.Tensor) -> None:
    assert reference.relative_error(name, value.detach().numpy()) < 1e-5, name


def small(encoder: bool = False) -> Icface:
    """A narrow network whose norms have seen pictures, so that its two modes differ but not wildly."""
    torch.manual_seed(0)
    network = Icface(SMALL, ImageEncoder() if encoder else None)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.005, 0.02)
    return network.eval()


def units(n_frames: int, **values: float) -> ActionUnits:
    columns = [np.full(n_frames, values.get(name, 0), np.float32) for name in UNITS]
    return ActionUnits(np.stack(columns, 1), UNITS, 25)


# ------------------------------------------------------------------------------------------------ published numbers


def at_rest_as_published(attributes: torch.Tensor) -> torch.Tensor:
    rest = attributes / 100_000
    rest[:, :3] = 0.5
    return rest


def test_generators_give_the_official_numbers():
    reference, network = Reference("icface"), together(encoder=False)
    given = tensors(reference)
    both = torch.cat([given["A"], given["A2"]])
    with torch.inference_mode():
        rest = at_rest_as_published(given["attributes"])
        neutral = network.neutralise(both, rest.expand(2, -1))
        moved = network.animate(neutral, given["attributes"].expand(2, -1))
    for i, suffix in enumerate(("", "2")):
        close(reference, f"neutral{suffix}", neutral[i : i + 1])
        close(reference, f"frame{suffix}", moved[i : i + 1])


def test_older_release_gives_the_official_numbers():
    reference, network = Reference("icface"), together(encoder=True)
    given = tensors(reference)
    with torch.inference_mode():
        close(reference, "old_encoder", network.encoder(given["A"]))
        neutral = network.neutralise(given["A"], at_rest_as_published(given["attributes"]))
        close(reference, "old_neutral", neutral)
        close(reference, "old_frame", network.animate(neutral, given["attributes"]))


def test_discriminator_gives_the_official_numbers():
    reference, network = Reference("icface"), official("netDA")
    given = tensors(reference)
    for suffix in ("", "2"):
        with torch.inference_mode():
            said = network(given[f"A{suffix}"])
        close(reference, f"D_src{suffix}", said.realness)
        close(reference, f"D_attributes{suffix}", said.controls)
        close(reference, f"D_identity{suffix}", said.identity.softmax(1))


@cache
def narrow() -> tuple[Reference, Discriminator, Icface, Vgg19]:
    reference = Reference("losses_icface")
    config = IcfaceConfig(channels=8, discriminator_channels=16)
    with torch.device("meta"):
        discriminator, animator, encoder, vgg = Discriminator(config), ResnetGenerator(config), ImageEncoder(), Vgg19()
    network = Icface(SMALL, filled(encoder, reference, "I_E"))
    network.animator = filled(animator, reference, "netG")
    return reference, filled(discriminator, reference, "netDA"), network.eval(), filled(vgg, reference, "vgg")


def check(reference: Reference, name: str, values: list[torch.Tensor]) -> None:
    expected = reference.arrays[f"out/{name}"]
    np.testing.assert_allclose(torch.stack(values).detach(), expected, rtol=1e-5)  # each term by its own size


def test_exact_zeros_make_the_same_neutral_picture_as_a_hundred_thousandth():
    network = small()
    images, attributes = torch.rand(2, 3, 32, 32) * 2 - 1, torch.rand(2, 20)
    with torch.inference_mode():
        published = network.neutralise(images, at_rest_as_published(attributes))
        assert (network.neutral(images) - published).abs().max() < 1e-4


def test_loss_of_the_discriminator_is_official():
    reference, discriminator, *_ = narrow()
    given = tensors(reference)
    loss, terms = discriminator_loss(
        discriminator, given["real_A"], given["param_A"], given["identity"], given["fake_B_recon"], given["fake_B"],
        as_published=True,
    )  # fmt: skip
    real = terms["real"] + terms["identity"] + terms["controls"]
    check(reference, "D", [real, *(terms[n] for n in ("identity", "controls", "slope", "reenacted", "neutral"))])
    gradients = torch.autograd.grad(loss, list(discriminator.parameters()))
    check(reference, "D_gradnorm", [torch.stack([g.norm() for g in gradients]).norm()])


def test_loss_of_the_animator_and_its_gradient_are_official():
    reference, discriminator, *_ = narrow()
    given = tensors(reference)
    reenacted = given["fake_B_recon"].requires_grad_()
    loss, terms = animator_loss(
        discriminator(reenacted), reenacted, given["real_B"], given["param_B"], given["identity"], as_published=True
    )
    check(reference, "G", [loss, *(terms[n] for n in ("real", "picture", "controls", "identity"))])
    close(reference, "G_grad_recon", torch.autograd.grad(loss, reenacted)[0])


def test_loss_of_the_neutraliser_and_its_gradient_are_official():
    reference, discriminator, network, vgg = narrow()
    given = tensors(reference)
    neutral = given["fake_B"].requires_grad_()
    loss, terms = neutraliser_loss(
        discriminator(neutral), neutral, given["real_B"], given["param_B"], given["identity"], network.animate, vgg,
        as_published=True,
    )  # fmt: skip
    order = ("real", "controls", "picture", "driven", "identity", "perceptual")
    check(reference, "GN", [loss, *(terms[n] for n in order)])
    close(reference, "GN_grad_neutral", torch.autograd.grad(loss, neutral)[0])


# ----------------------------------------------------------------------------------------------------------- learning


def test_quirks_are_mended_unless_asked_for():
    sure = Judgement(torch.ones(2, 1, 7, 7), neutral_controls().expand(2, -1), 50 * torch.eye(5)[:2])
    pictures, who = torch.zeros(2, 3, 8, 8), torch.arange(2)
    for as_published in (False, True):
        loss, terms = neutraliser_loss(
            sure, pictures, pictures, neutral_controls().expand(2, -1), who, lambda images, _: images, None,
            as_published=as_published,
        )  # fmt: skip
        assert (terms["identity"].item() > 5) == as_published, "certainty costs nothing only without the quirk"
        assert (terms["controls"].item() > 0) == as_published, "looking ahead costs nothing only without the quirk"
        assert "perceptual" not in terms
    assert loss.item() > 5


def test_every_parameter_learns():
    torch.manual_seed(0)
    network, discriminator = small(encoder=True).train(), Discriminator(SMALL)
    images, driving = torch.rand(2, 2, 3, 32, 32) * 2 - 1
    controls, who = torch.rand(2, 20), torch.arange(2)
    neutral = network.neutral(images)
    reenacted = network.animate(neutral, controls)
    first, _ = animator_loss(discriminator(reenacted), reenacted, driving, controls, who)
    second, _ = neutraliser_loss(discriminator(neutral), neutral, driving, controls, who, network.animate, None)
    (first + second).backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    discriminator.zero_grad()
    loss, _ = discriminator_loss(discriminator, images, controls, who, reenacted, neutral)
    loss.backward()
    assert not [name for name, p in discriminator.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert all(torch.isfinite(p.grad).all() for m in (network, discriminator) for p in m.parameters())


# ----------------------------------------------------------------------------------------------------------- controls


@pytest.mark.parametrize(
    ("head_pose", "rotations"),
    [
        ((0.2, 0, 0), (0.2, 0, 0)),  # nods down
        ((0, 0.2, 0), (0, -0.2, 0)),  # turns to the viewer's right
        ((0, 0, 0.2), (0, 0, -0.2)),  # tilts counter-clockwise
    ],
)
def test_rotations_have_openfaces_sense(head_pose, rotations):
    np.testing.assert_allclose(rotations_from_head_pose(np.array([head_pose], np.float32))[0], rotations, atol=1e-6)


def test_rotations_multiply_to_the_head_pose():
    from scipy.spatial.transform import Rotation

    poses = np.random.default_rng(0).uniform(-0.6, 0.6, (20, 3)).astype(np.float32)
    flip = np.diag([1, -1, -1])  # from y up, z towards the camera to OpenFace's y down, z away
    theirs = Rotation.from_euler("XYZ", rotations_from_head_pose(poses)).as_matrix()
    np.testing.assert_allclose(flip @ theirs @ flip, Rotation.from_rotvec(poses).as_matrix(), atol=1e-5)


def test_rotations_are_those_of_openface_on_a_real_clip():
    """The clip's table was written by OpenFace; mien's own tracker sees the same turns."""
    import csv

    folder = DATA / "video" / "icface"
    if not folder.exists():
        pytest.skip("the clip with OpenFace's table is not beside the repository")
    from mien.media.video import VideoReader
    from mien.perception.tracking import track_image

    with (folder / "00296.csv").open(newline="") as file:
        rows = [{key.strip(): value for key, value in row.items()} for row in csv.DictReader(file)]
    picked = range(0, 280, 40)
    frames = {i: frame for i, frame in enumerate(VideoReader(folder / "00296.mp4")) if i in picked}
    poses = np.concatenate([track_image(frame).rest.head_pose for frame in frames.values()])
    theirs = np.array([[float(rows[i][f"pose_R{axis}"]) for axis in "xyz"] for i in frames])
    ours = rotations_from_head_pose(poses)
    for axis, least in enumerate((0.5, 0.8, 0.9)):
        assert np.corrcoef(ours[:, axis], theirs[:, axis])[0, 1] > least


def test_controls_go_by_name():
    shuffled = ActionUnits(np.eye(18)[[2, 5]], ("AU27", *reversed(UNITS)), 25)
    poses = np.array([[0.35, 0, 0], [0, 0, 2]], np.float32)
    controls = controls_from(shuffled, poses)
    assert controls.shape == (2, 20)
    np.testing.assert_allclose(controls[0, :3], (0.75, 0.5, 0.5), atol=1e-6)
    np.testing.assert_allclose(controls[1, :3], (0.5, 0.5, 0), atol=1e-6)  # beyond the range: limited
    assert controls[:, 3:].sum() == 2
    assert controls[0, 3 + UNITS.index("AU26")] == controls[1, 3 + UNITS.index("AU20")] == 1
    older = controls_from(shuffled, poses, IcfaceConfig(rotation_range=0.5))
    np.testing.assert_allclose(older[0, :3], (0.85, 0.5, 0.5), atol=1e-6)
    with pytest.raises(InputError, match="missing: AU1, AU2"):
        controls_from(ActionUnits(np.zeros((1, 15)), UNITS[2:], 25), poses[:1])
    with pytest.raises(ValueError, match="expected 2 rows"):
        controls_from(shuffled, poses[:1])


def test_a_face_at_rest_has_neutral_controls():
    np.testing.assert_array_equal(controls_from(units(1), np.zeros((1, 3), np.float32))[0], neutral_controls())


# ----------------------------------------------------------------------------------------------------------- renderer


@pytest.fixture
def face() -> np.ndarray:
    rows, columns = np.mgrid[:48, :48]
    return np.stack([4 * rows, 5 * columns, 200 - rows], 2).astype(np.uint8)


def test_neutral_picture_is_made_once(face):
    network = small()
    calls = {"neutraliser": 0, "animator": 0}

    def count(name, *_):
        calls[name] += 1

    for name in calls:
        network.get_submodule(name).register_forward_hook(partial(count, name))
    renderer = IcfaceRenderer(network, face)
    frames = list(renderer.render(units(5, AU12=0.8), np.zeros((5, 3), np.float32)))
    assert calls == {"neutraliser": 1, "animator": 5}
    assert len(frames) == 5 and frames[0].shape == renderer.neutral.shape == (48, 48, 3)
    assert frames[0].dtype == np.uint8 and np.array_equal(frames[0], frames[4])
    assert np.abs(frames[0].astype(int) - renderer.neutral).max() > 0


@pytest.mark.parametrize("encoder", [False, True])
def test_frames_are_those_of_the_network(encoder):
    network = small(encoder)
    face = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    (frame,) = IcfaceRenderer(network, face, "float32").render(units(1, AU25=1), np.array([[0, 0.3, 0]], np.float32))
    images = torch.from_numpy(face).permute(2, 0, 1)[None] / 255 * 2 - 1
    controls = torch.from_numpy(controls_from(units(1, AU25=1), np.array([[0, 0.3, 0]], np.float32)))
    with torch.inference_mode():
        direct = network.animate(network.neutral(images), controls)[0].permute(1, 2, 0).numpy()
    assert np.abs(frame - (direct + 1) * 127.5).max() <= 0.51


def test_renderer_is_never_in_training_mode(face):
    network = small()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    renderer = IcfaceRenderer(network.train(), face)
    controls = units(2, AU4=1), np.zeros((2, 3), np.float32)
    expected = list(renderer.render(*controls))
    network.train()
    np.testing.assert_array_equal(list(renderer.render(*controls)), expected)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    with torch.inference_mode():
        noisy = [network.train().animate(torch.zeros(2, 3, 32, 32), torch.rand(2, 20)) for _ in range(2)]
    assert not torch.equal(*noisy), "dropout works in training"


def test_a_batch_does_not_change_what_a_frame_shows(face):
    renderer = IcfaceRenderer(small(), face)
    curves = ActionUnits(np.linspace(0, 1, 5 * 17).reshape(5, 17), UNITS, 25)
    poses = np.linspace(-0.5, 0.5, 15).reshape(5, 3).astype(np.float32)
    alone, among = (np.stack(list(renderer.render(curves, poses, batch=n))).astype(int) for n in (1, 3))
    assert len(among) == 5 and np.abs(among - alone).max() <= 1


def test_a_crop_is_square(face):
    with pytest.raises(ValueError, match=r"expected \(S, S, 3\), got \(40, 48, 3\)"):
        IcfaceRenderer(small(), face[:40])


# ------------------------------------------------------------------------------------------------------------ loading


def write_newer(folder, network: Icface) -> None:
    for name, part in ((ANIMATOR_FILE, network.animator), (NEUTRALISER_FILE, network.neutraliser)):
        state = {f"module.{key}": value for key, value in part.state_dict().items()}
        memory = {i: {"step": 7, "square_avg": p.detach().square()} for i, p in enumerate(part.parameters())}
        optimiser = {"state": memory, "param_groups": [{"lr": 2e-4, "alpha": 0.99, "params": list(memory)}]}
        torch.save({"state_dict": state, "optimizer": optimiser}, folder / name)


def write_older(folder, network: Icface) -> None:
    parts = (
        (ANIMATOR_FILE, network.animator),
        (NEUTRALISER_FILE, network.neutraliser),
        (ENCODER_FILE, network.encoder),
    )
    for name, part in parts:  # the torch of those days counted no batches
        state = {key: value for key, value in part.state_dict().items() if not key.endswith("num_batches_tracked")}
        torch.save(state, folder / name, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize(("write", "older"), [(write_newer, False), (write_older, True)])
def test_loads_both_releases(tmp_path, write, older):
    network = small(encoder=older)
    write(tmp_path, network)
    loaded = load_icface(tmp_path)
    assert not loaded.training and (loaded.encoder is not None) == older
    assert loaded.config.rotation_range == (0.5 if older else 0.7)
    assert loaded.config.channels == SMALL.channels and loaded.config.n_blocks == SMALL.n_blocks
    state = network.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())


@pytest.mark.parametrize("encoder", [False, True])
def test_loads_one_file_with_both_networks(tmp_path, encoder):
    from safetensors.torch import save_file

    state = small(encoder).state_dict()
    save_file(state, tmp_path / "icface.safetensors")
    loaded = load_icface(tmp_path / "icface.safetensors")
    assert loaded.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())


def test_what_does_not_fit_is_named(tmp_path):
    with pytest.raises(InputError, match=r"latest_net_G\.pth: no such file"):
        load_icface(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        load_icface(tmp_path / "missing")
    write_newer(tmp_path, small())
    with pytest.raises(FormatError, match="give the folder that holds"):
        load_icface(tmp_path / ANIMATOR_FILE)
    (tmp_path / NEUTRALISER_FILE).unlink()
    with pytest.raises(InputError, match=r"latest_net_GN\.pth: no such file"):
        load_icface(tmp_path)
    write_newer(tmp_path, small())
    state = small().neutraliser.state_dict()
    state["extra"] = state.pop("model.1.weight")
    torch.save({"state_dict": state}, tmp_path / NEUTRALISER_FILE)
    with pytest.raises(FormatError, match=r"latest_net_GN\.pth: .* lacks model\.1\.weight; it has the unknown extra"):
        load_icface(tmp_path)
    torch.save(ImageEncoder().state_dict(), tmp_path / ANIMATOR_FILE)
    with pytest.raises(FormatError, match=r"latest_net_G\.pth: is no ICface checkpoint, it lacks model\.1\.weight"):
        load_icface(tmp_path)
    torch.save({"state_dict": IcfaceConfig}, tmp_path / ANIMATOR_FILE)
    with pytest.raises(FormatError, match="Python objects"):
        load_icface(tmp_path)
    (tmp_path / ANIMATOR_FILE).write_bytes(b"nothing of the kind")
    with pytest.raises(FormatError, match="checkpoint"):
        load_icface(tmp_path)
