"""Reading the rig's sources: MediaPipe's canonical face and ICT-FaceKit's meshes."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

CENTIMETRE = 0.01
ICT_FACE = slice(0, 9409)
ICT_EYEBALL = {"left": slice(21451, 23021), "right": slice(23021, 24591)}
ICT_TEETH_UPPER = (
    (17230, 17416), (17416, 17607), (17607, 17730), (17730, 17895), (17895, 17991), (17991, 18067), (18067, 18143),
    (18143, 18219), (18219, 18295), (18295, 18391), (18391, 18556), (18556, 18679), (18679, 18870), (18870, 19056),
)  # fmt: skip
"""Vertex ranges of the fourteen upper teeth, left to right of the subject, without wisdom teeth (its README)."""
ICT_TEETH_LOWER = (
    (19426, 19602), (19602, 19814), (19814, 19952), (19952, 20079), (20079, 20169), (20169, 20263), (20263, 20349),
    (20349, 20435), (20435, 20529), (20529, 20619), (20619, 20746), (20746, 20884), (20884, 21096), (21096, 21272),
)  # fmt: skip


@dataclass(frozen=True)
class Mesh:
    """``vertices`` (V, 3) in metres, ``triangles`` (F, 3), ``uv`` (V, 2)."""

    vertices: Array
    triangles: Index
    uv: Array


@dataclass(frozen=True)
class Ict:
    """ICT-FaceKit: ``neutral`` (V, 3) m, ``triangles``, ``landmarks_68``, displacements by name and mode of identity.

    The 100 identity modes have a standard deviation of one each.
    """

    neutral: Array
    triangles: Index
    landmarks_68: Index
    expressions: dict[str, Array]
    identities: Array


def _vertices(text: bytes) -> Array:
    rows = b"\n".join(line[2:] for line in text.split(b"\n") if line.startswith(b"v "))
    return np.loadtxt(io.BytesIO(rows), dtype=np.float64)[:, :3] * CENTIMETRE


def _faces(text: bytes) -> list[list[list[int]]]:
    lines = (line.split()[1:] for line in text.split(b"\n") if line.startswith(b"f "))
    return [[[int(n) - 1 for n in corner.split(b"/") if n] for corner in line] for line in lines]


def read_canonical(path: Path) -> Mesh:
    """MediaPipe's 468-vertex canonical face with one uv per vertex."""
    text = path.read_bytes()
    faces = _faces(text)
    corner_uv = np.array([line.split()[1:3] for line in text.split(b"\n") if line.startswith(b"vt ")], float)
    vertices = _vertices(text)
    uv = np.zeros((len(vertices), 2))
    for face in faces:
        for corner in face:
            uv[corner[0]] = corner_uv[corner[1]]
    return Mesh(vertices, np.array([[corner[0] for corner in face] for face in faces]), uv)


def _members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        archive.extraction_filter = tarfile.data_filter
        members: dict[str, bytes] = {}
        for member in archive:
            stream = archive.extractfile(member)
            if stream is not None:
                members[Path(member.name).name] = stream.read()
        return members


def read_ict(folder: Path) -> Ict:
    """Neutral mesh, 57 expressions and 100 identities; the last two as displacements from the neutral."""
    files = _members(folder / "ict_expressions.tar.xz")
    neutral = _vertices(files["generic_neutral_mesh.obj"])
    triangles: list[tuple[int, int, int]] = []
    for face in _faces(files["generic_neutral_mesh.obj"]):
        corners = [corner[0] for corner in face]
        triangles += [(corners[0], corners[k], corners[k + 1]) for k in range(1, len(corners) - 1)]
    names = json.loads(files["vertex_indices.json"])
    expressions = {name: _vertices(files[f"{name}.obj"]) - neutral for name in names["expressions"]}
    identities = _members(folder / "ict_identities.tar.xz")
    shapes = [_vertices(identities[name]) - neutral for name in sorted(identities) if name.startswith("identity")]
    return Ict(
        neutral,
        np.array(triangles),
        np.array(names["idx_to_landmark_verts"]),
        expressions,
        np.stack(shapes),
    )
