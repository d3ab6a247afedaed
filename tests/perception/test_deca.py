"""DECA's encoder: the published numbers, names of coefficients, crop, loading."""

import numpy as np
import pytest
import torch
from reference import Reference

from mien.errors import FormatError
from mien.perception.deca import DecaCoefficients, DecaEncoder, DecaReader, crop_from_image, load_deca


def test_numbers_are_those_of_the_official_network():
    reference = Reference("deca")
    network = DecaEncoder()
    network.load_state_dict(reference.state("E_flame"), strict=True)
    network.eval()
    assert sum(p.numel() for p in network.parameters()) == 25_848_108
    for suffix in ("", "2"):
        with torch.inference_mode():
            coefficients = network(torch.from_numpy(reference.input(f"image{suffix}"))).numpy()
        assert reference.relative_error(f"coefficients{suffix}", coefficients) < 1e-5


def test_coefficients_by_name():
    vector = np.arange(2 * 236, dtype=np.float32).reshape(2, 236)
    parts = DecaCoefficients.from_vector(vector)
    np.testing.assert_array_equal(parts.vector(), vector)
    assert parts.expression[0, 0] == 150 and parts.head_pose[0, 0] == 200 and parts.jaw_pose[0, 0] == 203
    assert parts.camera[0, 0] == 206 and parts.light.shape == (2, 9, 3) and parts.light[0, 1, 0] == 212
    motion = parts.motion(25)
    assert motion.rig == "flame" and motion.column("expression_49")[0] == 199
    with pytest.raises(ValueError, match=r"\(T, 236\), got \(2, 235\)"):
        DecaCoefficients.from_vector(vector[:, 1:])


def test_crop():
    points = np.tile(np.float32([60, 50]), (68, 1))
    points[0], points[1] = (10, 20), (110, 80)  # 100 by 60 px around (60, 50)
    matrix = crop_from_image(points)
    np.testing.assert_allclose(matrix @ (60 - 55, 50 - 55, 1), (0, 0), atol=1e-4)  # a square of 80 x 1.375 = 110 px
    np.testing.assert_allclose(matrix @ (60 + 55, 50 + 55, 1), (223, 223), atol=1e-4)


def test_official_file_layout_and_what_does_not_fit(tmp_path):
    path = tmp_path / "deca_model.tar"
    torch.manual_seed(0)
    network = DecaEncoder()
    state = network.state_dict()
    assert len(state) == 322
    torch.save({"E_flame": state, "opt": {"lr": 1e-4}, "global_step": 7}, path)
    frame = np.random.default_rng(0).integers(0, 256, (120, 120, 3), np.uint8)
    points = np.random.default_rng(1).uniform(30, 90, (68, 2)).astype(np.float32)
    read = DecaReader(load_deca(path))(frame, points)
    np.testing.assert_array_equal(read.vector(), DecaReader(network.eval())(frame, points).vector())
    torch.save({"E_flame": {key: value for key, value in state.items() if key != "layers.2.bias"}}, path)
    with pytest.raises(FormatError, match=r"lacks layers\.2\.bias"):
        load_deca(path)
    torch.save({"E_detail": state}, path)
    with pytest.raises(FormatError, match="no state dict named E_flame"):
        load_deca(path)
