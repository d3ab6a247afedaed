"""FLAME, the head model of Li et al. (SIGGRAPH Asia 2017), from the files its users hold a licence for.

mien ships no FLAME data. It reads the official model of any year (``generic_model.pkl``, ``flame2020.pkl``,
``flame2023*.pkl``, or the ``.npz`` that some programs make of it), the landmark embedding that DECA and others carry
(``landmark_embedding.npy``) and the vertex masks (``FLAME_masks.pkl``). Pickles are read as data (:mod:`mien.pickles`),
so neither chumpy is needed nor can a file run anything.

    v(β, ψ, θ) = skin(template + identity_basis · β + expression_basis · ψ, θ)      see :mod:`mien.face.skinning`

θ are five rotations: head (the root), neck, jaw, left eye, right eye. The root turns about its joint at the bottom of
the neck. Component 0 of the jaw's opens the mouth.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mien.assets import load_npz, sha256_of
from mien.errors import FormatError
from mien.face.skinning import Index, Skeleton
from mien.pickles import read_pickle
from mien.rotations import matrix_from_axis_angle
from mien.types import Array

N_VERTICES = 5023
N_TRIANGLES = 9976
N_IDENTITY = 300
"""Columns of ``shapedirs`` that are identity; the rest are expression."""

JOINT_NAMES = ("head", "neck", "jaw", "eye_left", "eye_right")
PARTS = {"eyeball_left": slice(3931, 4477), "eyeball_right": slice(4477, 5023)}
"""The two closed balls behind the 3,931 vertices of the head, on the official topology."""

FLAME_FORMAT = 1
"""Version of the ``.npz`` that :func:`write_flame` makes."""

_KEYS = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")
_ORIGINAL = "use the model file from https://flame.is.tue.mpg.de as it was downloaded"

YawSign = Literal["deca", "smplx"]


@dataclass(frozen=True, eq=False)
class Embedding:
    """Points fixed to a mesh.

    Attributes:
        triangles: ``(..., N)`` the triangle of each point.
        weights: ``(..., N, 3)`` its barycentric coordinates.
    """

    triangles: npt.NDArray[np.int64]
    weights: Array

    def points(self, vertices: Array, triangles: npt.NDArray[Any]) -> Array:
        """``(T, N, 3)`` m: the points on a mesh ``(T, V, 3)`` with ``(F, 3)`` triangles."""
        corners = vertices[:, triangles[self.triangles]]
        return np.asarray(np.einsum("tnkx,nk->tnx", corners, self.weights), np.float32)


@dataclass(frozen=True, eq=False)
class FlameLandmarks:
    """The 68 points of iBUG on FLAME, in its order.

    Attributes:
        static: 51 points from the brows to the mouth, fixed to the skin.
        contour: for each of 79 yaws the 17 points of the outline as the camera sees it.
        full: all 68 fixed to the skin.
    """

    static: Embedding
    contour: Embedding
    full: Embedding

    def seen(self, vertices: Array, triangles: Index, rotations: Array, sign: YawSign = "deca") -> Array:
        """The 68 points ``(T, 68, 3)`` as a picture shows them: the outline moves over the skin as the head turns.

        Args:
            vertices: ``(T, V, 3)`` m, posed.
            triangles: of the model.
            rotations: ``(T, 5, 3)`` rad, the pose of ``vertices``.
            sign: see :func:`contour_rows`.
        """
        rows = contour_rows(rotations, sign)
        corners = triangles[self.contour.triangles[rows]]
        chosen = vertices[np.arange(len(rows))[:, None, None], corners]
        outline = np.einsum("tnkx,tnk->tnx", chosen, self.contour.weights[rows])
        return np.concatenate([outline, self.static.points(vertices, triangles)], 1).astype(np.float32)


def contour_rows(rotations: Array, sign: YawSign = "deca") -> npt.NDArray[np.int64]:
    """Which of the 79 outlines each pose ``(T, 5, 3)`` shows: ``(T,)``.

    With ``y`` the yaw in whole degrees, at most 39: row ``y`` if it is positive, ``39 - y`` down to -39, else 78.
    The two programs that use the table disagree about it, and both are kept, for networks were trained with each:

    * ``"deca"``: ``y`` is the Euler angle of head and neck together, positive when the head turns to its left.
    * ``"smplx"``: its negative, of the head alone.
    """
    matrices = matrix_from_axis_angle(rotations[:, :2])
    turn = matrices[:, 0] if sign == "smplx" else matrices[:, 0] @ matrices[:, 1]
    yaw = np.arctan2(-turn[:, 2, 0], np.hypot(turn[:, 0, 0], turn[:, 1, 0]))
    degrees = np.round(np.minimum(np.rad2deg(-yaw if sign == "smplx" else yaw), 39)).astype(np.int64)
    return np.where(degrees >= 0, degrees, np.where(degrees < -39, 78, 39 - degrees))


@dataclass(frozen=True, eq=False, repr=False)
class FlameModel:
    """What a model file holds.

    Attributes:
        template: ``(V, 3)`` m.
        triangles: ``(F, 3)``.
        identity_basis: ``(S, V, 3)`` m per standard deviation.
        expression_basis: ``(E, V, 3)`` m per standard deviation; opening the jaw is not among them.
        skeleton: five joints, see :data:`JOINT_NAMES`.
        source: name and SHA-256 of the file it came from.
        landmarks: the 68 points, if their file was given.
        masks: vertices by name (``"lips"``, ``"face"``, ``"scalp"``, ...), if their file was given.
    """

    template: Array
    triangles: Index
    identity_basis: Array
    expression_basis: Array
    skeleton: Skeleton
    source: Mapping[str, str]
    landmarks: FlameLandmarks | None = None
    masks: Mapping[str, Index] | None = None


def read_flame(path: str | Path, *, landmarks: str | Path | None = None, masks: str | Path | None = None) -> FlameModel:
    """A FLAME model from the official pickle or from an ``.npz`` with the same keys.

    Args:
        path: the model.
        landmarks: ``landmark_embedding.npy``.
        masks: ``FLAME_masks.pkl``.

    Raises:
        InputError: if a file is missing.
        FormatError: if a file is damaged, holds anything but data, or is no FLAME model; the message says which part.
    """
    path = Path(path)
    source, n_identity = {"name": path.name}, N_IDENTITY
    if path.suffix.lower() == ".npz":
        header, content = load_npz(path)
        source |= header.get("source", {})
        n_identity = int(header.get("n_identity", N_IDENTITY))
    else:
        content = read_pickle(path)
    missing = [key for key in _KEYS if key not in content] if isinstance(content, dict) else list(_KEYS)
    if missing:
        raise FormatError(f"{path}: no FLAME model, it is without {', '.join(missing)}", _ORIGINAL)
    try:
        model = _model(content, n_identity, source | {"sha256": source.get("sha256") or sha256_of(path)})
    except (ValueError, TypeError, IndexError) as error:
        raise FormatError(f"{path}: no FLAME model ({error})", _ORIGINAL) from error
    own = {key: content[key] for key in content if key.startswith(("landmarks_", "mask_"))}
    return replace(
        model,
        landmarks=read_landmarks(landmarks) if landmarks else _stored_landmarks(own),
        masks=read_masks(masks) if masks else _stored_masks(own),
    )


def _model(content: Mapping[str, Any], n_identity: int, source: Mapping[str, str]) -> FlameModel:
    template = _floats(content["v_template"], "v_template", (None, 3))
    n = len(template)
    directions = _floats(content["shapedirs"], "shapedirs", (n, 3, None))
    correctives = _floats(content["posedirs"], "posedirs", (n, 3, 36))
    bases = np.ascontiguousarray(np.moveaxis(directions, 2, 0))
    triangles = np.asarray(content["f"]).astype(np.int32)
    if triangles.ndim != 2 or triangles.shape[1] != 3 or triangles.min() < 0 or triangles.max() >= n:
        raise ValueError(f"f: triangles {triangles.shape} that do not fit {n} vertices")
    # The root's parent is stored as 4294967295, -1 in unsigned.
    parents = np.asarray(content["kintree_table"]).astype(np.int64)[0]
    parents = np.where(parents >= len(parents), -1, parents)
    if len(parents) != len(JOINT_NAMES) or parents[0] != -1 or (parents[1:] >= np.arange(1, len(parents))).any():
        raise ValueError(f"kintree_table: no tree of five joints with the root first, parents {parents.tolist()}")
    return FlameModel(
        template=template,
        triangles=_still(triangles),
        identity_basis=_still(bases[:n_identity]),
        expression_basis=_still(bases[n_identity:]),
        skeleton=Skeleton(
            JOINT_NAMES,
            _still(parents.astype(np.int32)),
            _floats(content["J_regressor"], "J_regressor", (5, n)),
            _floats(content["weights"], "weights", (n, 5)),
            _still(np.ascontiguousarray(np.moveaxis(correctives, 2, 0))),
        ),
        source=MappingProxyType(dict(source)),
    )


def write_flame(path: str | Path, model: FlameModel, licence: str = "") -> None:
    """Write a model as ``.npz`` with the official keys, quicker to read and for programs that refuse pickles.

    Args:
        path: where to.
        model: what to write, with its landmarks and masks.
        licence: what the publisher says; it goes into the header beside name and SHA-256 of the original.
    """
    header = {
        "format": "mien.Flame",
        "version": FLAME_FORMAT,
        "source": dict(model.source),
        "licence": licence,
        "n_identity": len(model.identity_basis),
    }
    arrays: dict[str, Any] = {
        "v_template": model.template,
        "f": model.triangles,
        "shapedirs": np.moveaxis(np.concatenate([model.identity_basis, model.expression_basis]), 0, 2),
        "posedirs": np.moveaxis(model.skeleton.pose_basis, 0, 2),
        "J_regressor": model.skeleton.joint_regressor,
        "weights": model.skeleton.skinning_weights,
        "kintree_table": np.stack([model.skeleton.parents, np.arange(len(JOINT_NAMES), dtype=np.int32)]),
    }
    if model.landmarks is not None:
        for name in ("static", "contour", "full"):
            embedding = getattr(model.landmarks, name)
            arrays |= {
                f"landmarks_{name}_triangles": embedding.triangles,
                f"landmarks_{name}_weights": embedding.weights,
            }
    arrays |= {f"mask_{name}": vertices for name, vertices in (model.masks or {}).items()}
    with Path(path).open("wb") as file:
        np.savez_compressed(file, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)


def read_landmarks(path: str | Path) -> FlameLandmarks:
    """The landmark embedding that DECA, SMIRK and others carry as ``landmark_embedding.npy``.

    Raises:
        InputError: if the file is missing.
        FormatError: if it is something else.
    """
    content = read_pickle(path)
    try:
        table = content[()] if isinstance(content, np.ndarray) else content
        return FlameLandmarks(
            *(
                _embedding(table[f"{name}_lmk_faces_idx"], table[f"{name}_lmk_bary_coords"], shape)
                for name, shape in (("static", (51,)), ("dynamic", (79, 17)), ("full", (68,)))
            )
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise FormatError(
            f"{path}: no landmark embedding ({error})", "use landmark_embedding.npy as it came with DECA"
        ) from error


def read_masks(path: str | Path) -> Mapping[str, Index]:
    """Vertices by name from ``FLAME_masks.pkl``.

    Raises:
        InputError: if the file is missing.
        FormatError: if it is something else.
    """
    content = read_pickle(path)
    try:
        masks = {str(name): _still(np.asarray(at).astype(np.int32)) for name, at in content.items()}
        if not masks or any(mask.ndim != 1 or mask.min(initial=0) < 0 for mask in masks.values()):
            raise ValueError("not lists of vertices")
    except (AttributeError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: no vertex masks ({error})", "use FLAME_masks.pkl from the FLAME site") from error
    return MappingProxyType(masks)


def _embedding(triangles: Any, weights: Any, shape: tuple[int, ...]) -> Embedding:
    return Embedding(
        _still(np.asarray(triangles).astype(np.int64).reshape(shape)),
        _floats(np.asarray(weights).reshape(*shape, 3), "weights", (*shape, 3)),
    )


def _stored_landmarks(arrays: Mapping[str, Any]) -> FlameLandmarks | None:
    if "landmarks_full_triangles" not in arrays:
        return None
    return FlameLandmarks(
        *(
            Embedding(arrays[f"landmarks_{name}_triangles"], arrays[f"landmarks_{name}_weights"])
            for name in ("static", "contour", "full")
        )
    )


def _stored_masks(arrays: Mapping[str, Any]) -> Mapping[str, Index] | None:
    masks = {key.removeprefix("mask_"): value for key, value in arrays.items() if key.startswith("mask_")}
    return MappingProxyType(masks) if masks else None


def _floats(values: Any, name: str, shape: tuple[int | None, ...]) -> Array:
    array = np.array(values, np.float32)
    if array.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, array.shape, strict=True)):
        raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: contains NaN or infinity")
    return _still(array)


def _still(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.setflags(write=False)
    return array
