"""Binary glTF 2.0 (``.glb``): animated faces that Blender, Unreal, Unity, three.js and browsers read.

Morph targets carry their names in ``mesh.extras.targetNames``, the place importers agree on. They are stored sparse,
because a blink moves a few hundred of thousands of vertices. glTF's axes are mien's: metres, y up, z to the viewer.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.errors import FormatError
from mien.media.provenance import MARK, to_text
from mien.rotations import quaternion_from_axis_angle
from mien.types import Array

_ARRAY, _INDICES = 34962, 34963
_COMPONENTS = {"float32": 5126, "uint32": 5125}
_STILL = 1e-7  # metres: less than this is no movement


@dataclass(frozen=True, eq=False)
class GltfPart:
    """Triangles of one colour: ``triangles`` ``(F, 3)``, ``colour`` sRGB 0 to 255."""

    name: str
    triangles: npt.NDArray[Any]
    colour: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class GltfMesh:
    """A mesh with morph targets.

    Attributes:
        vertices: ``(V, 3)`` m.
        parts: the triangles by colour.
        uv: ``(V, 2)``, v up, or ``None``.
        target_names: ``K`` names of the targets.
        targets: ``(K, V, 3)`` m at weight 1.
        weights: ``(T, K)``, the animation of the targets.
    """

    vertices: Array
    parts: Sequence[GltfPart]
    uv: Array | None = None
    target_names: tuple[str, ...] = ()
    targets: Array = field(default_factory=lambda: np.zeros((0, 0, 3), np.float32))
    weights: Array = field(default_factory=lambda: np.zeros((0, 0), np.float32))


@dataclass(frozen=True, eq=False)
class GltfNode:
    """Something that moves as a whole.

    Attributes:
        name: what programs show.
        mesh: its mesh.
        translation: ``(T, 3)`` m, animated, or ``(3,)``, fixed.
        rotation: ``(T, 3)`` rad, axis-angle, animated.
        children: nodes that move with it.
    """

    name: str
    mesh: GltfMesh | None = None
    translation: Array | None = None
    rotation: Array | None = None
    children: tuple[GltfNode, ...] = ()


def write_glb(path: str | Path, root: GltfNode, fps: float, *, provenance: Mapping[str, Any] | None = None) -> None:
    """Write a scene with one animation.

    Args:
        path: where to.
        root: what the scene shows.
        fps: frames per second of all animated arrays.
        provenance: what :func:`mien.media.provenance.provenance` returned; it goes into ``asset.extras``.
    """
    Path(path).write_bytes(_Writer(fps).document(root, provenance))


def read_glb_document(path: str | Path) -> dict[str, Any] | None:
    """The JSON part of a ``.glb``, or ``None`` if the file is something else.

    Raises:
        FormatError: if it is damaged.
    """
    with Path(path).open("rb") as file:
        head = file.read(20)
        if head[:4] != b"glTF":
            return None
        try:
            document = json.loads(file.read(int.from_bytes(head[12:16], "little")))
        except ValueError as error:
            raise FormatError(f"{path}: a damaged .glb ({error})", "export it again") from error
    return document if isinstance(document, dict) else {}


class _Writer:
    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._buffer = bytearray()
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []
        self._meshes: list[dict[str, Any]] = []
        self._materials: list[dict[str, Any]] = []
        self._nodes: list[dict[str, Any]] = []
        self._samplers: list[dict[str, Any]] = []
        self._channels: list[dict[str, Any]] = []
        self._times: dict[int, int] = {}

    def document(self, root: GltfNode, provenance: Mapping[str, Any] | None) -> bytes:
        top = self._node(root)
        asset: dict[str, Any] = {"version": "2.0", "generator": f"mien {version('mien')}"}
        if provenance is not None:
            asset["extras"] = {MARK: json.loads(to_text(provenance))}
        content = {
            "asset": asset,
            "scene": 0,
            "scenes": [{"nodes": [top]}],
            "nodes": self._nodes,
            "meshes": self._meshes,
            "materials": self._materials,
            "animations": [{"name": "face", "samplers": self._samplers, "channels": self._channels}],
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": len(self._buffer)}],
        }
        if not self._channels:
            del content["animations"]
        text = json.dumps({key: value for key, value in content.items() if value != []}, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text
        chunks += struct.pack("<I4s", len(self._buffer), b"BIN\0") + bytes(self._buffer)
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks

    def _node(self, node: GltfNode) -> int:
        index = len(self._nodes)
        entry: dict[str, Any] = {"name": node.name}
        self._nodes.append(entry)
        if node.mesh is not None:
            entry["mesh"] = self._mesh(node.mesh, node.name)
            if node.mesh.target_names:
                self._animate(index, "weights", node.mesh.weights)
        if node.translation is not None and node.translation.ndim == 1:
            entry["translation"] = [float(value) for value in node.translation]
        elif node.translation is not None:
            self._animate(index, "translation", node.translation)
        if node.rotation is not None:
            self._animate(index, "rotation", quaternion_from_axis_angle(node.rotation))
        if node.children:
            entry["children"] = [self._node(child) for child in node.children]
        return index

    def _mesh(self, mesh: GltfMesh, name: str) -> int:
        triangles = np.concatenate([part.triangles for part in mesh.parts])
        normals = vertex_normals(mesh.vertices, triangles)
        attributes = {
            "POSITION": self._accessor(mesh.vertices, target=_ARRAY, bounds=True),
            "NORMAL": self._accessor(normals, target=_ARRAY),
        }
        if mesh.uv is not None:
            attributes["TEXCOORD_0"] = self._accessor(mesh.uv * [1, -1] + [0, 1], target=_ARRAY)
        targets = [
            {
                "POSITION": self._sparse(offsets, bounds=True),
                "NORMAL": self._sparse(vertex_normals(mesh.vertices + offsets, triangles) - normals),
            }
            for offsets in mesh.targets
        ]
        primitives = []
        for part in mesh.parts:
            self._materials.append(_material(part))
            indices = self._accessor(part.triangles.reshape(-1, 1), "uint32", target=_INDICES)
            primitives.append({"attributes": attributes, "indices": indices, "material": len(self._materials) - 1})
            if targets:
                primitives[-1]["targets"] = targets
        entry: dict[str, Any] = {"name": name, "primitives": primitives}
        if targets:
            entry |= {"weights": [0.0] * len(targets), "extras": {"targetNames": list(mesh.target_names)}}
        self._meshes.append(entry)
        return len(self._meshes) - 1

    def _animate(self, node: int, path: str, values: Array) -> None:
        n = len(values)
        if n not in self._times:
            self._times[n] = self._accessor(np.arange(n)[:, None] / self._fps, bounds=True)
        output = self._accessor(values.reshape(-1, 1) if path == "weights" else values)
        self._samplers.append({"input": self._times[n], "output": output, "interpolation": "LINEAR"})
        self._channels.append({"sampler": len(self._samplers) - 1, "target": {"node": node, "path": path}})

    def _accessor(
        self, values: npt.ArrayLike, kind: str = "float32", *, target: int | None = None, bounds: bool = False
    ) -> int:
        array = np.ascontiguousarray(values, kind)
        entry = _described(array, kind, bounds) | {"bufferView": self._view(array, target)}
        self._accessors.append(entry)
        return len(self._accessors) - 1

    def _sparse(self, offsets: Array, *, bounds: bool = False) -> int:
        """``(V, 3)`` values of which most are zero; one at least has to be stored."""
        moving = np.flatnonzero(np.abs(offsets).max(1) > _STILL)
        moving = moving if len(moving) else np.zeros(1, np.int64)
        values = np.ascontiguousarray(offsets[moving], np.float32)
        whole = np.zeros(offsets.shape, np.float32)
        whole[moving] = values
        self._accessors.append(
            _described(whole, "float32", bounds)
            | {
                "sparse": {
                    "count": len(moving),
                    "indices": {"bufferView": self._view(moving.astype("<u4")), "componentType": _COMPONENTS["uint32"]},
                    "values": {"bufferView": self._view(values)},
                }
            }
        )
        return len(self._accessors) - 1

    def _view(self, array: npt.NDArray[Any], target: int | None = None) -> int:
        entry = {"buffer": 0, "byteOffset": len(self._buffer), "byteLength": array.nbytes}
        self._buffer += array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        self._views.append(entry if target is None else entry | {"target": target})
        return len(self._views) - 1


def vertex_normals(vertices: Array, triangles: npt.NDArray[Any]) -> Array:
    """``(V, 3)`` unit normals, each the mean over its triangles by area; up where a vertex has no triangle."""
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    area = np.cross(b - a, c - a).astype(np.float64)
    total = np.zeros((len(vertices), 3))
    for corner in range(3):
        for axis in range(3):
            total[:, axis] += np.bincount(triangles[:, corner], area[:, axis], len(vertices))
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 0, total / np.maximum(length, 1e-300), [0, 1, 0]).astype(np.float32)


def _described(array: npt.NDArray[Any], kind: str, bounds: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "componentType": _COMPONENTS[kind],
        "count": len(array),
        "type": {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}[array.shape[1]],
    }
    if bounds:
        entry |= {"min": array.min(0).tolist(), "max": array.max(0).tolist()}
    return entry


def _material(part: GltfPart) -> dict[str, Any]:
    linear = [(channel / 255) ** 2.2 for channel in part.colour]
    return {
        "name": part.name,
        "pbrMetallicRoughness": {"baseColorFactor": [*linear, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.7},
        "doubleSided": True,
    }
