"""From the sources to the arrays of the rig file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import spsolve

from mien.face.regions import REGION_NAMES
from mien.types import ARKIT_NAMES
from rigbuild import parts as inner
from rigbuild import topology as topo
from rigbuild.binding import N_LANDMARKS, N_SURFACE, Binding, bind, mirror_landmarks, side_share
from rigbuild.sources import ICT_EYEBALL, ICT_TEETH_LOWER, Array, Ict, Index, Mesh

N_IDENTITIES = 40
CHIN = (152, 148, 377, 175, 199, 176, 400)
"""Landmarks over the chin's bone: teeth and tongue move as much of ICT's jaw motion as these do."""

ONE_SHAPE_FROM_TWO = {"browInnerUp": ("browInnerUp_L", "browInnerUp_R"), "cheekPuff": ("cheekPuff_L", "cheekPuff_R")}
LID_RINGS = (
    (1.0, (246, 161, 160, 159, 158, 157, 173), (7, 163, 144, 145, 153, 154, 155)),
    (0.55, (247, 30, 29, 27, 28, 56, 190), (25, 110, 24, 23, 22, 26, 112)),
)
"""Per ring around the right eye: how much of a closing correction it takes, its upper and its lower landmarks."""
LIP_RING_SHARES = (0.35, 0.6, 0.85, 1.0)


def ict_name(name: str) -> tuple[str, ...]:
    """ICT's names of an ARKit expression; empty for ``tongueOut``, which ICT lacks."""
    if name in ONE_SHAPE_FROM_TWO:
        return ONE_SHAPE_FROM_TWO[name]
    if name in ("mouthLeft", "mouthRight", "jawLeft", "jawRight"):
        return (name,)
    for side in ("Left", "Right"):
        if name.endswith(side):
            return (f"{name.removesuffix(side)}_{side[0]}",)
    return () if name == "tongueOut" else (name,)


def mirror_name(name: str) -> str:
    """The expression that is this one seen in a mirror."""
    if name.endswith("Left"):
        return name.removesuffix("Left") + "Right"
    return name.removesuffix("Right") + "Left" if name.endswith("Right") else name


def reflect(field: Array, mirror: Index) -> Array:
    """A displacement field ``(..., V, 3)`` seen in a mirror."""
    return np.asarray(field[..., mirror, :] * [-1, 1, 1])


@dataclass(frozen=True)
class Neutral:
    """The neutral face: its binding to ICT, the landmarks ``(478, 3)`` m and the parts behind the skin."""

    binding: Binding
    landmarks: Array
    behind: dict[str, inner.Part]


def neutral_face(canonical: Mesh, ict: Ict, faces: Array, mirror: Index) -> Neutral:
    """ICT's neutral read off where mediapipe's landmarks are, lips closed, with eyeballs and a mouth.

    Args:
        canonical: MediaPipe's canonical face.
        ict: the source of the surface.
        faces: ``(N, 478, 3)`` m, tracked neutral faces of N people.
        mirror: see :func:`mirror_landmarks`.
    """
    mean = 0.5 * (faces + reflect(faces, mirror)).mean(0)
    binding = bind(canonical, mean[:N_SURFACE], ict)
    surface = binding.sample(ict.neutral)
    surface = close_lips(0.5 * (surface + reflect(surface, mirror[:N_SURFACE])))
    left = inner.eyeball(ict, "left")
    right = inner.eyeball(ict, "right", mirror_of=left)
    landmarks = np.concatenate([surface, inner.iris_landmarks(right), inner.iris_landmarks(left)])
    lower = inner.teeth(ict, "lower")
    behind = {
        "eyeball_right": right, "eyeball_left": left, "teeth_upper": inner.teeth(ict, "upper"), "teeth_lower": lower,
        "tongue": inner.tongue(lower), "cavity": inner.cavity(landmarks),
    }  # fmt: skip
    return Neutral(binding, landmarks, behind)


def twins() -> list[int]:
    """For each expression the index of its mirror image."""
    return [ARKIT_NAMES.index(mirror_name(name)) for name in ARKIT_NAMES]


