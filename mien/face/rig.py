"""The face rig: a template, an identity basis, named expressions, soft regions, eyeballs and a mouth.

Convention: metres; x to the subject's left, y up, z out of the face towards the camera; the first 478 vertices are
mediapipe's landmarks in its order (468 of the skin, then the right and the left iris). Left and right are the
subject's. An expression at weight 1 is the full movement that Apple's name stands for; movements add up.

    vertices = template + identity_basis · betas + residual + expressions_for(identity) · weights + offsets
    posed    = R(head_pose) · vertices + translation, eyeballs and irises turned by eye_pose about their centres first

The ``eyeLook*`` shapes move the lids only: where the eyes look is ``eye_pose``, and :data:`GAZE_ANGLE` ties the two.
The jaw opens by ``jawOpen``; lower teeth and tongue go with it.

That is the built-in rig. Another rig may lack parts (its collections are then empty), and one with a skeleton (FLAME)
is bent by it instead: head, jaw and eyes turn about their joints, and ``jaw_pose`` opens the mouth.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib.resources import as_file, files
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.assets import asset_file, cache_folder, find_asset
from mien.errors import AssetError, InputError
from mien.face.flame import PARTS, FlameModel, read_flame
from mien.face.flame_regions import MASKS, regions_of_masks
from mien.face.parts import sort_triangles
from mien.face.skinning import Skeleton
from mien.face.solve import jaw_and_expression, non_negative
from mien.rotations import matrix_from_axis_angle
from mien.types import Array, FaceIdentity, FaceMotion

Index = npt.NDArray[np.int32]

RIG_FORMAT = 1
"""Version of the ``.npz`` layout that ``scripts/build_rig.py`` writes."""

_LANDMARK_NOISE = 5e-4  # metres: landmarks of two rigs mean the same place to within this
GAZE_ANGLE = 0.55
"""How far an eye has turned when an ``eyeLook*`` weight is 1, radians.

