"""Adding the lanes up so that none leaks into another.

The rules, in the order in which they are applied:

1.  Regions: a source replaces what lips, emotion and habits do in a region; a gain scales what is there then. Blinks,
    gaze and head have lanes of their own and are not scaled.
2.  The mouth belongs to the speech. While somebody speaks, an emotion keeps its shape of the corners, but only
    part of its opening; while nobody speaks it does not part the lips at all. Where the lips round (o, u, w), a
    smile or a stretch gives way. What still parts the lips farther than the speech would is given back by the jaw.
    Where no speech drives the lips, the emotion has the mouth to itself.
3.  Closures win: where the speech closes the lips, and in silence, whatever still parts them on the rig (a sneer lifts
    the upper lip, the photo's own mouth may stand open) is taken back.
4.  The lids belong to the blink: as it closes them, wide eyes, squints and lids that follow the gaze fade, so that at
    its peak they are shut exactly; and no emotion lowers them so far that it could pass for a blink.
5.  The gaze is where the eyes look, seen from the viewer: the eyes turn against the head, and the lids follow them.
6.  Sums are limited softly, so that two lanes that pull at one shape meet below 1 without a corner in time.

``rest`` is the expression of the photo, to which a renderer adds the motion; rules 3 and 4 may therefore ask for
negative weights, down to minus the photo's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mien.face.regions import regions_of_expression
from mien.face.rig import GAZE_ANGLE, load_rig
from mien.rotations import matrix_from_axis_angle
from mien.types import ARKIT_NAMES, Array, FaceIdentity, FaceMotion

OPENING_IN_SPEECH = {"jaw": 0.25, "lips": 0.75}
"""Share of an emotion's opening that is left while somebody speaks: the jaw belongs to the speech, bared teeth less."""

JAW_YIELDS = 0.5
"""Share of its opening by which the jaw may come up so that an emotion does not part the lips farther than speech."""

MAX_DROOP = 0.35
"""How far an emotion may lower the lids (``eyeBlink``); half closed would count as a blink."""

_OPENERS = (
    "jawOpen", "mouthFunnel", "mouthUpperUpLeft", "mouthUpperUpRight", "mouthLowerDownLeft", "mouthLowerDownRight",
)  # fmt: skip
_WIDENERS = ("mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight")
_LID_SHAPES = ("eyeWide", "eyeSquint", "eyeLookDown", "eyeLookUp", "eyeLookIn", "eyeLookOut")
_MAX_EYE_TURN = (0.44, 0.61)  # rad of pitch and yaw, 25 and 35 degrees
_KNEE = 0.8

_INDEX = {name: i for i, name in enumerate(ARKIT_NAMES)}


@dataclass(frozen=True, eq=False)
class Voice:
    """What the speech demands of the mouth.

    Attributes:
        closure: ``(T,)`` in [0, 1], 1 where the lips must be closed (p, b, m).
        speaking: ``(T,)`` in [0, 1], 1 while somebody speaks.
    """

    closure: Array
    speaking: Array


def compose(
    lips: FaceMotion, *, emotion: FaceMotion, blink: FaceMotion, gaze: FaceMotion, head: FaceMotion, habits: FaceMotion,
    voice: Voice | None = None, gains: Mapping[str, Array] | None = None,
    sources: Mapping[str, FaceMotion] | None = None, rest: FaceMotion | None = None,
    identity: FaceIdentity | None = None,
) -> FaceMotion:  # fmt: skip
    """All lanes as one motion of the builtin rig, relative to ``rest``.

    Args:
        lips: the lip lane.
        emotion: the emotion lane.
        blink: the blink lane.
        gaze: ``eye_pose`` relative to the viewer.
        head: ``head_pose``.
        habits: brows and smile of the style.
        voice: what the speech demands of the mouth; ``None`` if no speech drives it.
        gains: per region of :data:`mien.direction.REGIONS` a ``(T,)`` factor.
        sources: per region a motion whose movement of this region replaces that of the lanes; it is repeated if it is
            shorter than the clip.
        rest: one frame, the expression of the photo that the motion will be added to.
        identity: whose photo it is; an opening of the lips that tracking put down to the person is closed as well.

    Returns:
        Motion as long as the lanes. Expression is in [0, 1] after ``rest`` is added.

    Raises:
        ValueError: if the lanes differ in length, rate or rig; the message names both.
    """
    for name, lane in (("emotion", emotion), ("blink", blink), ("gaze", gaze), ("head", head), ("habits", habits)):
        _check_alike(lips, lane, name)
    scale = _expression_gains(gains or {}, len(lips))
    parts = [lane.expression * scale for lane in (lips, emotion, habits)]
    for region, source in (sources or {}).items():
        _take_region(parts, region, source, lips, scale)
    spoken, felt, usual = parts
    still = np.zeros((1, len(ARKIT_NAMES)), np.float32)
    photo = rest.expression if rest is not None else still

    felt = _yield_to_speech(felt + usual, spoken, voice)
    total = _soft_limit(spoken + felt)
    if voice is not None:
        calm, total = (_keep_closures(sums, spoken, photo, identity, voice) for sums in (_soft_limit(spoken), total))
        total = _part_as_spoken(total, calm, photo, identity, rest)
    eyes = _turn_eyes(gaze, head)
    total = _set_lids(total, photo, blink, eyes)
    return replace(
        lips,
        expression=np.clip(total, -photo, 1 - photo),
        jaw_pose=lips.jaw_pose,
        head_pose=head.head_pose,
        eye_pose=eyes,
        translation=head.translation,
    )


