"""ICT-FaceKit Light (Li et al., CVPR 2020; MIT) as a rig: a whole head of 26,719 vertices with teeth and eyes.

Its expressions carry ARKit's names with ``_L`` and ``_R`` for sides; two of ARKit's are split in halves there and are
put together again; ``tongueOut`` is missing. The built-in rig was read off ICT's mesh, so both stand in the same place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.errors import AssetError
from mien.face.parts import split_eye
from mien.face.rig import RIG_FORMAT
from mien.types import Array

_CENTIMETRE = 0.01
_HALVED = ("browInnerUp", "cheekPuff")
_EXTRA = ("cheekRaiser_L", "cheekRaiser_R")  # not in ICT's own list of names, but beside the others
_POLYGONS = {
    "skin": (0, 11144), "cavity": (11144, 13226), "socket_left": (13226, 13630), "socket_right": (13630, 14034),
    "tongue": (14034, 17006), "teeth_upper": (17006, 19250), "teeth_lower": (19250, 21496),
    "eye_left": (21496, 22296), "inner_left": (22296, 23094), "eye_right": (23094, 23894),
    "inner_right": (23894, 24692), "fluid": (24692, 25304), "lashes": (25304, 26384),
}  # fmt: skip
"""Polygons of each part, from its README.

An eye is a clear ball with a smaller coloured one within; here the outer one is coloured. ``fluid`` lies over both.
"""
_PARTS = {
    "face": (0, 9409), "gums_and_tongue": (14062, 17039), "teeth_upper": (17039, 19247), "teeth_lower": (19247, 21451),
    "eyeball_left": (21451, 23021), "eyeball_right": (23021, 24591),
}  # fmt: skip
"""Vertices of each part, from its README."""


def arkit_name(name: str) -> str:
    """``eyeBlink_L`` is ARKit's ``eyeBlinkLeft``; the halves of a name that ARKit does not split are one name."""
    stem, _, side = name.partition("_")
    return stem if stem in _HALVED else stem + {"L": "Left", "R": "Right", "": ""}[side]


def write_ict_rig(path: str | Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Make mien's rig file of the original meshes.

    Args:
        path: where to, ``.npz``.
        files: path and content of each original file, as :func:`mien.assets.fetch` yields them.

    Raises:
        AssetError: if a mesh is not one of ICT-FaceKit Light.
    """
    meshes: dict[str, Array] = {}
    lists: dict[str, Any] = {}
    neutral, licence = b"", ""
    for name, content in files:
        stem = Path(name).stem
        if name.endswith(".obj"):
            meshes[stem] = _vertices(content)
            neutral = content if stem == "generic_neutral_mesh" else neutral
        elif name.endswith(".json"):
            lists = json.loads(content)
        elif stem == "LICENSE":
            licence = content.decode()
    try:
        header, arrays = _rig(meshes, neutral, lists)
    except (KeyError, ValueError, IndexError) as error:
        raise AssetError(f"ICT-FaceKit: its files do not fit together ({error})", "fetch it again") from error
    header["licence"] = licence
    with Path(path).open("wb") as file:
        np.savez(file, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)


def _rig(meshes: dict[str, Array], neutral: bytes, lists: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    template = meshes["generic_neutral_mesh"]
    expressions: dict[str, Array] = {}
    for name in (*lists["expressions"], *_EXTRA):
        known = expressions.get(arkit_name(name), np.zeros_like(template))
        expressions[arkit_name(name)] = known + meshes[name] - template
    identities = [meshes[name] - template for name in sorted(meshes) if name.startswith("identity")]
    triangles, triangle_parts, uv = _topology(neutral, template)
    header = {
        "format": "mien.Rig",
        "version": RIG_FORMAT,
        "name": "ict",
        "expression_names": list(expressions),
        "region_names": [],
        "parts": _PARTS,
        "triangle_parts": triangle_parts,
        "landmark_indices_68": lists["idx_to_landmark_verts"],
        "contours": {},
        "closures": {},
    }
    return header, {
        "template": template,
        "triangles": triangles,
        "identity_basis": np.stack(identities),
        "expression_basis": np.stack(list(expressions.values())),
        "regions": np.zeros((0, len(template)), np.float32),
        "uv": uv,
        "lid_spread": np.zeros((0, 14), np.float32),
        "part_anchors": np.zeros((0, 478), np.float32),
    }


def _vertices(text: bytes) -> Array:
    rows = b"".join(line[1:] for line in text.splitlines() if line.startswith(b"v "))
    numbers = np.array(rows.split(), np.float64).reshape(-1, 3)
    return (numbers * _CENTIMETRE).astype(np.float32)


def _topology(text: bytes, template: Array) -> tuple[npt.NDArray[np.int32], dict[str, list[int]], Array]:
    """Triangles of the polygons, where each part's are, and one uv per vertex (seams keep the first)."""
    corners = np.array([line.split()[1:3] for line in text.splitlines() if line.startswith(b"vt ")], np.float32)
    uv = np.zeros((len(template), 2), np.float32)
    triangles: list[tuple[int, int, int]] = []
    ends = [0]
    polygons = (line.split()[1:] for line in text.splitlines() if line.startswith(b"f "))
    for polygon in polygons:
        pairs = [[int(number) - 1 for number in corner.split(b"/")[:2]] for corner in polygon]
        for vertex, at in reversed(pairs):
            uv[vertex] = corners[at]
        points = [vertex for vertex, _ in pairs]
        triangles += [(points[0], points[k], points[k + 1]) for k in range(1, len(points) - 1)]
        ends.append(len(triangles))
    parts = {name: [ends[start], ends[stop]] for name, (start, stop) in _POLYGONS.items()}
    array = np.array(triangles, np.int32)
    for side in ("left", "right"):
        start, stop = parts.pop(f"eye_{side}")
        array[start:stop], kinds = split_eye(template, array[start:stop])
        parts |= {f"{kind}_{side}": [start + at.start, start + at.stop] for kind, at in kinds.items()}
    return array, parts, uv
