"""What lies behind the skin: eyeballs, teeth, tongue and the mouth's cavity, with how they follow the face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rigbuild import topology as topo
from rigbuild.sources import ICT_EYEBALL, ICT_TEETH_LOWER, ICT_TEETH_UPPER, Array, Ict, Index

EYE_RADIUS = 0.0135
"""Metres; a little larger than life, to fill the corners of the eye, as ICT's balls (15 mm) do."""
EYE_DEPTH = 0.003
"""How far the ball's front lies behind ICT's cornea, metres: our ball has no bulge and must stay behind the lids."""
IRIS_RADIUS = 0.0059
PUPIL_RADIUS = 0.002
EYE_SEGMENTS = 16
FRONT_TOOTH, BACK_TOOTH = 0.0105, 0.0085
"""Heights of the visible crowns, metres."""
TOOTH_COLUMNS = 5
TOOTH_PROFILE = (
    (-0.55, 0.15, 1.0), (0.0, 0.0, 0.78), (0.3, 0.0, 0.6), (0.65, 0.03, 0.4), (0.92, 0.12, 0.2), (1.0, 0.4, 0.1),
    (0.95, 0.8, 0.0),
)  # fmt: skip
"""Rows of a tooth from above the gum line to behind the biting edge: height (gum line 0, edge 1), inwards, v."""
CAVITY_FOLLOWS_LIPS = (1.0, 0.9, 0.35, 0.0)
"""Per ring of the cavity from the lips inwards: its share of the lips' motion; the rest is the jaw's."""
TONGUE_COLUMNS, TONGUE_ROWS = 7, 9


@dataclass
class Part:
    """Vertices (V, 3) m, uv (V, 2), triangles by name, and what it hangs on.

    ``anchors``: landmarks whose mean displacement (residuals, identity) it takes along.
    ``jaw``: ``(V,)`` how much of the jaw's rigid motion it makes.
    ``anchor_weights``: ``(V, 478)``, where the anchors differ from vertex to vertex.
    ``lips``: ``(V, 478)``, how much it takes of the landmarks' expressions.
    """

    vertices: Array
    uv: Array
    triangles: dict[str, Index]
    anchors: tuple[int, ...]
    jaw: Array
    regions: dict[str, float]
    anchor_weights: Array | None = None
    lips: Array | None = None


def _grid(columns: int, rows: int, first: int = 0) -> Index:
    """Triangles of a grid stored row by row, counter-clockwise when columns run right and rows run down."""
    quads = [(r * columns + c, (r + 1) * columns + c) for r in range(rows - 1) for c in range(columns - 1)]
    return np.array([t for a, b in quads for t in ((a, b, b + 1), (a, b + 1, a + 1))]) + first