Between what phones capture: about 0.45 for up, 0.6 for in, 0.7 for down and 0.8 for out.
"""

_ARRAYS = (
    "template",
    "triangles",
    "identity_basis",
    "expression_basis",
    "regions",
    "uv",
    "lid_spread",
    "part_anchors",
)


@dataclass(frozen=True, eq=False, repr=False)
class Rig:
    """A face that can be anybody's and can move; all arrays are read-only.

    Attributes:
        name: what ``FaceMotion.rig`` and ``FaceIdentity.rig`` refer to.
        template: ``(V, 3)`` m, the mean neutral face, eyes open, lips touching.
        triangles: ``(F, 3)`` int32, counter-clockwise seen from outside.
        identity_basis: ``(S, V, 3)`` m per standard deviation.
        expression_names: the names of the expressions.
        expression_basis: ``(E, V, 3)`` m at weight 1 on the template; see :meth:`expressions_for`.
        regions: per region ``(V,)`` in [0, 1]; over the twelve regions they sum to 1 at every vertex.
        parts: per part its vertices: ``"landmarks"``, ``"eyeball_left"``, ``"teeth_upper"``, ``"tongue"`` and so on.
        triangle_parts: per part its triangles: ``"skin"``, ``"mouth"`` (the patch that closes the lips), ...
        uv: ``(V, 2)`` in [0, 1], v up; per part where the parts have textures of their own.
        landmark_indices_68: ``(68,)`` vertices of the iBUG 68 points.
        contours: ordered vertex loops by name: ``"face_oval"``, ``"lips_outer"``, ``"lips_inner"``, ``"eye_left"``,
            ``"eye_right"``; the lips start at the subject's right corner along the upper lip, the eyes at the outer
            corner along the upper lid.
        closures: pairs ``(N, 2)`` of vertices that meet when something closes, the upper one first: ``"lips"``,
            ``"eye_left"``, ``"eye_right"``.
        textures: ``(h, w, 4)`` uint8 RGBA by part: ``"teeth_upper"``, ``"teeth_lower"``.
        lid_spread: ``(V, 14)`` see :meth:`expressions_for`.
        part_anchors: ``(V - 478, 478)`` see :meth:`extend`.
        skeleton: joints that bend the mesh, or ``None`` if head and eyes only turn rigidly.
    """

    name: str
    template: Array
    triangles: Index
    identity_basis: Array
    expression_names: tuple[str, ...]
    expression_basis: Array
    regions: Mapping[str, Array]
    parts: Mapping[str, slice]
    triangle_parts: Mapping[str, slice]
    uv: Array
    landmark_indices_68: Index
    contours: Mapping[str, Index]
    closures: Mapping[str, Index]
    textures: Mapping[str, npt.NDArray[np.uint8]]
    lid_spread: Array
    part_anchors: Array
    skeleton: Skeleton | None = None

    @property
    def n_vertices(self) -> int:
        """Number of vertices, the inner parts included."""
        return len(self.template)

    @cached_property
    def expression_index(self) -> Mapping[str, int]:
        """The column of each expression name."""
        return MappingProxyType({name: index for index, name in enumerate(self.expression_names)})

    def region(self, name: str) -> Array:
        """The ``(V,)`` mask of a region, or of both its sides together: ``"mouth_left"`` or ``"mouth"``.

        Raises:
            KeyError: if there is no such region; the message lists the names.
        """
        if name in self.regions:
            return self.regions[name]
        if f"{name}_left" in self.regions:
            return np.asarray(self.regions[f"{name}_left"] + self.regions[f"{name}_right"], np.float32)
        raise KeyError(f"{name}: no such region; there are {', '.join(self.regions)}")

    def neutral(self, identity: FaceIdentity | None = None) -> Array:
        """The ``(V, 3)`` neutral face of a person in metres; the template without ``identity``.

        Raises:
            ValueError: if the identity belongs to another rig or has the wrong number of coefficients.
        """
        if identity is None:
            return self.template
        self._check_identity(identity)
        shape = np.tensordot(identity.betas, self.identity_basis, 1)
        return np.asarray(self.template + shape + identity.residual, np.float32)

    def expressions_for(self, identity: FaceIdentity | None = None) -> Array:
        """The ``(E, V, 3)`` expressions in metres as this person makes them.

        They are the basis, but for the blinks: at weight 1 they close the lids exactly, however wide this person's
        eyes are. ``lid_spread`` carries the difference of each pair's gap to the upper lid around it.
        """
        if identity is None or not len(self.lid_spread):
            return self.expression_basis
        change = self.neutral(identity) - self.template
        basis = self.expression_basis.copy()
        for name, closure, columns in (
            ("eyeBlinkLeft", "eye_left", slice(0, 7)),
            ("eyeBlinkRight", "eye_right", slice(7, 14)),
        ):
            pairs = self.closures[closure]
            gap = change[pairs[:, 0]] - change[pairs[:, 1]]
            basis[self.expression_index[name]] -= self.lid_spread[:, columns] @ gap
        return basis

    def extend(self, landmark_offsets: npt.ArrayLike) -> Array:
        """Displacements of the 478 landmarks ``(..., 478, 3)`` carried on to all vertices ``(..., V, 3)``, metres.

        Eyeballs go with the rim of their eye, teeth, tongue and cavity with the lips, so that a face fitted to
        landmarks keeps its inner parts where they belong.
        """
        offsets = np.asarray(landmark_offsets, np.float32)
        inner = np.einsum("vk,...kx->...vx", self.part_anchors, offsets)
        return np.concatenate([offsets, inner], axis=-2)

    def vertices(self, motion: FaceMotion, identity: FaceIdentity | None = None) -> Array:
        """The deformed face ``(T, V, 3)`` in metres before :meth:`pose`.

        Raises:
            ValueError: if the motion is not on this rig (see :func:`retarget`) or an offset has the wrong size.
        """
        self._check_motion(motion)
        columns = [self.expression_index[name] for name in motion.expression_names]
        basis = self.expressions_for(identity)[columns]
        moved = np.tensordot(motion.expression, basis, 1) + self.neutral(identity)
        if motion.offsets is not None:
            moved = moved + motion.offsets
        return np.asarray(moved, np.float32)

    def pose(self, vertices: Array, motion: FaceMotion) -> Array:
        """``vertices`` ``(T, V, 3)`` with the gaze, head pose and translation of ``motion``, metres."""
        if self.skeleton is not None:
            rotations = self._joint_rotations(motion)
            return np.asarray(self.skeleton.pose(vertices, rotations) + motion.translation[:, None], np.float32)
        posed = np.array(vertices, np.float32)
        if np.any(motion.eye_pose):
            turns = matrix_from_axis_angle(motion.eye_pose)
            for eye, side in enumerate(("left", "right")):
                centre = self.eye_centre(posed, side)[:, None]
                for name in (f"eyeball_{side}", f"iris_{side}"):
                    part = self.parts.get(name, slice(0))
                    posed[:, part] = (posed[:, part] - centre) @ turns[:, eye].transpose(0, 2, 1) + centre
        head = matrix_from_axis_angle(motion.head_pose)
        return np.asarray(posed @ head.transpose(0, 2, 1) + motion.translation[:, None], np.float32)

    def eye_centre(self, vertices: Array, side: str) -> Array:
        """``(..., 3)`` m: what the ``"left"`` or ``"right"`` eye of ``(..., V, 3)`` vertices turns about.

        The middle of the ball's extent; its mean would lie nearer to where its vertices are dense.
        """
        ball = vertices[..., self.parts[f"eyeball_{side}"], :]
        return np.asarray((ball.min(-2) + ball.max(-2)) / 2, np.float32)

    def _joint_rotations(self, motion: FaceMotion) -> Array:
        """``(T, J, 3)`` rad; a motion says nothing about the neck."""
        known = {
            "head": motion.head_pose,
            "jaw": motion.jaw_pose,
            "eye_left": motion.eye_pose[:, 0],
            "eye_right": motion.eye_pose[:, 1],
        }
        still = np.zeros_like(motion.head_pose)
        names = self.skeleton.joint_names if self.skeleton else ()
        return np.stack([known.get(name, still) for name in names], 1)

    def _check_identity(self, identity: FaceIdentity) -> None:
        if identity.rig != self.name:
            raise ValueError(f"identity: belongs to rig {identity.rig!r}, not {self.name!r}")
        if len(identity.betas) != len(self.identity_basis):
            raise ValueError(f"betas: expected {len(self.identity_basis)} coefficients, got {len(identity.betas)}")
        if len(identity.residual) != self.n_vertices:
            raise ValueError(f"residual: expected {self.n_vertices} vertices, got {len(identity.residual)}")

    def _check_motion(self, motion: FaceMotion) -> None:
        unknown = [name for name in motion.expression_names if name not in self.expression_index]
        if motion.rig != self.name or unknown:
            raise ValueError(f"motion: made for rig {motion.rig!r}, not {self.name!r}; retarget it first")
        if motion.offsets is not None and motion.offsets.shape[1] != self.n_vertices:
            raise ValueError(f"offsets: expected {self.n_vertices} vertices, got {motion.offsets.shape[1]}")


def retarget(motion: FaceMotion, rig: Rig) -> tuple[FaceMotion, float]:
    """``motion`` in the expression space of ``rig``, and what is lost: the RMS landmark distance in metres.

    A motion that is on ``rig`` already comes back as it is with 0. Expressions whose names ``rig`` knows keep their
    weights. What the source's other movements (unknown names, per-vertex offsets, a jaw on a joint) do to the
    landmarks both rigs share is matched by least squares: non-negative with the names that are still free, or, if
    ``rig`` has joints, with its expressions and its jaw. Head pose and gaze pass unchanged. The unmatched rest is
    the residual.

    Raises:
        AssetError: if the motion's rig is not there.
        InputError: if a rig has no landmarks.
        ValueError: if expressions of the motion are missing on its rig.
    """
    if motion.rig == rig.name:
        return motion, 0.0
    source = load_rig(motion.rig)
    common = _common_landmarks(source, rig)
    origin, landmarks = source.template[common[0]], rig.template[common[1]]
    joints = source.skeleton is not None or rig.skeleton is not None
    scale = float(landmarks.std(0).mean() / origin.std(0).mean()) if joints else 1.0
    wanted = _landmark_movements(source, motion, common[0]) * scale
    moved = replace(
        FaceMotion.zeros(len(motion), motion.fps, rig.name, rig.expression_names),
        head_pose=motion.head_pose,
        eye_pose=motion.eye_pose,
        translation=motion.translation,
    )
    if joints:
        moved = replace(moved, translation=_translation(motion, source, rig, scale, landmarks - origin * scale))
    if rig.skeleton is not None:
        expression, jaw, left = jaw_and_expression(
            rig.skeleton, rig.template, rig.expression_basis, landmarks + wanted, common[1], _LANDMARK_NOISE
        )
        residual = float(np.sqrt((left**2).mean())) if len(left) else 0.0
        return replace(moved, expression=expression, jaw_pose=jaw), residual

    weights, residual = _named_weights(source, rig, motion, wanted, common[1])
    return replace(moved, expression=weights.astype(np.float32)), residual


def _named_weights(
    source: Rig, rig: Rig, motion: FaceMotion, wanted: npt.NDArray[np.float64], at: Index
) -> tuple[npt.NDArray[np.float64], float]:
    """Weights ``(T, E)`` of the expressions of a rig without joints, and the RMS distance that is left, metres.

    Those that both rigs know by name are kept; the free ones bring the vertices ``at`` to the ``wanted`` movements.
    """
    basis = rig.expression_basis[:, at].reshape(len(rig.expression_names), -1).astype(np.float64)
    weights = np.zeros((len(motion), len(basis)))
    for column, name in enumerate(motion.expression_names):
        if name in rig.expression_index:
            weights[:, rig.expression_index[name]] = motion.expression[:, column]
    unnamed = motion.offsets is not None or source.skeleton is not None
    strange = [
        name for name in motion.expression_names if name not in rig.expression_index and motion.column(name).any()
    ]
    free = [index for name, index in rig.expression_index.items() if unnamed or name not in motion.expression_names]
    rest = wanted.reshape(len(motion), -1) - weights @ basis
    if free and (unnamed or strange):
        weights[:, free] += non_negative(basis[free], rest)
        rest = wanted.reshape(len(motion), -1) - weights @ basis
    return weights, float(np.sqrt(3 * (rest**2).mean())) if rest.size else 0.0


def _landmark_movements(rig: Rig, motion: FaceMotion, at: Index) -> npt.NDArray[np.float64]:
    """``(T, N, 3)`` m: how far the motion moves some vertices while the head stands still."""
    still = np.zeros_like(motion.head_pose)
    if rig.skeleton is None:
        columns = [rig.expression_index[name] for name in motion.expression_names]
        moved = np.tensordot(motion.expression, rig.expression_basis[columns][:, at].astype(np.float64), 1)
        return moved if motion.offsets is None else moved + motion.offsets[:, at]
    held = replace(motion, head_pose=still, translation=still, eye_pose=np.zeros_like(motion.eye_pose))
    chunks = [held[start : start + 64] for start in range(0, len(held), 64)]
    posed = [rig.pose(rig.vertices(chunk), chunk)[:, at] - rig.template[at] for chunk in chunks]
    return np.concatenate(posed).astype(np.float64) if posed else np.zeros((0, len(at), 3))


def _translation(motion: FaceMotion, source: Rig, rig: Rig, scale: float, shift: Array) -> Array:
    """The translation that makes heads turn about the same point of the face, where one rig has a joint for it."""

    def pivot(of: Rig) -> npt.NDArray[Any]:
        return of.skeleton.joints(of.template[None])[0, 0] if of.skeleton is not None else np.zeros(3)

    apart = pivot(source) * scale + shift.mean(0) - pivot(rig)
    turned = matrix_from_axis_angle(motion.head_pose) @ apart
    return np.asarray(motion.translation * scale + apart - turned, np.float32)


def _common_landmarks(first: Rig, second: Rig) -> tuple[Index, Index]:
    """Vertices that mean the same on both: all 478 landmarks if both have them, else the 68."""
    if "landmarks" in first.parts and "landmarks" in second.parts:
        everyone = np.arange(len(first.template[first.parts["landmarks"]]), dtype=np.int32)
        return everyone + first.parts["landmarks"].start, everyone + second.parts["landmarks"].start
    for rig in (first, second):
        if not len(rig.landmark_indices_68):
            raise InputError(
                f"rig {rig.name}: nobody knows where its landmarks are",
                "fetch or add flame-landmarks with `mien assets`" if rig.name == "flame" else "choose another rig",
            )
    return first.landmark_indices_68, second.landmark_indices_68


@lru_cache(maxsize=8)
def load_rig(name_or_path: str | Path = "builtin") -> Rig:
    """The rig of that name, or the one in a file; the same object every time.

    Args:
        name_or_path: ``"builtin"``; ``"ict"`` or ``"flame"``, if they have been fetched or added with ``mien assets``;
            a ``.npz`` of mien; or a FLAME model, the official ``.pkl`` or an ``.npz`` of it.

    Raises:
        AssetError: if there is no such rig or its file is damaged.
        InputError: if a FLAME model cannot be read.
    """
    name = str(name_or_path)
    if name.endswith(".pkl") or (name.endswith(".npz") and _is_flame(Path(name))):
        return rig_of_flame(read_flame(name, landmarks=_flame_landmarks()))
    try:
        if name == "flame":
            return rig_of_flame(read_flame(asset_file("flame"), landmarks=_flame_landmarks()))
        if name.endswith(".npz") or name == "ict":
            return _read(asset_file(name) if name == "ict" else Path(name))
        with as_file(files("mien.face") / "data" / f"{name}.npz") as path:
            return _read(path)
    except FileNotFoundError:
        raise AssetError(
            f"{name}: no such rig", "use builtin, ict, flame, or the path of a FLAME model or of mien's .npz"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise AssetError(
            f"{name}: not a mien rig, or damaged ({error})", "install mien again, or build it with scripts/build_rig.py"
        ) from error


def rig_of_flame(model: FlameModel) -> Rig:
    """A FLAME model as a rig; expressions are named ``expression_00`` and so on, for they have no meaning of their own.

    The eyeballs are known on the official topology; ``landmark_indices_68`` is filled if the model has landmarks, and
    ``regions`` if it has the masks that they are made of.
    """
    n = len(model.template)
    parts = PARTS if n == PARTS["eyeball_right"].stop else {}
    triangles, triangle_parts = sort_triangles(model.template, model.triangles, parts)
    nearest = np.zeros(0, np.int32)
    if model.landmarks is not None:
        full = model.landmarks.full
        corner = full.weights.argmax(-1)
        nearest = model.triangles[full.triangles, corner]
    digits = len(str(max(len(model.expression_basis) - 1, 0)))
    return Rig(
        name="flame",
        template=model.template,
        triangles=_frozen_index(triangles),
        identity_basis=model.identity_basis,
        expression_names=tuple(f"expression_{i:0{digits}d}" for i in range(len(model.expression_basis))),
        expression_basis=model.expression_basis,
        regions=_flame_regions(model),
        parts=MappingProxyType(parts),
        triangle_parts=MappingProxyType(triangle_parts),
        uv=_no_values((n, 2)),
        landmark_indices_68=_frozen_index(nearest),
        contours=MappingProxyType({}),
        closures=MappingProxyType({}),
        textures=MappingProxyType({}),
        lid_spread=_no_values((0, 14)),
        part_anchors=_no_values((0, 478)),
        skeleton=model.skeleton,
    )


def _flame_regions(model: FlameModel) -> Mapping[str, Array]:
    masks = model.masks or {}
    return regions_of_masks(model.template, masks) if set(MASKS) <= set(masks) else MappingProxyType({})


def _no_values(shape: tuple[int, ...]) -> Array:
    array = np.zeros(shape, np.float32)
    array.setflags(write=False)
    return array


def _flame_landmarks() -> Path | None:
    path = cache_folder() / find_asset("flame-landmarks").result
    return path if path.exists() else None


def _is_flame(path: Path) -> bool:
    """Whether an ``.npz`` holds FLAME's keys; what is no ``.npz`` at all is left to its reader to complain about."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return "shapedirs" in file.files
    except (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile):
        return False


