"""EmoNet: the published numbers, the crop, names of labels, losses, loading."""

from functools import cache

import numpy as np
import pytest
import torch
from reference import DATA, NEUTRAL_PORTRAITS, Reference

from mien.engine import has_openvino
from mien.errors import FormatError, InputError
from mien.perception.emonet import (
    LABELS_5,
    LABELS_8,
    TEMPORAL_WEIGHTS,
    EmoNet,
    EmoNetConfig,
    EmoNetOutput,
    EmoNetReader,
    crop_face,
    crop_from_image,
    emonet_loss,
    load_emonet,
    one_minus_ccc,
    one_minus_pcc,
    track_from_outputs,
    weighted_over_time,
)
from mien.types import Emotion


@cache
def official(name: str) -> tuple[EmoNet, Reference]:
    reference = Reference(name)
    network = EmoNet(EmoNetConfig(labels=LABELS_8 if name == "emonet_8" else LABELS_5))
    network.load_state_dict(reference.state("emonet"), strict=True)
    return network.eval(), reference


@pytest.mark.parametrize("name", ["emonet_8", "emonet_5"])
def test_numbers_are_those_of_the_official_network(name):
    network, reference = official(name)
    assert sum(p.numel() for p in network.parameters()) == reference.info["networks"]["emonet"]["parameters"]
    for suffix in ("", "2"):
        with torch.inference_mode():
            output = network(torch.from_numpy(reference.input(f"image{suffix}")))
        for part in output._fields:
            assert reference.relative_error(part + suffix, getattr(output, part).numpy()) < 1e-5, part


