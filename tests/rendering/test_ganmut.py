"""GANmut: the published numbers, modes, codes, losses, the editor, loading."""

from functools import cache

import numpy as np
import pytest
import torch
from reference import Reference

from mien.errors import FormatError, InputError
from mien.rendering.ganmut import (
    GAUSSIAN_WEIGHTS,
    LABELS,
    Discriminator,
    GanmutConfig,
    GanmutEditor,
    GaussianGenerator,
    Generator,
    Judgement,
    LinearGenerator,
    LossWeights,
    code_from_polar,
    discriminator_loss,
    gaussian_generator_loss,
    gradient_penalty,
    linear_generator_loss,
    load_ganmut,
    r1_penalty,
    strengths_for,
    strengths_seen,
)
from mien.types import Emotion

SPACES = {"linear": LinearGenerator, "gaussian": GaussianGenerator}
VARIANTS = [("linear", 2), ("linear", 3), ("gaussian", 2), ("gaussian", 3)]
SMALL = {"channels": 2, "n_blocks": 1}


@cache
def reference_of(space: str) -> Reference:
    return Reference(f"ganmut_{space}")


@cache
def weights_of(key: str, shape: tuple[int, ...], prefix: str) -> torch.Tensor:
    """Both spaces share most names, and so most of the reference's values; each is made once."""
    return torch.from_numpy(reference_of("linear").fill.fill_array(key, shape, "", prefix))


def official(space: str, dim: int, network: str) -> Generator | Discriminator:
    entry = reference_of(space).info["networks"][network + ("3d" if dim == 3 else "")]
    config = GanmutConfig(space, dim)
    module = SPACES[space](config) if network == "G" else Discriminator(config)
    assert sum(p.numel() for p in module.parameters()) == entry["parameters"]
    assert len(module.state_dict()) == entry["state_entries"]
    state = {key: weights_of(key, tuple(shape), entry["fill_prefix"]) for key, shape, _ in entry["state_dict"]}
    module.load_state_dict(state, strict=True)
    return module


def close(reference: Reference, name: str, value: torch.Tensor) -> None:
    assert reference.relative_error(name, value.detach().numpy()) < 1e-5, name


@cache
def generator(space: str, dim: int = 2) -> Generator:
    return official(space, dim, "G")


def tensors(reference: Reference) -> dict[str, torch.Tensor]:
    return {key[3:]: torch.from_numpy(value) for key, value in reference.arrays.items() if key.startswith("in/")}


def small(space: str = "linear", dim: int = 2) -> Generator:
    torch.manual_seed(0)
    network = SPACES[space](GanmutConfig(space, dim, **SMALL))
    if space == "gaussian" and dim == 3:
        torch.nn.init.normal_(network.covariances_list.weight)
    elif space == "gaussian":
        torch.nn.init.uniform_(network.covariance_axes.weight, 0.5, 2)  # turning a round Gaussian changes nothing
    return network


@pytest.fixture(autouse=True, scope="module")
def forget_the_weights():
    yield
    weights_of.cache_clear()
    generator.cache_clear()


# ------------------------------------------------------------------------------------------------ published numbers


def test_generator_gives_the_official_numbers():
    reference, network = reference_of("linear"), generator("linear")
    given = tensors(reference)
    with torch.inference_mode():
        close(reference, "img", network(given["x"], given["code"]))
        close(reference, "img2", network(given["x2"], given["code"]))
        close(reference, "img3d", generator("linear", 3)(given["x"], given["code3"]))


@pytest.mark.parametrize("name", ["img", "img2", "img3d", "img_eval", "gradient_penalty", "r1_reg"])
def test_reference_of_both_spaces_is_the_same_where_they_share_layers(name):
    """So that what the other tests compute in the linear space only holds for the Gaussian one."""
    linear, gaussian = (reference_of(space).arrays[f"out/{name}"] for space in SPACES)
    np.testing.assert_array_equal(linear, gaussian)


def test_eval_mode_is_another_network():
    reference, network = reference_of("linear"), official("linear", 2, "G")
    given = tensors(reference)
    with torch.inference_mode():
        stored = network.eval()(given["x"], given["code"])
    close(reference, "img_eval", stored)
    assert reference.relative_error("img", stored.numpy()) > 0.1, "or the two modes could not be told apart"