def prior_expressions(ict: Ict, binding: Binding, mirror: Index) -> Array:
    """ICT's shapes ``(52, 468, 3)`` m under ARKit's names, symmetric; ``tongueOut`` is zero."""
    shapes = np.zeros((len(ARKIT_NAMES), N_SURFACE, 3))
    for index, name in enumerate(ARKIT_NAMES):
        for source in ict_name(name):
            shapes[index] += binding.sample(ict.expressions[source])
    return 0.5 * (shapes + reflect(shapes[twins()], mirror[:N_SURFACE]))


def close(shapes: Array, landmarks: Array, mirror: Index) -> Array:
    """Shapes ``(52, 468, 3)`` on all 478 landmarks, lips and lids closing where they have to."""
    closed = np.concatenate([shapes, np.zeros((len(shapes), N_LANDMARKS - N_SURFACE, 3))], 1)
    seal_lips(closed)
    close_lids(closed, landmarks, mirror)
    return closed


def assemble(
    canonical: Mesh, ict: Ict, neutral: Neutral, expressions: Array, mirror: Index
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and arrays of the rig file; ``expressions`` (52, 478, 3) m."""
    landmarks, behind = neutral.landmarks, neutral.behind
    surface = landmarks[:N_SURFACE]
    identities = landmark_identities(ict, neutral.binding, mirror)
    anchors = np.concatenate([_anchor_weights(part) for part in behind.values()])
    rest = np.concatenate([part.vertices for part in behind.values()])
    inner_expressions = follow(ict, neutral, expressions)
    inner_identities = np.einsum("vk,skx->svx", anchors, identities)

    part_ranges: dict[str, list[int]] = {
        "landmarks": [0, N_LANDMARKS],
        "iris_right": [468, 473],
        "iris_left": [473, 478],
    }
    triangles, triangle_ranges = skin_triangles(canonical)
    uv = [np.concatenate([canonical.uv, _iris_uv(canonical, landmarks)])]
    regions = [np.concatenate([skin_regions(canonical, surface), _iris_regions()], 1)]
    first = N_LANDMARKS
    for name, part in behind.items():
        part_ranges[name] = [first, first + len(part.vertices)]
        for key, faces in part.triangles.items():
            begin = sum(len(t) for t in triangles)
            triangles.append(faces + first)
            triangle_ranges[key] = [begin, begin + len(faces)]
        uv.append(part.uv)
        regions.append(_part_regions(part))
        first += len(part.vertices)

    closures = {
        "eye_left": list(zip(topo.EYE_UPPER["left"][1:-1], topo.EYE_LOWER["left"][1:-1], strict=True)),
        "eye_right": list(zip(topo.EYE_UPPER["right"][1:-1], topo.EYE_LOWER["right"][1:-1], strict=True)),
        "lips": list(zip(topo.LIPS_INNER_UPPER[1:-1], topo.LIPS_INNER_LOWER[1:-1], strict=True)),
    }
    header = {
        "format": "mien.Rig",
        "version": 1,
        "name": "builtin",
        "expression_names": ARKIT_NAMES,
        "region_names": REGION_NAMES,
        "parts": part_ranges,
        "triangle_parts": triangle_ranges,
        "landmark_indices_68": topo.LANDMARKS_68,
        "contours": {
            "face_oval": topo.FACE_OVAL,
            "lips_outer": topo.LIPS_OUTER_UPPER + topo.LIPS_OUTER_LOWER[-2:0:-1],
            "lips_inner": topo.LIPS_INNER_UPPER + topo.LIPS_INNER_LOWER[-2:0:-1],
            **{f"eye_{s}": topo.EYE_UPPER[s] + topo.EYE_LOWER[s][-2:0:-1] for s in ("left", "right")},
        },
        "closures": closures,
    }
    arrays = {
        "template": np.concatenate([landmarks, rest]).astype(np.float32),
        "triangles": np.concatenate(triangles).astype(np.int32),
        "identity_basis": np.concatenate([identities, inner_identities], 1).astype(np.float32),
        "expression_basis": np.concatenate([expressions, inner_expressions], 1).astype(np.float32),
        "regions": np.concatenate(regions, 1).astype(np.float32),
        "uv": np.concatenate(uv).astype(np.float32),
        "lid_spread": lid_spread(mirror, len(rest)).astype(np.float32),
        "part_anchors": anchors.astype(np.float32),
        "texture_teeth_upper": inner.teeth_texture("upper"),
        "texture_teeth_lower": inner.teeth_texture("lower"),
    }
    return header, arrays


def close_lips(landmarks: Array) -> Array:
    """The neutral face with each pair of the inner lips at their common middle."""
    closed = landmarks.copy()
    upper, lower = list(topo.LIPS_INNER_UPPER), list(topo.LIPS_INNER_LOWER)
    closed[upper] = closed[lower] = 0.5 * (landmarks[upper] + landmarks[lower])
    return closed


def follow(ict: Ict, neutral: Neutral, expressions: Array) -> Array:
    """``(52, V - 478, 3)``: teeth and tongue go with the jaw, the cavity's rim with the lips, the tongue comes out."""
    rest = np.concatenate([part.vertices for part in neutral.behind.values()])
    jaw_share = np.concatenate([part.jaw for part in neutral.behind.values()])
    lips = [
        np.zeros((len(part.vertices), N_LANDMARKS)) if part.lips is None else part.lips
        for part in neutral.behind.values()
    ]
    shapes = np.einsum("vk,ekx->evx", np.concatenate(lips), expressions)
    for name in ("jawOpen", "jawForward", "jawLeft", "jawRight"):
        index = ARKIT_NAMES.index(name)
        ours = expressions[index, list(CHIN)]
        theirs = neutral.binding.sample(ict.expressions[name])[list(CHIN)]
        gain = (ours * theirs).sum() / (theirs**2).sum()
        shapes[index] += gain * jaw_share[:, None] * jaw_motion(ict, name, rest)
    tongue_out(shapes[ARKIT_NAMES.index("tongueOut")], neutral.behind)
    return shapes


def seal_lips(shapes: Array) -> None:
    """Let ``mouthClose`` undo exactly what ``jawOpen`` does to the gap between the inner lips."""
    jaw, close = shapes[ARKIT_NAMES.index("jawOpen")], shapes[ARKIT_NAMES.index("mouthClose")]
    upper, lower = list(topo.LIPS_INNER_UPPER), list(topo.LIPS_INNER_LOWER)
    opens, closes = jaw[upper] - jaw[lower], close[upper] - close[lower]
    close *= -(opens * closes).sum() / (closes**2).sum()
    miss = (jaw + close)[upper] - (jaw + close)[lower]
    for share, up, low in zip(LIP_RING_SHARES, topo.LIP_RINGS_UPPER, topo.LIP_RINGS_LOWER, strict=True):
        close[list(up[1:-1])] -= 0.5 * share * miss[1:-1]
        close[list(low[1:-1])] += 0.5 * share * miss[1:-1]


def close_lids(shapes: Array, landmarks: Array, mirror: Index) -> None:
    """Let a blink at 1 bring each upper lid point exactly onto its lower one."""
    for side in ("Left", "Right"):
        blink = shapes[ARKIT_NAMES.index(f"eyeBlink{side}")]
        upper, lower = topo.EYE_UPPER[side.lower()][1:-1], topo.EYE_LOWER[side.lower()][1:-1]
        closed = landmarks + blink
        blink -= _lid_columns(side.lower(), mirror) @ (closed[list(upper)] - closed[list(lower)])


def _lid_columns(side: str, mirror: Index) -> Array:
    """``(478, 7)``: how far each landmark goes along when a pair of lid points is brought together."""
    columns = np.zeros((N_LANDMARKS, 7))
    for share, upper, _ in LID_RINGS:
        ring = np.array(upper) if side == "right" else mirror[list(upper)]
        columns[ring, np.arange(7)] = share
    return columns


def lid_spread(mirror: Index, n_inner: int) -> Array:
    """``(V, 14)``: :func:`_lid_columns` of the left and the right eye for the whole rig."""
    columns = np.concatenate([_lid_columns("left", mirror), _lid_columns("right", mirror)], 1)
    return np.concatenate([columns, np.zeros((n_inner, 14))])


def landmark_identities(ict: Ict, binding: Binding, mirror: Index) -> Array:
    """Principal components of identity on the landmarks, ``(N_IDENTITIES, 478, 3)`` metres per standard deviation.

    ICT's identities are 100 modes with a deviation of one each, so their outer products sum to the covariance; that of
    mirrored faces is averaged in, and the modes are sorted out anew for the landmarks.
    """
    modes = binding.sample(ict.identities)
    eyes = [ict.identities[:, ICT_EYEBALL[s]].mean(1) for s in ("right", "left")]
    modes = np.concatenate([modes, *(np.repeat(e[:, None], 5, 1) for e in eyes)], 1)
    both = np.concatenate([modes, reflect(modes, mirror)]) / np.sqrt(2)
    _, deviations, components = np.linalg.svd(both.reshape(len(both), -1), full_matrices=False)
    basis = components[:N_IDENTITIES] * deviations[:N_IDENTITIES, None]
    signs = np.sign(basis[np.arange(N_IDENTITIES), np.abs(basis).argmax(1)])
    return (basis * signs[:, None]).reshape(N_IDENTITIES, N_LANDMARKS, 3)


def jaw_motion(ict: Ict, name: str, at: Array) -> Array:
    """The jaw's motion under an expression as a linear field at points ``at``, from ICT's lower teeth."""
    teeth = np.concatenate([np.arange(a, b) for a, b in ICT_TEETH_LOWER])
    design = np.c_[ict.neutral[teeth], np.ones(len(teeth))]
    field = np.linalg.lstsq(design, ict.expressions[name][teeth], rcond=None)[0]
    return np.c_[at, np.ones(len(at))] @ field


def tongue_out(inner_shape: Array, behind: dict[str, inner.Part]) -> None:
    """ICT has no tongueOut: the tongue comes forward and down over the lower lip, the more the nearer to its tip."""
    first = 0
    for name, part in behind.items():
        if name == "tongue":
            back = np.repeat(np.linspace(0, 1, inner.TONGUE_ROWS), inner.TONGUE_COLUMNS)
            reach = np.clip(1 - back / 0.8, 0, 1)[:, None]
            inner_shape[first : first + len(part.vertices)] = reach * [0, 0.004, 0.030] - reach**3 * [0, 0.010, 0.002]
        first += len(part.vertices)


def skin_triangles(canonical: Mesh) -> tuple[list[Index], dict[str, list[int]]]:
    """The canonical triangles sorted into skin and the patches that close the eyes and the mouth."""
    holes = {
        "eye_left": set(topo.EYE_UPPER["left"] + topo.EYE_LOWER["left"]),
        "eye_right": set(topo.EYE_UPPER["right"] + topo.EYE_LOWER["right"]),
        "mouth": set(topo.LIPS_INNER_UPPER + topo.LIPS_INNER_LOWER),
    }
    member = {name: np.array([set(t) <= hole for t in canonical.triangles.tolist()]) for name, hole in holes.items()}
    groups = {"skin": canonical.triangles[~np.logical_or.reduce(list(member.values()))]}
    groups |= {name: canonical.triangles[mask] for name, mask in member.items()}
    ranges, first = {}, 0
    for name, group in groups.items():
        ranges[name] = [first, first + len(group)]
        first += len(group)
    return list(groups.values()), ranges


def _iris_uv(canonical: Mesh, landmarks: Array) -> Array:
    """The uv of the irises: where they lie inside their lids."""
    uv = []
    for side in ("right", "left"):
        rim = list(topo.EYE_UPPER[side] + topo.EYE_LOWER[side][1:-1])
        design = np.c_[landmarks[rim, :2], np.ones(len(rim))]
        field = np.linalg.lstsq(design, canonical.uv[rim], rcond=None)[0]
        uv.append(np.c_[landmarks[list(topo.IRIS[side]), :2], np.ones(5)] @ field)
    return np.concatenate(uv)


SEEDS: dict[str, tuple[int, ...]] = {
    "brow": (*topo.BROW_UPPER["right"], *topo.BROW_LOWER["right"], 9, 8, 151, 10, 108, 69, 104, 68, 71, 54, 103, 67,
             109, 21),
    "eye": (*topo.EYE_UPPER["right"], *topo.EYE_LOWER["right"], 247, 30, 29, 27, 28, 56, 190, 25, 110, 24, 23, 22, 26,
            112, 130, 243, 225, 224, 223, 222, 221, 228, 229, 230, 231, 232, 226, 244),
    "nose": (1, 2, 4, 5, 6, 195, 197, 19, 94, 45, 44, 48, 49, 64, 98, 97, 115, 131, 134, 51, 3, 196, 122, 193, 198, 236,
             220, 218, 219, 129, 102, 240, 168, 217, 174, 188),
    "cheek": (50, 101, 118, 117, 123, 116, 147, 187, 205, 36, 207, 213, 192, 177, 137, 227, 234, 93, 119, 100, 206, 216,
              111, 34, 127, 162, 143, 139),
    "mouth": tuple(sorted({i for ring in (*topo.LIP_RINGS_UPPER, *topo.LIP_RINGS_LOWER) for i in ring}
                          | {164, 167, 165, 92, 186, 57, 43, 106, 182, 83, 18, 37, 39, 212})),
    "jaw": (152, 148, 176, 149, 150, 136, 172, 58, 132, 175, 199, 200, 171, 140, 170, 169, 135, 138, 208, 32, 211, 210,
            214, 194, 201, 204, 202),
}  # fmt: skip
"""Landmarks of the subject's right half that certainly belong to an area; the rest is filled in between."""


def skin_regions(canonical: Mesh, surface: Array) -> Array:
    """``(12, 468)`` soft masks summing to 1: the harmonic field between the seeds, split left from right smoothly."""
    mirror = mirror_landmarks(canonical)[:N_SURFACE]
    edges = np.concatenate(
        [canonical.triangles[:, [0, 1]], canonical.triangles[:, [1, 2]], canonical.triangles[:, [2, 0]]]
    )
    near = sparse.csr_matrix((np.ones(len(edges)), edges.T), shape=(N_SURFACE, N_SURFACE))
    near = (near.maximum(near.T) > 0).astype(float)
    laplacian = sparse.diags(np.asarray(near.sum(1)).ravel()) - near
    seeds = np.zeros((N_SURFACE, len(SEEDS)))
    for column, landmarks in enumerate(SEEDS.values()):
        seeds[np.concatenate([list(landmarks), mirror[list(landmarks)]]), column] = 1
    seeds /= np.maximum(seeds.sum(1, keepdims=True), 1)
    pinned = sparse.diags(seeds.sum(1) * 1.5)
    areas = spsolve((laplacian + pinned).tocsc(), pinned @ seeds)
    areas = np.clip(0.5 * (areas + areas[mirror]), 0, None)
    areas /= areas.sum(1, keepdims=True)
    left = side_share(surface)
    return np.stack([areas[:, a] * share for a in range(len(SEEDS)) for share in (left, 1 - left)])


def _iris_regions() -> Array:
    regions = np.zeros((len(REGION_NAMES), 10))
    regions[REGION_NAMES.index("eye_right"), :5] = 1
    regions[REGION_NAMES.index("eye_left"), 5:] = 1
    return regions


def _part_regions(part: inner.Part) -> Array:
    regions = np.zeros((len(REGION_NAMES), len(part.vertices)))
    for name, share in part.regions.items():
        regions[REGION_NAMES.index(name)] = share
    return regions


def _anchor_weights(part: inner.Part) -> Array:
    if part.anchor_weights is not None:
        return part.anchor_weights
    weights = np.zeros((len(part.vertices), N_LANDMARKS))
    weights[:, list(part.anchors)] = 1 / len(part.anchors)
    return weights
