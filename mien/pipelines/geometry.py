"""A face in motion as geometry for other programs: animated glTF, meshes frame by frame, FLAME's coefficients."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mien.errors import InputError, OutputError
from mien.face.rig import Rig
from mien.media.gltf import GltfMesh, GltfNode, GltfPart, write_glb
from mien.media.mesh_file import read_vertices, write_meshes
from mien.media.motion_file import add_to_npz
from mien.media.output import atomic_output, output_error
from mien.progress import Progress, track
from mien.rotations import matrix_from_axis_angle
from mien.types import ARKIT_NAMES, Array, FaceIdentity, FaceMotion

log = logging.getLogger(__name__)

GEOMETRY_ENDINGS = (".glb", "", ".flame.npz")

_COLOURS = {
    "skin": (222, 184, 160), "sclera": (240, 238, 234), "iris": (92, 108, 118), "pupil": (20, 18, 18),
    "teeth": (240, 234, 218), "gum": (176, 104, 100), "tongue": (176, 104, 100), "cavity": (70, 30, 30),
}  # fmt: skip
_CLOSING_PATCHES = ("eye", "mouth")  # they fill holes of the skin for measuring; nobody wants to see them
_EYE_PARTS = ("sclera", "iris", "pupil")
_EXACT = 1e-4  # metres: what may be left of movements that have no name
_MOST_COMPONENTS = 64
_MOST_STRETCH, _MOST_TORN = 4.0, 0.01  # an edge of a person's face over the rig's; share of edges that may be longer
_LEAST_AHEAD, _MOST_AWAY = float(np.cos(np.radians(20))), 0.1  # of a head at zero pose; metres
_SAMPLED_FRAMES = 400
_CHUNK = 64


def ending_of(output: Path) -> str:
    """The ending of a geometry file: one of :data:`GEOMETRY_ENDINGS` or what the name has."""
    return ".flame.npz" if output.name.lower().endswith(".flame.npz") else output.suffix.lower()


def write_geometry(
    output: Path,
    rig: Rig,
    motion: FaceMotion,
    *,
    identity: FaceIdentity | None = None,
    mesh: Literal["obj", "ply"] = "obj",
    provenance: Mapping[str, Any] | None = None,
    progress: Progress,
) -> None:
    """Write a motion as geometry, by the ending of ``output``.

    Args:
        output: ``.glb``, a folder (no ending), or ``.flame.npz``.
        rig: what moves.
        motion: on that rig.
        identity: whose face; the rig's template without.
        mesh: the format of a folder's meshes.
        provenance: what :func:`mien.media.provenance.provenance` returned; meshes have no place for it.
        progress: told about frames.

    Raises:
        InputError: if the motion does not fit the rig.
        OutputError: if the ending is another one or the place cannot be written.
    """
    check_fits(motion, rig)
    ending = ending_of(output)
    if ending == "":
        frames = (vertices for chunk in _posed(rig, motion, identity) for vertices in chunk)
        write_meshes(output, track(frames, progress, "meshes", len(motion)), rig.triangles, mesh)
        return
    if ending not in GEOMETRY_ENDINGS:
        raise OutputError(f"{output}: no format for a face in motion", "end -o in .glb, .flame.npz or / (meshes)")
    with atomic_output(output) as temporary, progress.stage("geometry", 1) as stage:
        try:
            if ending == ".glb":
                write_glb(temporary, gltf_face(rig, motion, identity), motion.fps, provenance=provenance)
            else:
                _write_coefficients(temporary, rig, motion, identity)
                if provenance is not None:
                    add_to_npz(temporary, provenance)
        except OSError as error:
            raise output_error(output, error) from error
        stage.advance()


def check_fits(motion: FaceMotion, rig: Rig) -> None:
    """Make sure that a motion is one of this rig.

    Raises:
        InputError: if it is not; the message says why.
    """
    try:
        rig.vertices(motion[:1])
    except ValueError as error:
        raise InputError(f"the motion does not fit the rig ({error})", "choose another with --rig") from error


def read_template(path: Path, rig: Rig) -> FaceIdentity:
    """Whose face a neutral mesh is: one with the rig's vertices in the rig's order, in metres, looking ahead.

    Raises:
        InputError: if the file is no mesh, or has another number or order of vertices, another unit or another pose.
    """
    vertices = read_vertices(path)
    if len(vertices) != rig.n_vertices:
        raise InputError(
            f"{path}: a template of {len(vertices)} vertices where the rig has {rig.n_vertices}",
            "export it with all vertices in the rig's own order (3D editors reorder on import unless told not to)",
        )
    _check_template(path, vertices, rig)
    return FaceIdentity(rig.name, np.zeros(len(rig.identity_basis), np.float32), vertices - rig.template)


def _check_template(path: Path, vertices: Array, rig: Rig) -> None:
    """Refuse what would only show as a crumpled or misplaced face: order, unit and pose, by comparing with the rig."""
    own, other = (mesh.astype(np.float64) - mesh.mean(0) for mesh in (rig.template, vertices))
    scale = np.sqrt((other**2).sum() / (own**2).sum())
    edges = rig.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    lengths = [np.linalg.norm(mesh[edges[:, 0]] - mesh[edges[:, 1]], axis=1) for mesh in (own, other)]
    torn = lengths[1] > _MOST_STRETCH * scale * np.maximum(lengths[0], np.median(lengths[0]))
    if torn.mean() > _MOST_TORN:
        raise InputError(
            f"{path}: the vertices are in another order than the rig's",
            "export it with all vertices in the rig's own order (3D editors reorder on import unless told not to)",
        )
    if not 0.5 < scale < 2:
        raise InputError(f"{path}: {scale:.3g} times as large as the rig", "give it in metres")
    axes, _, turned = np.linalg.svd(other.T @ own)
    cosine = (np.trace(axes @ turned) - 1) / 2
    away = float(np.linalg.norm(vertices.mean(0) - rig.template.mean(0)))
    if cosine < _LEAST_AHEAD or away > _MOST_AWAY:
        raise InputError(
            f"{path}: the head is turned by {np.degrees(np.arccos(np.clip(cosine, -1, 1))):.0f} degrees and "
            f"{100 * away:.0f} cm from where the rig's is",
            "move it to the rig's place, looking ahead along z",
        )


def gltf_face(rig: Rig, motion: FaceMotion, identity: FaceIdentity | None = None) -> GltfNode:
    """A node ``head`` that turns, with a mesh whose morph targets play the motion, and a node for each eye.

    Movements without a name of their own (per-vertex offsets, a jaw on joints) become targets ``motion_00`` and so on:
    their principal components, as many as leave at most a tenth of a millimetre.
    """
    neutral = rig.neutral(identity)
    moves = np.abs(motion.expression).max(0, initial=0) > 0
    names = [name for name, moving in zip(motion.expression_names, moves, strict=True) if moving or name in ARKIT_NAMES]
    basis = rig.expressions_for(identity)[[rig.expression_index[name] for name in names]]
    weights = motion.expression[:, [motion.expression_names.index(name) for name in names]]
    components, amounts = _unnamed(rig, motion, identity)
    names += [f"motion_{index:02d}" for index in range(len(components))]
    targets, weights = np.concatenate([basis, components]), np.concatenate([weights, amounts], 1)

    skin: list[str] = []
    eyes: dict[str, list[str]] = {"eye_left": [], "eye_right": []}
    for part in rig.triangle_parts:
        kind, _, side = part.partition("_")
        if kind in _EYE_PARTS and rig.skeleton is None:
            eyes[f"eye_{side}"].append(part)
        elif kind in _COLOURS and kind not in _CLOSING_PATCHES:
            skin.append(part)
    children = [
        _eye(rig, neutral, name, parts, motion.eye_pose[:, side])
        for side, (name, parts) in enumerate(eyes.items())
        if parts
    ]
    return GltfNode(
        "head",
        _mesh(rig, neutral, skin, tuple(names), targets, weights),
        translation=_shift_of_head(rig, motion, identity),
        rotation=motion.head_pose,
        children=tuple(children),
    )


def _eye(rig: Rig, neutral: Array, name: str, parts: list[str], rotation: Array) -> GltfNode:
    centre = rig.eye_centre(neutral, name.removeprefix("eye_"))
    none = np.zeros((0, 0, 3), np.float32), np.zeros((0, 0), np.float32)
    return GltfNode(name, _mesh(rig, neutral - centre, parts, (), *none), translation=centre, rotation=rotation)


def _mesh(
    rig: Rig, vertices: Array, parts: list[str], names: tuple[str, ...], targets: Array, weights: Array
) -> GltfMesh:
    """The named parts with only the vertices they use."""
    triangles = {part: rig.triangles[rig.triangle_parts[part]] for part in parts}
    used, local = np.unique(np.concatenate(list(triangles.values())), return_inverse=True)
    pieces = np.split(local.reshape(-1, 3), np.cumsum([len(piece) for piece in triangles.values()])[:-1])
    return GltfMesh(
        vertices[used],
        [GltfPart(part, piece, _COLOURS[part.split("_")[0]]) for part, piece in zip(parts, pieces, strict=True)],
        uv=rig.uv[used] if rig.uv.any() else None,
        target_names=names,
        targets=targets[:, used] if len(targets) else targets,
        weights=weights,
    )


def _shift_of_head(rig: Rig, motion: FaceMotion, identity: FaceIdentity | None) -> Array:
    """The translation of a node whose origin is the model's, when the head turns about a joint."""
    if rig.skeleton is None:
        return motion.translation
    chunks = [motion[start : start + _CHUNK] for start in range(0, len(motion), _CHUNK)]
    root = np.concatenate([rig.skeleton.joints(rig.vertices(chunk, identity))[:, 0] for chunk in chunks])
    turned = np.einsum("txy,ty->tx", matrix_from_axis_angle(motion.head_pose), root)
    return np.asarray(motion.translation + root - turned, np.float32)