def test_codes_of_the_linear_space_are_official():
    reference, network = reference_of("linear"), generator("linear")
    given = tensors(reference)
    with torch.inference_mode():
        codes = network.codes(torch.arange(7), given["strength"].expand(7))
        close(reference, "test_codes", codes)
        close(reference, "test_img_label0", network(given["x"], codes[:1]))
        close(reference, "test_img_label3", network(given["x"], codes[3:4]))
        close(reference, "test_code3d_label4", generator("linear", 3).codes(torch.tensor([4]), given["strength"]))


def test_distances_of_the_gaussian_space_are_official():
    reference, network = reference_of("gaussian"), generator("gaussian")
    given = tensors(reference)
    with torch.inference_mode():
        close(reference, "mahalanobis", network.distances(given["code"]))
        means = network.emotion_codes()
        close(reference, "code_default", means[:1])
        close(reference, "mahalanobis_default", network.distances(means[:1]))
        close(reference, "img_default", network(given["x"], means[:1]))
        close(reference, "code_label5", network.mu.weight[5:6])  # the official label path, without tanh
        close(reference, "mahalanobis_label5", network.distances(network.mu.weight[5:6]))
        close(reference, "mahalanobis3d", generator("gaussian", 3).distances(given["code3"]))


@pytest.mark.parametrize(("space", "dim"), VARIANTS)
def test_discriminator_gives_the_official_numbers(space, dim):
    reference, network = reference_of(space), official(space, dim, "D")
    given = tensors(reference)

    def check(suffix: str, said: Judgement) -> None:
        name = f"D{'3d' if dim == 3 else ''}"
        close(reference, f"{name}_src{suffix}", said.critic)
        joint = torch.cat([said.logits, said.codes], 1)
        close(reference, f"{name}_cls{suffix}", said.logits if space == "linear" else joint)
        if space == "linear":
            close(reference, f"{name}_code{suffix}", said.codes)

    with torch.inference_mode():
        check("", network(given["x"]))
        if dim == 2:
            check("2", network(given["x2"]))
    if (space, dim) == ("linear", 2):
        close(reference, "gradient_penalty", gradient_penalty(network, given["x2"]).reshape(1))
        close(reference, "r1_reg", r1_penalty(network, given["x2"]).reshape(1))


def test_losses_are_official():
    reference = Reference("losses_ganmut")
    given = tensors(reference)
    strengths = strengths_for(given["label_trg"], given["strength_u"])
    close(reference, "strength", strengths)
    close(reference, "neutral_mask", (strengths > 0.2).float())
    close(reference, "linear_cycle_strength", strengths_seen(given["cls_real"]))

    def judged(which: str, logits: str) -> Judgement:
        said = given[f"{logits}_{which}"]
        codes = given["cord_hat"] if logits == "cls" else said[:, 7:]
        return Judgement(given[f"src_{which}"], said[:, :7], codes)

    def check(name: str, loss: torch.Tensor, terms: dict[str, torch.Tensor], order: str) -> None:
        found = torch.stack([loss, *(terms[term] for term in order.split())])
        np.testing.assert_allclose(found, reference.arrays[f"out/{name}"], rtol=1e-5)  # each term by its own size

    of_d = (given["label_org"], given["cord"], given["reg"].squeeze())
    found = discriminator_loss(judged("real", "cls"), judged("fake", "cls"), *of_d, LossWeights())
    check("linear_d", *found, "real fake classes code")
    found = discriminator_loss(judged("real", "cls9"), judged("fake", "cls9"), *of_d, GAUSSIAN_WEIGHTS)
    check("gaussian_d", *found, "real fake classes code")
    pictures = (given["x_real"], given["x_rec"])
    found = linear_generator_loss(
        judged("fake", "cls"), *pictures, given["label_trg"], given["cord"], strengths, LossWeights()
    )
    check("linear_g", *found, "fake reconstruction classes strength code")
    found = gaussian_generator_loss(judged("fake", "cls9"), *pictures, given["mahalanobis"])
    check("gaussian_g", *found, "fake reconstruction classes means")
    close(reference, "gaussian_probabilities", (-given["mahalanobis"]).softmax(1))


# ------------------------------------------------------------------------------------------------- codes and learning


def test_strengths_of_neutral_faces_are_small_and_of_others_are_not():
    labels = torch.tensor([0, 1] * 200)
    codes, strengths = small().training_codes(labels, torch.Generator().manual_seed(1))
    assert strengths[::2].max() <= 0.2 <= strengths[1::2].min() and strengths.max() <= 1
    off = codes[5:] - small().codes(labels, strengths)[5:]
    assert 0.06 < off.std().item() < 0.09, "noise of 0.075 on both coordinates"
    again, _ = small().training_codes(labels, torch.Generator().manual_seed(1))
    assert torch.equal(codes, again)


