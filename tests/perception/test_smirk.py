"""SMIRK's encoder: the published numbers, names of outputs, crop, loading."""

import numpy as np
import pytest
import torch
from reference import Reference

from mien.errors import FormatError
from mien.perception.smirk import SmirkEncoder, SmirkReader, crop_from_image, load_smirk

NAMES = {"betas": "shape_params", "expression": "expression_params", "head_pose": "pose_params",
         "jaw_pose": "jaw_params", "eyelids": "eyelid_params", "camera": "cam"}  # fmt: skip


def test_numbers_are_those_of_the_official_network():
    reference = Reference("smirk")
    network = SmirkEncoder()
    network.load_state_dict(reference.state("smirk_encoder"), strict=True)
    network.eval()
    assert sum(p.numel() for p in network.parameters()) == 3_599_921 and len(network.state_dict()) == 762
    for suffix in ("", "2"):
        with torch.inference_mode():
            said = network(torch.from_numpy(reference.input(f"image{suffix}")))
        for name, official in NAMES.items():
            expected = reference.arrays[f"out/{official}{suffix}"]  # clamped ones may be all zero
            error = np.abs(said[name].numpy().ravel() - expected.ravel()).max()
            assert error < 1e-4 * max(np.abs(expected).max(), 0.01), name


def test_crop():
    points = np.tile(np.float32([60, 50]), (478, 1))
    points[0], points[1] = (10, 20), (110, 80)  # 100 by 60 px around (60, 50)
    matrix = crop_from_image(points)
    np.testing.assert_allclose(matrix @ (60 - 56, 50 - 56, 1), (0, 0), atol=1e-4)  # a square of 80 x 1.4 = 112 px
    np.testing.assert_allclose(matrix @ (60 + 56, 50 + 56, 1), (223, 223), atol=1e-4)


def test_official_file_layout_and_what_does_not_fit(tmp_path):
    path = tmp_path / "SMIRK_em1.pt"
    torch.manual_seed(0)
    network = SmirkEncoder().eval()
    state = {f"smirk_encoder.{key}": value for key, value in network.state_dict().items()}
    torch.save({**state, "smirk_generator.conv.weight": torch.zeros(3)}, path)
    frame = np.random.default_rng(0).integers(0, 256, (120, 120, 3), np.uint8)
    points = np.random.default_rng(1).uniform(30, 90, (478, 3)).astype(np.float32)
    read = SmirkReader(load_smirk(path))(frame, points)
    np.testing.assert_array_equal(read.expression, SmirkReader(network)(frame, points).expression)
    motion = read.motion(25)
    assert motion.rig == "flame" and motion.expression.shape == (1, 50)
    assert read.jaw_pose[0, 0] >= 0 and np.abs(read.jaw_pose[0, 1:]).max() <= 0.2
    torch.save({key: value for key, value in state.items() if "shape_layers.0.bias" not in key}, path)
    with pytest.raises(FormatError, match=r"lacks shape_encoder\.shape_layers\.0\.bias"):
        load_smirk(path)