def _check_alike(lips: FaceMotion, lane: FaceMotion, name: str) -> None:
    expected = (len(lips), lips.fps, lips.rig, lips.expression_names)
    found = (len(lane), lane.fps, lane.rig, lane.expression_names)
    if lips.expression_names != ARKIT_NAMES or found != expected:
        raise ValueError(
            f"{name}: expected {len(lips)} frames at {lips.fps:g} frames/s of rig {lips.rig!r} under ARKit's names, "
            f"got {len(lane)} at {lane.fps:g} of {lane.rig!r}"
        )


def _belongs(expression: str, region: str) -> float:
    """The share of an expression's sides that a region of the direction covers: 0, 0.5 or 1."""
    area, _, side = region.partition("_")
    sides = regions_of_expression(expression)
    wanted = f"{area.removesuffix('s')}_{side}"
    return sum(name.startswith(wanted) for name in sides) / len(sides)


def _expression_gains(gains: Mapping[str, Array], n_frames: int) -> Array:
    """``(n_frames, 52)`` factors; a gain for one side counts half for a shape that has no sides."""
    scale = np.ones((n_frames, len(ARKIT_NAMES)), np.float32)
    for region, gain in gains.items():
        share = np.array([_belongs(name, region) for name in ARKIT_NAMES], np.float32)
        scale *= 1 + share * (np.asarray(gain, np.float32).reshape(-1, 1) - 1)
    return scale


def _take_region(parts: list[Array], region: str, source: FaceMotion, like: FaceMotion, scale: Array) -> None:
    """Put a source's movement of a region in the place of the lanes' (in ``parts``; the sum goes into the first)."""
    moved = source.resample(like.fps)
    rows = np.arange(len(like)) % max(len(moved), 1)
    for name in ARKIT_NAMES:
        share = _belongs(name, region)
        if share and name in moved.expression_names and not name.startswith(("eyeBlink", "eyeLook")):
            for part in parts:
                part[:, _INDEX[name]] *= 1 - share
            parts[0][:, _INDEX[name]] += share * moved.column(name)[rows] * scale[:, _INDEX[name]]


def _yield_to_speech(felt: Array, spoken: Array, voice: Voice | None) -> Array:
    """An emotion as it may show on a face that is talking."""
    if voice is None:
        return felt
    felt = felt.copy()
    open_to = voice.speaking * (1 - voice.closure)
    for name in _OPENERS:
        felt[:, _INDEX[name]] *= OPENING_IN_SPEECH["jaw" if name == "jawOpen" else "lips"] * open_to
    rounding = np.clip(spoken[:, _INDEX["mouthPucker"]] + spoken[:, _INDEX["mouthFunnel"]], 0, 1)
    for name in _WIDENERS:
        felt[:, _INDEX[name]] *= 1 - 0.5 * rounding
    return felt


def _soft_limit(values: Array, limit: float = 1.0) -> Array:
    """Identity up to 80 % of the limit, on either side of 0, then a bend towards it that starts with slope 1."""
    knee = _KNEE * limit
    over = np.tanh(np.maximum(np.abs(values) - knee, 0) / (limit - knee)) * (limit - knee)
    return np.asarray(np.sign(values) * (np.minimum(np.abs(values), knee) + over), np.float32)


@lru_cache(maxsize=1)
def _lip_gaps() -> tuple[Array, npt.NDArray[np.int32]]:
    """``(52, P)`` metres that each expression at weight 1 parts the middle pairs of the lips, and these ``(P, 2)``."""
    rig = load_rig()
    pairs = rig.closures["lips"]
    basis = rig.expression_basis[[rig.expression_index[name] for name in ARKIT_NAMES]]
    gaps = basis[:, pairs[:, 0], 1] - basis[:, pairs[:, 1], 1]
    middle = gaps[_INDEX["jawOpen"]] > 0.5 * gaps[_INDEX["jawOpen"]].max()
    return np.asarray(gaps[:, middle] * _touches_mouth()[:, None], np.float32), pairs[middle]


def _touches_mouth() -> Array:
    """``(52,)`` 1, and 0 for brows and eyes, whose small say in the mouth's shape is none of theirs."""
    return np.array([not name.startswith(("brow", "eye")) for name in ARKIT_NAMES], np.float32)