@pytest.mark.parametrize("dim", [2, 3])
def test_random_directions_point_everywhere(dim):
    network = LinearGenerator(GanmutConfig("linear", dim, n_random=400, **SMALL))
    codes, strengths = network.training_codes(torch.ones(400, dtype=torch.long), torch.Generator().manual_seed(0))
    np.testing.assert_allclose(codes.detach().norm(dim=1), strengths, rtol=1e-5)
    assert len({tuple(row) for row in (codes > 0).tolist()}) == 2**dim


def test_gaussian_training_shows_every_mean_and_the_whole_square():
    network = small("gaussian")
    codes = network.training_codes(400, torch.Generator().manual_seed(0))
    assert torch.equal(codes[:7], network.emotion_codes())
    assert codes.abs().max() <= 1 and (codes[7:].min(0).values < -0.95).all() and (codes[7:].max(0).values > 0.95).all()
    with pytest.raises(ValueError, match="at least 7"):
        network.training_codes(6)


def test_covariance_is_turned_by_its_angle():
    network = small("gaussian")
    with torch.no_grad():
        network.covariance_angles.weight[0, 1] = np.pi / 6
        network.covariance_axes.weight[1] = torch.tensor([-4.0, 1.0])  # the sign does not count
        covariance = network.covariances()[1]
        values, vectors = torch.linalg.eigh(covariance)
    np.testing.assert_allclose(values, (1, 4), rtol=1e-5)
    longest = vectors[:, 1] * vectors[0, 1].sign()
    np.testing.assert_allclose(longest, (np.cos(np.pi / 6), 0.5), rtol=1e-5)


@pytest.mark.parametrize(("space", "dim"), VARIANTS)
def test_every_parameter_learns(space, dim):
    config = GanmutConfig(space, dim, **SMALL)
    network, critic = small(space, dim), Discriminator(config)
    images, labels = torch.rand(8, 3, 128, 128) * 2 - 1, torch.arange(8) % 7
    if space == "linear":
        codes, strengths = network.training_codes(labels)
        back = network.codes(labels, strengths_seen(critic(images).logits))
    else:
        codes, strengths = network.training_codes(8), torch.zeros(8)
        back = critic(images).codes
    edited = network(images, codes)
    cycled, said = network(edited, back), critic(edited)
    if space == "linear":
        loss, _ = linear_generator_loss(said, images, cycled, labels, codes, strengths, LossWeights())
    else:
        loss, _ = gaussian_generator_loss(said, images, cycled, network.distances(codes))
    loss.backward()
    dead = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0}
    assert dead == ({"axes.bias"} if space == "linear" else set()), "the official bias of the axes is never used"
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)

    critic.zero_grad()
    penalty = gradient_penalty(critic, images[:2])
    loss, _ = discriminator_loss(critic(images), critic(edited.detach()), labels, codes, penalty, LossWeights())
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in critic.parameters())


def test_a_batch_of_neutral_faces_has_no_strength_to_miss():
    said = Judgement(torch.zeros(6, 1, 2, 2), torch.zeros(6, 7), torch.zeros(6, 2))
    none = torch.zeros(6)
    images = torch.zeros(6, 3, 8, 8)
    loss, terms = linear_generator_loss(said, images, images, none.long(), torch.zeros(6, 2), none, LossWeights())
    assert terms["strength"] == 0 and torch.isfinite(loss)


# ------------------------------------------------------------------------------------------------------------- editor


@pytest.fixture
def face() -> np.ndarray:
    rows, columns = np.mgrid[:128, :128]
    return np.stack([rows * 2, columns, 255 - rows], 2).astype(np.uint8)


def test_editor_turns_colours_for_the_network_and_back(face):
    network = small()
    edited = GanmutEditor(network, "float32").restyle(face, (0.3, -0.4))
    images = torch.from_numpy(face[..., ::-1].copy()).permute(2, 0, 1)[None] / 255 * 2 - 1
    with torch.inference_mode():
        direct = network.train()(images, torch.tensor([[0.3, -0.4]]))[0].permute(1, 2, 0).numpy()[..., ::-1]
    assert np.abs(edited - (direct + 1) * 127.5).max() <= 0.51
    assert edited.dtype == np.uint8