def eyeball(ict: Ict, side: str, mirror_of: Part | None = None) -> Part:
    """A ball of rings around the gaze axis, symmetric front to back so that its mean is its centre of rotation."""
    if mirror_of is not None:
        triangles = {name.replace("left", "right"): t[:, ::-1] for name, t in mirror_of.triangles.items()}
        return Part(
            mirror_of.vertices * [-1, 1, 1], mirror_of.uv, triangles, topo.EYE_UPPER[side] + topo.EYE_LOWER[side][1:-1],
            mirror_of.jaw, {f"eye_{side}": 1.0},
        )  # fmt: skip
    ball = ict.neutral[ICT_EYEBALL[side]]
    front = ball[:, 2].max() - EYE_DEPTH
    centre = np.array([(ball[:, 0].min() + ball[:, 0].max()) / 2, ball[:, 1].mean(), front - EYE_RADIUS])
    half = [np.arcsin(PUPIL_RADIUS / EYE_RADIUS), np.arcsin(IRIS_RADIUS / EYE_RADIUS), 0.66, 0.88, 1.15]
    polar = np.array([*half, np.pi / 2, *[np.pi - angle for angle in half[::-1]]])
    around = np.arange(EYE_SEGMENTS) * 2 * np.pi / EYE_SEGMENTS
    rings = np.stack(
        [
            np.sin(polar)[:, None] * np.cos(around),
            np.sin(polar)[:, None] * np.sin(around),
            np.cos(polar)[:, None] + 0 * around,
        ],
        -1,
    )
    unit = np.concatenate([[[0, 0, 1.0]], rings.reshape(-1, 3), [[0, 0, -1.0]]])
    radial = np.concatenate([[0], np.repeat(polar, EYE_SEGMENTS), [np.pi]]) / np.pi
    spin = np.concatenate([[0], np.tile(around, len(polar)), [0]])
    uv = 0.5 + 0.5 * radial[:, None] * np.stack([np.cos(spin), np.sin(spin)], 1)

    def band(ring: int) -> Index:
        a = 1 + ring * EYE_SEGMENTS + np.arange(EYE_SEGMENTS)
        b = 1 + ring * EYE_SEGMENTS + (np.arange(EYE_SEGMENTS) + 1) % EYE_SEGMENTS
        c, d = a + EYE_SEGMENTS, b + EYE_SEGMENTS
        return np.concatenate([np.stack([a, c, d], 1), np.stack([a, d, b], 1)])

    first = 1 + np.arange(EYE_SEGMENTS)
    pupil = np.stack([np.zeros_like(first), first, 1 + (np.arange(EYE_SEGMENTS) + 1) % EYE_SEGMENTS], 1)
    last = first + (len(polar) - 1) * EYE_SEGMENTS
    back = np.stack([last, np.full_like(last, len(unit) - 1), np.roll(last, -1)], 1)
    return Part(
        centre + EYE_RADIUS * unit,
        uv,
        {
            f"pupil_{side}": pupil,
            f"iris_{side}": band(0),
            f"sclera_{side}": np.concatenate([*(band(r) for r in range(1, len(polar) - 1)), back]),
        },
        topo.EYE_UPPER[side] + topo.EYE_LOWER[side][1:-1],
        np.zeros(len(unit)),
        {f"eye_{side}": 1.0},
    )


def iris_landmarks(ball: Part) -> Array:
    """Centre and four rim points of the iris on the ball: viewer's right, top, viewer's left, bottom."""
    centre = ball.vertices.mean(0)
    depth = np.sqrt(EYE_RADIUS**2 - IRIS_RADIUS**2)
    r = IRIS_RADIUS
    return centre + np.array([[0, 0, depth], [r, 0, depth], [0, r, depth], [-r, 0, depth], [0, -r, depth]])