def _posed(rig: Rig, motion: FaceMotion, identity: FaceIdentity | None) -> Iterator[Array]:
    """``(n, V, 3)`` as the motion shows them, a chunk at a time."""
    for start in range(0, len(motion), _CHUNK):
        part = motion[start : start + _CHUNK]
        yield rig.pose(rig.vertices(part, identity), part)


def _unnamed(rig: Rig, motion: FaceMotion, identity: FaceIdentity | None) -> tuple[Array, Array]:
    """Principal components ``(K, V, 3)`` m of what named expressions do not do, and their amounts ``(T, K)``."""
    nothing = np.zeros((0, rig.n_vertices, 3), np.float32), np.zeros((len(motion), 0), np.float32)
    if motion.offsets is None and rig.skeleton is None:
        return nothing
    eyes = motion.eye_pose if rig.skeleton is not None else np.zeros_like(motion.eye_pose)
    still = np.zeros_like(motion.head_pose)
    held = replace(motion, head_pose=still, translation=still, eye_pose=eyes)
    named = replace(held, offsets=None, jaw_pose=still, eye_pose=np.zeros_like(eyes))

    def rest(at: slice) -> Array:
        moved = rig.pose(rig.vertices(held[at], identity), held[at]) - rig.vertices(named[at], identity)
        return moved.reshape(len(moved), -1)

    sampled = np.concatenate([rest(slice(i, i + 1)) for i in _sample(len(motion))])
    if np.abs(sampled).max() < _EXACT:
        return nothing
    _, scales, rows = np.linalg.svd(sampled, full_matrices=False)
    rows = rows[: min(_MOST_COMPONENTS, int((scales > scales[0] * 1e-6).sum()))]
    amounts = sampled @ rows.T
    n = len(rows)
    for count in range(1, n + 1):
        if np.abs(sampled - amounts[:, :count] @ rows[:count]).max() < _EXACT:
            n = count
            break
    rows = rows[:n]
    every = np.concatenate([rest(slice(i, i + _CHUNK)) @ rows.T for i in range(0, len(motion), _CHUNK)])
    largest = np.maximum(np.abs(every).max(0), 1e-12)  # so that weights stay within -1 to 1
    components = (rows * largest[:, None]).reshape(n, -1, 3)
    left = np.abs(sampled - (sampled @ rows.T) @ rows).max()
    log.info("%d shapes for movements without a name; at most %.2f mm are left", n, left * 1000)
    return components.astype(np.float32), (every / largest).astype(np.float32)