def test_editor_uses_the_pictures_own_statistics_in_any_mode_and_leaves_no_trace(face):
    network = small()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    editor = GanmutEditor(network.train())
    first = editor.restyle(face, (1, 0))
    network.eval()
    np.testing.assert_array_equal(editor.restyle(face, (1, 0)), first)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_batch_does_not_change_what_a_picture_gets(face):
    editor = GanmutEditor(small())
    codes = np.array([[1, 0], [0, 1], [-0.5, 0.2]], np.float32)
    codes.setflags(write=False)  # like all arrays that mien passes on
    alone = [editor.restyle(face, code) for code in codes]
    assert np.abs(editor.restyle_batch(face[None], codes).astype(int) - alone).max() <= 1
    crops = np.stack([face, face[::-1], face])
    both = editor.restyle_batch(crops, codes[:1])
    assert np.abs(both[[0, 2]].astype(int) - alone[0]).max() <= 1
    assert np.abs(alone[0].astype(int) - alone[1]).max() > 2, "the code matters"


def test_crops_keep_their_size(face):
    import cv2

    editor = GanmutEditor(small())
    for side in (96, 300):
        crop = cv2.resize(face, (side, side))
        assert editor.restyle(crop, (0, 0)).shape == (side, side, 3)
    with pytest.raises(ValueError, match=r"expected \(N, S, S, 3\), got \(1, 100, 128, 3\)"):
        editor.restyle(face[:100], (0, 0))
    with pytest.raises(ValueError, match="emotion_codes: expected"):
        editor.restyle(face, (0, 0, 0))
    with pytest.raises(ValueError, match="emotion_codes: expected"):
        editor.restyle_batch(face[None].repeat(3, 0), np.zeros((2, 2)))


def test_emotions_have_names():
    assert set(Emotion) - set(LABELS) == {Emotion.CONTEMPT} and LABELS[6] == Emotion.ANGER
    linear, gaussian = GanmutEditor(small()), GanmutEditor(small("gaussian"))
    np.testing.assert_array_equal(linear.emotion_code("neutral"), (0, 0))
    for emotion in LABELS[1:]:
        assert np.linalg.norm(linear.emotion_code(emotion, 0.5)) == pytest.approx(0.5, rel=1e-5)
    np.testing.assert_allclose(gaussian.emotion_code("fear", 0), gaussian.emotions[Emotion.NEUTRAL])
    np.testing.assert_allclose(gaussian.emotion_code("fear"), gaussian.emotions[Emotion.FEAR], rtol=1e-6)
    with pytest.raises(InputError, match=r"contempt.*neutral, happy"):
        linear.emotion_code("contempt")
    with pytest.raises(InputError, match="outside 0 to 1"):
        linear.emotion_code("happy", 1.5)


def test_polar_codes():
    np.testing.assert_allclose(code_from_polar(np.pi / 2, 0.5), (0, 0.5), atol=1e-6)
    np.testing.assert_allclose(code_from_polar(-3.1128938, 1), (-0.9996, -0.0287), atol=1e-4)  # sad, as published


# ------------------------------------------------------------------------------------------------------------ loading


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
@pytest.mark.parametrize(("space", "dim"), VARIANTS)
def test_loads_whatever_space_the_file_holds(tmp_path, space, dim, suffix):
    from safetensors.torch import save_file

    state = small(space, dim).state_dict()
    path = tmp_path / f"7-G{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(dict(state), path)
    network = load_ganmut(path)
    assert network.config == GanmutConfig(space, dim, **SMALL) and network.training
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_official_files_are_of_the_old_kind(tmp_path):
    state = small().state_dict()
    torch.save(state, tmp_path / "7-G.ckpt", _use_new_zipfile_serialization=False)
    assert isinstance(load_ganmut(tmp_path / "7-G.ckpt"), LinearGenerator)


def test_what_does_not_fit_is_named(tmp_path):
    path = tmp_path / "7-G.ckpt"
    state = small().state_dict()
    state["extra"] = state.pop("main.1.bias")
    torch.save(state, path)
    with pytest.raises(FormatError, match=r"lacks main\.1\.bias; it has the unknown extra"):
        load_ganmut(path)
    torch.save(Discriminator(GanmutConfig(channels=2)).state_dict(), path)
    with pytest.raises(FormatError, match=r"discriminator; use the file that ends in -G\.ckpt"):
        load_ganmut(path)
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(FormatError, match="lacks a space of emotions"):
        load_ganmut(path)
    torch.save({"network": GanmutConfig}, path)
    with pytest.raises(FormatError, match="Python objects"):
        load_ganmut(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(FormatError, match="checkpoint"):
        load_ganmut(path)
    with pytest.raises(InputError, match="no such file"):
        load_ganmut(tmp_path / "missing.ckpt")