def teeth(ict: Ict, arch: str) -> Part:
    """One rounded patch per tooth, placed and sized as ICT's teeth are, bent back over the biting edge, gum above.

    The uv runs along the arch (u: the subject's right to left) and over the tooth (v: 1 at the gum, 0 behind the edge).
    """
    ranges = ICT_TEETH_UPPER if arch == "upper" else ICT_TEETH_LOWER
    down = -1.0 if arch == "upper" else 1.0
    boxes = [ict.neutral[a:b] for a, b in reversed(ranges)]
    n = len(boxes)
    centres = np.array([box.mean(0) for box in boxes])
    centres = 0.5 * (centres + centres[::-1] * [-1, 1, 1])
    crowns = np.array([box[:, 1].min() if arch == "upper" else box[:, 1].max() for box in boxes])
    crowns = 0.5 * (crowns + crowns[::-1])
    depths = np.array(
        [np.ptp(box[:, 2]) if abs(c[0]) < 0.012 else np.ptp(box[:, 0]) for box, c in zip(boxes, centres, strict=True)]
    )
    arch_curve = np.gradient(centres[:, [0, 2]], axis=0)
    outwards = np.stack([-arch_curve[:, 1], arch_curve[:, 0]], 1) / np.linalg.norm(arch_curve, axis=1, keepdims=True)
    fronts = centres[:, [0, 2]] + 0.42 * depths[:, None] * outwards
    flat = np.pad(fronts, ((1, 1), (0, 0)), mode="reflect", reflect_type="odd")
    borders = 0.5 * (flat[1:] + flat[:-1])  # teeth touch: each reaches half way to its neighbours
    vertices, uv = [], []
    for k in range(n):
        along = borders[k + 1] - borders[k]
        along = np.array([along[0], 0, along[1]])
        out = np.array([-along[2], 0, along[0]]) / np.linalg.norm(along)
        front = np.array([fronts[k, 0], 0, fronts[k, 1]])
        height = FRONT_TOOTH if 4 <= k <= 9 else BACK_TOOTH
        for h, inwards, v in TOOTH_PROFILE:
            for u in np.linspace(-1, 1, TOOTH_COLUMNS):
                depth = -0.42 * depths[k] * (inwards + 0.10 * u**2 * (1 + max(h, 0)))
                y = crowns[k] - down * height * (1 - h + 0.07 * abs(u) ** 3 * max(h, 0))
                point = front + along * u / 2 + out * depth
                vertices.append([point[0], y, point[2]])
                uv.append([(k + 0.5 + 0.5 * u) / n, v])
    rows, per_tooth = len(TOOTH_PROFILE), TOOTH_COLUMNS * len(TOOTH_PROFILE)
    gum = np.concatenate([_grid(TOOTH_COLUMNS, 2, k * per_tooth) for k in range(n)])
    crown = np.concatenate([_grid(TOOTH_COLUMNS, rows - 1, k * per_tooth + TOOTH_COLUMNS) for k in range(n)])
    if arch == "lower":
        gum, crown = gum[:, ::-1], crown[:, ::-1]
    rigid = np.full(len(vertices), 0.0 if arch == "upper" else 1.0)
    anchors = (topo.LIPS_INNER_UPPER if arch == "upper" else topo.LIPS_INNER_LOWER) + (2, 98, 327)
    area = "mouth" if arch == "upper" else "jaw"
    return Part(
        np.array(vertices), np.array(uv), {f"gum_{arch}": gum, f"teeth_{arch}": crown}, tuple(anchors), rigid,
        {f"{area}_left": 0.5, f"{area}_right": 0.5},
    )  # fmt: skip


def tongue(lower_teeth: Part) -> Part:
    """A dome that lies in the lower arch, its tip just behind the lower front teeth."""
    front, edge = lower_teeth.vertices[:, 2].max(), np.median(lower_teeth.vertices[:, 1])
    vertices, uv = [], []
    for row in range(TONGUE_ROWS):
        back = row / (TONGUE_ROWS - 1)
        half = 0.0185 * np.sqrt(np.clip(1 - (1 - min(back / 0.45, 1)) ** 2, 0.02, 1))
        for u in np.linspace(-1, 1, TONGUE_COLUMNS):
            rise = 0.007 * np.sin(np.pi * min(0.15 + back, 0.8)) - 0.004
            y = edge + rise - 0.007 * u**2 + 0.001 * (abs(u) - 0.3) ** 2
            vertices.append([u * half, y, front - 0.008 - 0.042 * back])
            uv.append([0.5 + 0.5 * u, 1 - back])
    triangles = _grid(TONGUE_COLUMNS, TONGUE_ROWS)[:, ::-1]
    return Part(
        np.array(vertices), np.array(uv), {"tongue": triangles}, tuple(topo.LIPS_INNER_LOWER), np.ones(len(vertices)),
        {"mouth_left": 0.5, "mouth_right": 0.5},
    )  # fmt: skip