def _sample(n_frames: int) -> list[int]:
    count = min(n_frames, _SAMPLED_FRAMES)
    return np.unique(np.linspace(0, n_frames - 1, count).round().astype(int)).tolist() if count else []


def _write_coefficients(path: Path, rig: Rig, motion: FaceMotion, identity: FaceIdentity | None) -> None:
    """FLAME's own numbers under the names that its programs use; ``pose`` is head, neck, jaw, left and right eye."""
    if rig.name != "flame":
        raise InputError(f"coefficients of FLAME from a motion of rig {rig.name!r}", "give --rig a FLAME model")
    if motion.offsets is not None:
        raise InputError("per-vertex offsets are no coefficients of FLAME", "export .glb or meshes instead")
    pose = np.zeros((len(motion), 5, 3), np.float32)
    pose[:, 0], pose[:, 2], pose[:, 3:] = motion.head_pose, motion.jaw_pose, motion.eye_pose
    expression = np.zeros((len(motion), len(rig.expression_names)), np.float32)
    expression[:, [rig.expression_index[name] for name in motion.expression_names]] = motion.expression
    shape = identity.betas if identity else np.zeros(len(rig.identity_basis), np.float32)
    with path.open("wb") as file:
        np.savez_compressed(
            file, shape=shape, exp=expression, pose=pose.reshape(len(motion), 15), trans=motion.translation,
            fps=np.float64(motion.fps),
        )  # fmt: skip
