"""Plays a ``.glb`` as a viewer would, to compare with what was to be shown."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation


class Glb:
    """A parsed file: ``document`` is its JSON."""

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        magic, version, length = struct.unpack_from("<4sII", content)
        assert (magic, version, length) == (b"glTF", 2, len(content))
        size, kind = struct.unpack_from("<I4s", content, 12)
        assert kind == b"JSON" and size % 4 == 0
        self.document: dict[str, Any] = json.loads(content[20 : 20 + size])
        n, kind = struct.unpack_from("<I4s", content, 20 + size)
        assert kind == b"BIN\0" and 28 + size + n == len(content) and n % 4 == 0
        self._buffer = content[28 + size :]

    def accessor(self, index: int) -> np.ndarray:
        """The values, ``(count, components)``; bounds are checked on the way."""
        entry = self.document["accessors"][index]
        width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}[entry["type"]]
        kind = {5126: "<f4", 5125: "<u4"}[entry["componentType"]]
        if "bufferView" in entry:
            values = self._view(entry["bufferView"], kind).reshape(-1, width)
        else:
            sparse = entry["sparse"]
            at = self._view(sparse["indices"]["bufferView"], "<u4")
            assert (np.diff(at.astype(int)) > 0).all() and len(at) == sparse["count"]
            values = np.zeros((entry["count"], width), np.float32)
            values[at] = self._view(sparse["values"]["bufferView"], kind).reshape(-1, width)
        assert len(values) == entry["count"]
        if "min" in entry:
            np.testing.assert_allclose(values.min(0), entry["min"])
            np.testing.assert_allclose(values.max(0), entry["max"])
        return values

    def _view(self, index: int, kind: str) -> np.ndarray:
        view = self.document["bufferViews"][index]
        assert view["byteOffset"] % 4 == 0
        return np.frombuffer(self._buffer, kind, view["byteLength"] // 4, view["byteOffset"])

    def curve(self, node: int, path: str) -> np.ndarray | None:
        """The animated values of a node, one row per time."""
        for channel in self.document["animations"][0]["channels"]:
            if channel["target"] == {"node": node, "path": path}:
                sampler = self.document["animations"][0]["samplers"][channel["sampler"]]
                return self.accessor(sampler["output"])
        return None

    def times(self) -> np.ndarray:
        """The seconds of the first sampler."""
        return self.accessor(self.document["animations"][0]["samplers"][0]["input"])[:, 0]

    def triangles(self, frame: int, node: int = 0) -> np.ndarray:
        """``(F, 3, 3)`` corners of every triangle of a node and its children at a frame."""
        entry = self.document["nodes"][node]
        corners = []
        if "mesh" in entry:
            for primitive in self.document["meshes"][entry["mesh"]]["primitives"]:
                points = np.array(self.accessor(primitive["attributes"]["POSITION"]), float)
                targets = [self.accessor(target["POSITION"]) for target in primitive.get("targets", [])]
                if targets:
                    weights = self.curve(node, "weights")
                    assert weights is not None
                    points += np.tensordot(weights.reshape(-1, len(targets))[frame], targets, 1)
                corners.append(points[self.accessor(primitive["indices"])[:, 0].reshape(-1, 3)])
        corners += [self.triangles(frame, child) for child in entry.get("children", [])]
        result = np.concatenate(corners)
        turn, shift = self.curve(node, "rotation"), self.curve(node, "translation")
        if turn is not None:
            result = Rotation.from_quat(turn[frame]).apply(result.reshape(-1, 3)).reshape(result.shape)
        return result + (shift[frame] if shift is not None else entry.get("translation", [0, 0, 0]))