def cavity(landmarks: Array) -> Part:
    """A bowl behind the lips: its rim moves with the inner lips, its depth with the jaw."""
    loop = topo.LIPS_INNER_UPPER + topo.LIPS_INNER_LOWER[-2:0:-1]
    rim = landmarks[list(loop)]
    centre = rim.mean(0)
    angle = np.linspace(np.pi, -np.pi, len(loop), endpoint=False)
    rings = [rim - [0, 0, 0.001]]
    for back, wide, high in ((0.005, 0.027, 0.012), (0.022, 0.034, 0.021), (0.048, 0.020, 0.015)):
        ring = np.stack([wide * np.cos(angle), high * np.sin(angle), np.zeros_like(angle)], 1)
        behind = np.minimum(rim[:, 2] - centre[2], 0) * (0.052 - back) / 0.052  # as far back as the cheeks curve
        rings.append(centre * [0, 1, 1] + ring - [0, 0, 1] * (back - behind)[:, None])
    vertices = np.concatenate([*rings, [centre * [0, 1, 1] - [0, 0, 0.052]]])
    n = len(loop)
    triangles = []
    for ring in range(len(rings) - 1):
        a = ring * n + np.arange(n)
        b = ring * n + (np.arange(n) + 1) % n
        triangles += [np.stack([a, b, b + n], 1), np.stack([a, b + n, a + n], 1)]
    last = (len(rings) - 1) * n + np.arange(n)
    triangles.append(np.stack([last, np.roll(last, -1), np.full(n, len(vertices) - 1)], 1))
    radius = np.concatenate([np.repeat([0.5, 0.4, 0.2, 0.1], n), [0.0]])
    spin = np.concatenate([np.tile(angle, len(rings)), [0]])
    uv = 0.5 + radius[:, None] * np.stack([np.cos(spin), np.sin(spin)], 1)
    low = np.clip(0.5 - np.sin(spin), 0, 1)
    follows = np.concatenate([np.repeat(CAVITY_FOLLOWS_LIPS, n), [0.0]])
    jaw = low * (1 - follows) * np.concatenate([np.ones(3 * n), np.full(n, 0.5), [0.4]])
    weights = np.zeros((len(vertices), 478))
    weights[:, list(loop)] = (1 - follows)[:, None] / n
    for ring in range(len(rings)):
        weights[ring * n + np.arange(n), list(loop)] += follows[ring * n]
    lips = np.zeros_like(weights)
    for ring in range(len(rings)):
        lips[ring * n + np.arange(n), list(loop)] = follows[ring * n]
    return Part(
        vertices, uv, {"cavity": np.concatenate(triangles)}, tuple(loop), jaw, {"mouth_left": 0.5, "mouth_right": 0.5},
        weights, lips,
    )  # fmt: skip


def teeth_texture(arch: str) -> np.ndarray:
    """``(64, 448, 4)`` uint8 RGBA: fourteen teeth, shaded towards their gaps, gum at the root; made by formula."""
    h, per_tooth, n = 64, 32, 14
    y, x = np.mgrid[0:h, 0 : per_tooth * n]
    v = y / (h - 1) if arch == "upper" else 1 - y / (h - 1)  # 0 at the gum, 1 at the biting edge
    u = ((x + 0.5) % per_tooth) / per_tooth * 2 - 1
    tooth = x // per_tooth
    gum_line = 0.24 - 0.10 * (1 - np.abs(u) ** 2.2)
    gum = np.clip((gum_line - v) / 0.05 + 0.5, 0, 1)
    enamel = np.stack([236 - 14 * v, 228 - 10 * v, 208 - 2 * v], -1)
    light = 1 - 0.30 * np.abs(u) ** 5 - 0.10 * np.abs(u) ** 2
    light = light * (1 - 0.05 * np.abs(tooth - (n - 1) / 2) / n * 2)
    light = light * (0.90 + 0.10 * np.sin(np.pi * np.clip(v, 0, 1)))
    gap = np.clip((np.abs(u) - (0.93 - 0.10 * np.clip(v - 0.75, 0, 1) * 4)) / 0.07, 0, 1)
    colour = enamel * (light * (1 - 0.4 * gap))[..., None]
    gums = np.array([186, 104, 104]) * (0.85 + 0.15 * (1 - np.abs(u)))[..., None]
    colour = colour * (1 - gum[..., None]) + gums * gum[..., None]
    corner = np.clip((v - 0.86) / 0.14, 0, 1) * np.clip((np.abs(u) - 0.70) / 0.30, 0, 1)
    alpha = 255 * (1 - np.clip(corner * 4, 0, 1))
    return np.concatenate([colour, alpha[..., None]], -1).round().clip(0, 255).astype(np.uint8)
