"""Meshes in files: Wavefront ``.obj`` and Stanford ``.ply``, as sequences of frames or as one template."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mien.errors import FormatError
from mien.media.image import require_file
from mien.media.output import atomic_output, output_error
from mien.types import Array

MeshKind = Literal["obj", "ply"]
FRAME_NAME = "frame_{:06d}.{}"
"""Names of the meshes in a folder, counted from 0."""

_PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip


def write_meshes(
    folder: str | Path, frames: Iterable[Array], triangles: npt.NDArray[Any], kind: MeshKind = "obj"
) -> int:
    """Write one mesh per frame into a folder; whole or not at all.

    Args:
        folder: where to; it may be replaced if it holds frames only.
        frames: ``(V, 3)`` m each.
        triangles: ``(F, 3)`` of all frames.
        kind: text (``"obj"``) or binary (``"ply"``).

    Returns:
        The number of frames.

    Raises:
        OutputError: if the place cannot be written.
    """
    encode = _ply(triangles) if kind == "ply" else _obj(triangles)
    n = 0
    with atomic_output(folder, folder=True) as temporary:
        for n, vertices in enumerate(frames, 1):
            content = encode(vertices)
            try:
                (temporary / FRAME_NAME.format(n - 1, kind)).write_bytes(content)
            except OSError as error:
                raise output_error(folder, error) from error
    return n


def read_vertices(path: str | Path) -> Array:
    """The vertices ``(V, 3)`` of an ``.obj`` or ``.ply`` (text or binary) in their order; units are taken as metres.

    Raises:
        InputError: if the file cannot be read.
        FormatError: if it is damaged or something else.
    """
    path = require_file(path, "mesh")
    try:
        content = path.read_bytes()
        vertices = _read_ply(content) if content[:3] == b"ply" else _read_obj(content)
    except (ValueError, KeyError, IndexError, TypeError, StopIteration, OSError) as error:
        raise FormatError(f"{path}: not an .obj or .ply mesh ({error})", "export it again as one of these") from error
    if not np.isfinite(vertices).all():
        raise FormatError(f"{path}: has vertices that are no numbers", "export it again")
    return vertices


def _obj(triangles: npt.NDArray[Any]) -> Any:
    faces = "".join(f"f {a} {b} {c}\n" for a, b, c in (np.asarray(triangles) + 1).tolist())
    return lambda vertices: ("".join(f"v {x:.6f} {y:.6f} {z:.6f}\n" for x, y, z in vertices.tolist()) + faces).encode()


def _ply(triangles: npt.NDArray[Any]) -> Any:
    faces = np.zeros(len(triangles), [("n", "u1"), ("corners", "<i4", 3)])
    faces["n"], faces["corners"] = 3, triangles

    def encode(vertices: Array) -> bytes:
        header = (
            f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n"
            "property float x\nproperty float y\nproperty float z\n"
            f"element face {len(triangles)}\nproperty list uchar int vertex_indices\nend_header\n"
        )
        return header.encode() + vertices.astype("<f4").tobytes() + faces.tobytes()

    return encode


def _read_obj(content: bytes) -> Array:
    rows = [line.split()[1:4] for line in content.split(b"\n") if line.startswith((b"v ", b"v\t"))]
    if not rows:
        raise ValueError("it has no vertices")
    return np.array([[float(number) for number in row] for row in rows], np.float32).reshape(-1, 3)


def _read_ply(content: bytes) -> Array:
    end = content.index(b"end_header")
    body = content[content.index(b"\n", end) + 1 :]
    lines = [line.split() for line in content[:end].decode("ascii").splitlines()]
    encoding = next(line[1] for line in lines if line[:1] == ["format"])
    start = next(i for i, line in enumerate(lines) if line[:1] == ["element"])
    if lines[start][1] != "vertex":
        raise ValueError("its vertices do not come first")
    n = int(lines[start][2])
    properties = []
    for line in lines[start + 1 :]:
        if line[:1] != ["property"]:
            break
        properties.append((line[2], _PLY_TYPES[line[1]]))
    names = [name for name, _ in properties]
    if encoding == "ascii":
        table = np.array([row.split()[: len(names)] for row in body.split(b"\n")[:n]], float).reshape(n, len(names))
        return np.stack([table[:, names.index(axis)] for axis in "xyz"], 1).astype(np.float32)
    order = ">" if encoding == "binary_big_endian" else "<"
    records = np.frombuffer(body, [(name, order + kind) for name, kind in properties], n)
    return np.stack([records[axis] for axis in "xyz"], 1).astype(np.float32)