def _gaps_along(upright: Array, pairs: npt.NDArray[np.int32]) -> Array:
    """``(52, P)`` metres that each expression at weight 1 parts pairs of the lips along a direction ``(3,)``."""
    rig = load_rig()
    basis = rig.expression_basis[[rig.expression_index[name] for name in ARKIT_NAMES]]
    return np.asarray(((basis[:, pairs] @ upright) @ [1, -1]) * _touches_mouth()[:, None], np.float32)


def _part_as_spoken(
    total: Array, calm: Array, photo: Array, identity: FaceIdentity | None, rest: FaceMotion | None
) -> Array:
    """The lips parted as they would be without feeling: the jaw gives back what an emotion opens, or takes.

    The gap is the one that the photo's camera sees: feelings push lips forward or draw them back, which a head that
    leans turns into a gap. As the jaw comes up, bared teeth stay bared; where it is up already, the lips close over it.
    """
    pairs = _lip_gaps()[1]
    upright = np.array([0, 1, 0], np.float32) if rest is None else matrix_from_axis_angle(rest.head_pose[0])[1]
    gaps, own = _gaps_along(upright, pairs), (load_rig().neutral(identity)[pairs] @ upright) @ [1, -1]
    jaw, lips = gaps[_INDEX["jawOpen"]].mean(), -gaps[_INDEX["mouthClose"]].mean()

    def gap(weights: Array) -> Array:
        """``(T,)`` metres between the lips as the face shows them."""
        return np.asarray(np.maximum(own + np.clip(weights + photo, 0, 1) @ gaps, 0).mean(1), np.float32)

    wanted, total = gap(calm), total.copy()
    for _ in range(3):  # weights end at 0 and 1, so one step may fall short
        excess = gap(total) - wanted
        raised = np.minimum(excess / jaw, np.maximum(JAW_YIELDS * total[:, _INDEX["jawOpen"]], 0))
        total[:, _INDEX["jawOpen"]] -= raised
        total[:, _INDEX["mouthClose"]] += np.maximum(excess - raised * jaw, 0) / lips
    return total


def _keep_closures(total: Array, spoken: Array, photo: Array, identity: FaceIdentity | None, voice: Voice) -> Array:
    """Take back what parts the lips where they must touch: at closures everything, in silence all but the lip lane."""
    gaps, pairs = _lip_gaps()
    closing = -gaps[_INDEX["mouthClose"]]
    total = total.copy()
    allowed = np.maximum(spoken @ gaps, 0) * (1 - voice.closure[:, None])
    excess = np.max(np.maximum(total @ gaps - allowed, 0) / closing, axis=1, initial=0)
    total[:, _INDEX["mouthClose"]] += excess * np.maximum(voice.closure, 1 - voice.speaking)
    if voice.speaking.max(initial=0) > 0:
        # In a clip with speech the photo's open mouth is closed throughout: it would gape in every pause.
        openers = [_INDEX[name] for name in (*_OPENERS, "mouthClose")]
        total[:, openers] -= photo[:, openers]
        left = photo.copy()
        left[:, openers] = 0
        neutral = load_rig().neutral(identity)
        own = left @ gaps + neutral[pairs[:, 0], 1] - neutral[pairs[:, 1], 1]
        total[:, _INDEX["mouthClose"]] += np.max(np.maximum(own, 0) / closing)
    return total


def _turn_eyes(gaze: FaceMotion, head: FaceMotion) -> Array:
    """``(T, 2, 3)``: the gaze relative to the viewer, made relative to the head (the vestibulo-ocular reflex)."""
    turned = np.array(gaze.eye_pose)
    turned[:, :, :2] -= head.head_pose[:, None, :2]
    for axis, limit in enumerate(_MAX_EYE_TURN):
        turned[:, :, axis] = _soft_limit(turned[:, :, axis], limit)
    return turned


def _set_lids(total: Array, photo: Array, blink: FaceMotion, eyes: Array) -> Array:
    """Lids that follow the gaze, droop with an emotion, and close with a blink, whatever else they do."""
    total = total.copy()
    for eye, side in enumerate(("Left", "Right")):
        down = eyes[:, eye, 0] / GAZE_ANGLE
        outward = eyes[:, eye, 1] / GAZE_ANGLE * (1 if side == "Left" else -1)
        for name, turn in (("Down", down), ("Up", -down), ("Out", outward), ("In", -outward)):
            total[:, _INDEX[f"eyeLook{name}{side}"]] += np.clip(turn, 0, 1)
        closed = blink.column(f"eyeBlink{side}")
        for stem in _LID_SHAPES:
            column = _INDEX[f"{stem}{side}"]
            total[:, column] = total[:, column] * (1 - closed) - photo[:, column] * closed
        lid = _INDEX[f"eyeBlink{side}"]
        droop = np.minimum(total[:, lid], np.maximum(0, MAX_DROOP - photo[:, lid]))
        total[:, lid] = droop + (1 - photo[:, lid] - droop) * closed
    return total