def _read(path: Path) -> Rig:
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        header: dict[str, Any] = json.loads(bytes(file["header"]).decode())
        if header["format"] != "mien.Rig" or header["version"] != RIG_FORMAT:
            raise ValueError(f"format {header['format']} {header['version']}, this mien reads mien.Rig {RIG_FORMAT}")
        arrays = {key: file[key] for key in file.files if key != "header"}
    for array in arrays.values():
        array.setflags(write=False)
    missing = [key for key in _ARRAYS if key not in arrays]
    if missing:
        raise KeyError(f"without {', '.join(missing)}")

    def indices(lists: Mapping[str, Any]) -> Mapping[str, Index]:
        return MappingProxyType({key: _frozen_index(value) for key, value in lists.items()})

    def slices(ranges: Mapping[str, list[int]]) -> Mapping[str, slice]:
        return MappingProxyType({key: slice(*value) for key, value in ranges.items()})

    return Rig(
        name=header["name"],
        template=arrays["template"],
        triangles=arrays["triangles"],
        identity_basis=arrays["identity_basis"],
        expression_names=tuple(header["expression_names"]),
        expression_basis=arrays["expression_basis"],
        regions=MappingProxyType(dict(zip(header["region_names"], arrays["regions"], strict=True))),
        parts=slices(header["parts"]),
        triangle_parts=slices(header["triangle_parts"]),
        uv=arrays["uv"],
        landmark_indices_68=_frozen_index(header["landmark_indices_68"]),
        contours=indices(header["contours"]),
        closures=indices(header["closures"]),
        textures=MappingProxyType(
            {key.removeprefix("texture_"): value for key, value in arrays.items() if key.startswith("texture_")}
        ),
        lid_spread=arrays["lid_spread"],
        part_anchors=arrays["part_anchors"],
    )


def _frozen_index(values: Any) -> Index:
    array = np.asarray(values, np.int32)
    array.setflags(write=False)
    return array