def portraits() -> np.ndarray:
    """The middle of pictures of people, ``(N, 256, 256, 3)``."""
    import cv2

    from mien.media.image import read_image

    pictures = [read_image(DATA / "portraits" / name) for name in NEUTRAL_PORTRAITS]
    sides = [min(picture.shape[:2]) for picture in pictures]
    corners = [((p.shape[0] - side) // 2, (p.shape[1] - side) // 2) for p, side in zip(pictures, sides, strict=True)]
    squares = [p[y : y + side, x : x + side] for p, side, (y, x) in zip(pictures, sides, corners, strict=True)]
    return np.stack([cv2.resize(square, (256, 256), interpolation=cv2.INTER_AREA) for square in squares])


@cache
def read_in_full(name):
    """The network, the reference's pictures and portraits, and what it reads in them in float32."""
    network, reference = official(name)
    pictures = np.concatenate([reference.input("image"), reference.input("image2")])
    crops = np.concatenate([np.round(pictures.transpose(0, 2, 3, 1) * 255).astype(np.uint8), portraits()])
    return network, crops, EmoNetReader(network, "float32").raw(crops)


@pytest.mark.parametrize("name", ["emonet_8", "emonet_5"])
@pytest.mark.parametrize(
    "engine",
    [
        "bfloat16",
        "int8",
        pytest.param("openvino", marks=pytest.mark.skipif(not has_openvino(), reason="openvino is not installed")),
    ],
)
def test_fewer_bits_say_nearly_the_same(engine, name):
    network, crops, exact = read_in_full(name)
    quick = EmoNetReader(network, engine).raw(crops)
    largest = np.abs(exact).max()  # these weights speak in tens of thousands; of 1 it would be
    assert np.abs(quick - exact)[:, -2:].max() / largest < 0.01
    assert np.abs(quick - exact).max() / largest < 0.015
    assert (quick[:, :-2].argmax(1) == exact[:, :-2].argmax(1)).all()


def test_a_batch_does_not_change_what_a_picture_gets():
    network, reference = official("emonet_8")
    crop = np.round(reference.input("image").transpose(0, 2, 3, 1) * 255).astype(np.uint8)
    reader = EmoNetReader(network, "float32")
    alone, among = reader.raw(crop), reader.raw(np.concatenate([crop, 255 - crop, crop]))
    np.testing.assert_allclose(among[[0, 2]], np.repeat(alone, 2, 0), rtol=1e-4)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("labels", [LABELS_5, LABELS_8])
def test_loads_with_and_without_prefix(tmp_path, prefix, labels):
    state = EmoNet(EmoNetConfig(labels=labels)).state_dict()
    assert len(state) == 682
    torch.save({prefix + key: value for key, value in state.items()}, tmp_path / "emonet.pth")
    network = load_emonet(tmp_path / "emonet.pth")
    assert network.config.labels == labels and not network.training
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_what_does_not_fit_is_named(tmp_path):
    path = tmp_path / "emonet.pth"
    state = EmoNet().state_dict()
    state["extra"] = state.pop("bl0.bias")
    torch.save(state, path)
    with pytest.raises(FormatError, match=r"lacks bl0\.bias; it has the unknown extra"):
        load_emonet(path)
    torch.save({"net": EmoNet}, path)
    with pytest.raises(FormatError, match="Python objects"):
        load_emonet(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(FormatError, match="checkpoint"):
        load_emonet(path)
    with pytest.raises(InputError, match="no such file"):
        load_emonet(tmp_path / "missing.pth")


def test_labels_of_five_are_named_right():
    assert LABELS_5[4] == Emotion.ANGER
    values = np.zeros((1, 7), np.float32)
    values[0, 4] = 3
    assert track_from_outputs(values, LABELS_5, 25).best() == (Emotion.ANGER,)


def test_outputs_stay_inside_the_square():
    track = track_from_outputs(np.array([[900.0, -900, 1.3, -7]], np.float32), LABELS_8[:2], 25)
    np.testing.assert_array_equal(track.va, [[1, -1]])
    assert track.probabilities is not None and np.isfinite(track.probabilities).all()


def test_crop_is_182_per_cent_of_the_landmarks_box():
    points = np.tile(np.float32([60, 50]), (68, 1))
    points[0], points[1] = (10, 20), (110, 80)  # 100 by 60 px around (60, 50)
    matrix = crop_from_image(points)
    assert 256 / matrix[0, 0] == pytest.approx(200 * (100 + 60) / 220)
    np.testing.assert_allclose(matrix @ (60, 50, 1), (128, 128), atol=1e-4)
    picture = np.full((100, 120, 3), 200, np.uint8)
    crop = crop_face(picture, points)
    assert crop.shape == (256, 256, 3) and crop[128, 128].min() == 200
    assert crop[0, 0].max() == 0, "beyond the frame it is black"


def test_first_smoothed_output_is_the_first_output():
    values = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    smooth = weighted_over_time(values)
    np.testing.assert_allclose(smooth[0], values[0], rtol=1e-5)
    np.testing.assert_allclose(smooth[6], np.array(TEMPORAL_WEIGHTS) @ values[2:], rtol=1e-5)


def test_correlation_losses():
    truth = torch.tensor([[0.1, -0.5], [0.6, 0.2], [-0.4, 0.3]])
    assert one_minus_ccc(truth, truth).item() == pytest.approx(0, abs=1e-5)
    assert one_minus_pcc(truth * 2 + 1, truth).item() == pytest.approx(0, abs=1e-5)
    assert one_minus_ccc(truth * 2 + 1, truth).item() > 0.3
    assert one_minus_pcc(-truth, truth).item() == pytest.approx(2, abs=1e-5)
    flat = torch.zeros(3, 2, requires_grad=True)
    (one_minus_ccc(flat, truth) + one_minus_pcc(flat, truth)).backward()
    assert flat.grad is not None and torch.isfinite(flat.grad).all()


def test_weights_of_the_loss_are_drawn_anew_and_add_up_to_one():
    generator = torch.Generator().manual_seed(0)
    n = 4
    output = EmoNetOutput(torch.zeros(n, 8), torch.linspace(-0.5, 0.5, n), torch.zeros(n), torch.zeros(n, 1, 1, 1))
    classes, va = torch.zeros(n, dtype=torch.long), torch.linspace(-1, 1, n)[:, None].repeat(1, 2)
    drawn = [emonet_loss(output, classes, va, generator) for _ in range(20)]
    parts = drawn[0][1]
    low, high = (f([parts[k].item() for k in ("mse", "pcc", "ccc")]) for f in (min, max))
    regressions = [loss.item() - parts["cross_entropy"].item() for loss, _ in drawn]
    assert low <= min(regressions) < max(regressions) <= high


def test_the_head_learns():
    torch.manual_seed(0)
    network = EmoNet(EmoNetConfig(channels=32, depth=4, n_landmarks=5))
    images = torch.rand(4, 3, 256, 256)
    classes, va = torch.tensor([0, 1, 2, 3]), torch.tensor([[0.0, 0], [0.8, 0.4], [-0.6, -0.4], [0.2, 0.9]])
    head = [p for module in network.head() for p in module.parameters()]
    optimiser = torch.optim.Adam(head, 3e-3)
    with torch.no_grad():
        features = network.eval().trunk(images)
    network.trunk = lambda _: features
    losses = []
    network.train()
    for _ in range(20):
        loss = sum(emonet_loss(network(images), classes, va)[1].values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-3:]) < 0.5 * losses[0]
    assert all(p.grad is not None for p in head)
