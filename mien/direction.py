"""What the director asks for: five lanes (emotion, lips, style, blink, regions), the head and the gaze, over time.

Three spellings of one object::

    Direction.parse("happy:0.8")                                            # the short form: emotion only
    Direction.parse("0s:neutral, 1.2s:happy:0.9, 4s:va(-0.6,0.7)")
    Direction.load("scene.yaml")                                            # or .json; docs/direction.md lists all keys

Convention: time in seconds from the start of the clip; a keyframe is *reached* at its time by a minimum-jerk
transition that starts ``transition`` seconds before (never before the previous keyframe) and is held until the next
transition. Valence and arousal in [-1, 1]; angles in degrees, signed as in :mod:`mien.types`: pitch is positive
downwards, yaw is positive to the subject's left, roll is positive counter-clockwise as the viewer sees it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np

from mien.errors import DirectionError
from mien.types import Array, Emotion, EmotionTrack

LABELS: tuple[str, ...] = (*(label.value for label in Emotion), "relaxed", "tired")
"""The eight emotions, and two low-arousal states without which the lower half of the disc would have no face."""

LABEL_ANGLES: Mapping[str, float] = {
    "happy": 7.8, "surprise": 69.8, "fear": 100.0, "anger": 120.0, "disgust": 145.0, "contempt": 165.0, "sad": 207.5,
    "tired": 267.7, "relaxed": 318.0,
}  # fmt: skip
"""Where each label lies on the valence-arousal disc, degrees counter-clockwise from positive valence.

happy, surprise ("astonished"), sad, tired and relaxed: Russell, "A circumplex model of affect", 1980 (circular
scaling of words). His list has neither disgust nor contempt and puts angry and afraid 17 degrees apart; fear, anger,
disgust and contempt are our choice, spread over 100 to 165 degrees in the order in which annotators of faces place
them (AffectNet: fear aroused the most, disgust and contempt the most unpleasant).
"""

ALIASES: Mapping[str, str] = {
    "neu": "neutral", "none": "neutral", "calm": "relaxed", "content": "relaxed", "sleepy": "tired", "bored": "tired",
    "hap": "happy", "joy": "happy", "happiness": "happy", "joyful": "happy", "sadness": "sad",
    "sur": "surprise", "surprised": "surprise", "fea": "fear", "afraid": "fear", "fearful": "fear", "scared": "fear",
    "dis": "disgust", "disgusted": "disgust", "ang": "anger", "angry": "anger", "con": "contempt",
    "contemptuous": "contempt",
}  # fmt: skip
"""Other spellings of the labels, among them the three-letter codes of MEAD."""

REGIONS: tuple[str, ...] = tuple(
    f"{region}{side}"
    for region in ("brows", "eyes", "nose", "cheeks", "mouth", "jaw")
    for side in ("", "_left", "_right")
)
STYLES: tuple[str, ...] = ("neutral", "lively", "calm", "mumbling", "theatrical", "stern", "warm", "still")
HABITS: tuple[str, ...] = ("lips", "jaw", "brows", "head", "gaze", "blink", "smile", "tempo")
"""What a style changes; :mod:`mien.motion.style` says how."""


@dataclass(frozen=True, slots=True)
class Control:
    """One number that a direction sets.

    Attributes:
        name: what people call it.
        low: the least that is allowed.
        high: the most.
        unit: of the number; empty for a share or a factor.
        default: what holds where nothing is said; of lips and blinks the style scales it.
        help: what it does, in a sentence.
    """

    name: str
    low: float
    high: float
    unit: str
    default: float
    help: str

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest."""
        return self.low, self.high


CONTROLS: Mapping[str, Control] = {
    "emotion.intensity": Control("Intensity", 0, 1, "", 1, "How strongly it is felt; 0 is a neutral face."),
    "emotion.valence": Control("Valence", -1, 1, "", 0, "From unpleasant to pleasant."),
    "emotion.arousal": Control("Arousal", -1, 1, "", 0, "From calm to excited."),
    "transition": Control(
        "Transition", 0.1, 10, "s", 0.6, "How long a change between two keyframes takes, in every lane."
    ),
    "lips.gain": Control("Lip movement", 0, 2, "×", 1, "How far the lips move; p, b and m close at any setting."),
    "style.strength": Control(
        "Strength of style", 0, 2, "×", 1, "0 is the neutral style, 1 the style itself, 2 its exaggeration."
    ),
    "style.vector": Control("Habit", 0, 3, "×", 1, "One habit of a style."),
    "blink.rate": Control(
        "Blink rate", 0, 60, "per min", 15, "Spontaneous blinks per minute; 0 for none but those you place."
    ),
    "blink.duration": Control("Blink length", 0.1, 2, "s", 0.25, "How long one blink lasts."),
    "regions.gain": Control("Movement", 0, 2, "×", 1, "How far this part of the face moves; 0 keeps it still."),
    "head.amount": Control(
        "Head movement", 0, 2, "×", 1, "How much natural movement the head has; 0 for exactly none."
    ),
    "head.pitch": Control("Head nod", -30, 30, "°", 0, "Nods the head; positive looks down."),
    "head.yaw": Control("Head turn", -45, 45, "°", 0, "Turns the head; positive to the person's left."),
    "head.roll": Control("Head tilt", -30, 30, "°", 0, "Tilts the head; positive counter-clockwise as you see it."),
    "gaze.amount": Control(
        "Eye movement", 0, 2, "×", 1, "How much natural movement the eyes have; 0 for exactly none."
    ),
    "gaze.yaw": Control(
        "Look aside", -35, 35, "°", 0, "Where the eyes look; positive to the person's left, 0 into the camera."
    ),
    "gaze.pitch": Control("Look up, down", -25, 25, "°", 0, "Where the eyes look; positive down, 0 into the camera."),
}
"""Every number of a direction, by its key in the file; those of a style's vector and of the regions share one."""


def check_choice(value: str, allowed: Sequence[str], what: str) -> str:
    """``value`` if it is allowed; else an error with the list and the nearest name."""
    if value in allowed:
        return value
    from difflib import get_close_matches

    near = get_close_matches(value, allowed, n=1, cutoff=0.55)
    guess = f"did you mean {near[0]!r}? " if near else ""
    raise DirectionError(f"unknown {what} {value!r}", f"{guess}known: {', '.join(allowed)}")


def check_range(value: float, low: float, high: float, what: str) -> None:
    """Refuse a value outside [low, high]."""
    if not low <= value <= high:  # also refuses NaN
        raise DirectionError(f"{what} is {value:g}", f"allowed: {low:g} to {high:g}")


def check_times(times: Sequence[float], what: str) -> None:
    """Refuse keyframe times that do not start at 0 and increase."""
    if not times:
        raise DirectionError(f"{what} has no keyframes", "give at least one")
    if times[0] != 0 or any(not a < b < math.inf for a, b in pairwise(times)):
        raise DirectionError(
            f"keyframe times of {what} are {', '.join(f'{t:g}' for t in times)}", "they start at 0 s and increase"
        )


def sample_keyframes(times: Sequence[float], values: Array, n_frames: int, fps: float, transition: float) -> Array:
    """Keyframes to one row per frame; frame ``i`` shows time ``i / fps``.

    Args:
        times: ``K`` seconds, the first 0, increasing.
        values: ``(K, D)``.
        n_frames: rows wanted.
        fps: rows per second.
        transition: seconds that a change takes.

    Returns:
        ``(n_frames, D)``. Changes follow the minimum-jerk polynomial 10s³ - 15s⁴ + 6s⁵ (Flash and Hogan, 1985), so
        that velocity and acceleration are zero at both ends.
    """
    points = np.asarray(values, np.float64)
    curve = np.repeat(points[:1], n_frames, axis=0)
    for k in range(1, len(times)):
        start = max(times[k - 1], times[k] - transition)
        first, reached = (min(math.ceil(time * fps), n_frames) for time in (start, times[k]))
        s = (np.arange(first, reached) / fps - start)[:, None] / max(times[k] - start, 1e-9)
        curve[first:reached] = points[k - 1] + s**3 * (10 - 15 * s + 6 * s**2) * (points[k] - points[k - 1])
        held = math.ceil(times[k + 1] * fps) if k + 1 < len(times) else n_frames
        curve[reached:held] = points[k]
    return curve.astype(np.float32)


def disc_weights(valence: float, arousal: float) -> Array:
    """``(len(LABELS),)`` weights of the labels, summing to 1, that show a point of the valence-arousal disc.

    The centre is neutral. Elsewhere the two labels on either side of the point's angle share the point's radius
    (limited to 1) in proportion to the angle between them: continuous everywhere, and a label's own direction at
    radius r is that label at intensity r.
    """
    names, angles = zip(*LABEL_ANGLES.items(), strict=True)
    radius = min(1.0, math.hypot(valence, arousal))
    angle = math.degrees(math.atan2(arousal, valence)) % 360
    after = next((i for i, a in enumerate(angles) if a > angle), 0)
    gap = (angles[after] - angles[after - 1]) % 360
    share = ((angle - angles[after - 1]) % 360) / gap
    weights = np.zeros(len(LABELS), np.float32)
    weights[LABELS.index("neutral")] = 1 - radius
    weights[LABELS.index(names[after - 1])] = radius * (1 - share)
    weights[LABELS.index(names[after])] += radius * share
    return weights


@dataclass(frozen=True, slots=True)
class Curve:
    """A number over time: ``keys`` of (seconds, value), the first at 0 s."""

    keys: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", tuple((float(t), float(v)) for t, v in self.keys))
        check_times([t for t, _ in self.keys], "a curve")

    @classmethod
    def constant(cls, value: float) -> Self:
        """The same value at all times."""
        return cls(((0.0, value),))

    def check(self, low: float, high: float, what: str) -> None:
        """Refuse values outside [low, high] with a :class:`~mien.errors.DirectionError`."""
        for _, value in self.keys:
            check_range(value, low, high, what)

    def sample(self, n_frames: int, fps: float, transition: float = 0.6) -> Array:
        """``(n_frames,)`` values; see :func:`sample_keyframes`."""
        times, values = zip(*self.keys, strict=True)
        return sample_keyframes(times, np.array(values, np.float32)[:, None], n_frames, fps, transition)[:, 0]


ONE, ZERO = Curve.constant(1), Curve.constant(0)


@dataclass(frozen=True, slots=True)
class EmotionKey:
    """An emotion reached at ``time`` seconds: a label with its intensity 0 to 1, or a point ``va`` of the disc."""

    time: float = 0.0
    label: str = "neutral"
    intensity: float = 1.0
    va: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        name = self.label.lower()
        known = (*LABELS, *ALIASES)
        label = check_choice(ALIASES.get(name, name), LABELS if name not in known else known, "emotion")
        object.__setattr__(self, "label", label)
        check_range(self.intensity, *CONTROLS["emotion.intensity"].limits, f"intensity of {label}")
        for name, value in zip(("valence", "arousal"), self.va or (), strict=False):
            check_range(value, *CONTROLS[f"emotion.{name}"].limits, name)

    @property
    def weights(self) -> Array:
        """``(len(LABELS),)`` summing to 1."""
        if self.va is not None:
            return disc_weights(*self.va)
        weights = np.zeros(len(LABELS), np.float32)
        weights[LABELS.index("neutral")] = 1
        if self.label != "neutral":
            weights[LABELS.index("neutral")] -= self.intensity
            weights[LABELS.index(self.label)] = self.intensity
        return weights

    @property
    def point(self) -> tuple[float, float]:
        """Valence and arousal; a label's intensity is its radius."""
        if self.va is not None:
            return self.va
        if self.label == "neutral":
            return 0.0, 0.0
        angle = math.radians(LABEL_ANGLES[self.label])
        return self.intensity * math.cos(angle), self.intensity * math.sin(angle)

    @property
    def wish(self) -> str:
        """Without its time, as in ``happy:0.8``."""
        if self.va is not None:
            return f"va({_text(self.va[0])},{_text(self.va[1])})"
        return (
            self.label if self.label == "neutral" and self.intensity == 1 else f"{self.label}:{_text(self.intensity)}"
        )

    def __str__(self) -> str:
        return f"{_text(self.time)}s:{self.wish}"


@dataclass(frozen=True, slots=True)
class Lips:
    """How far the lips move (``gain`` 0 to 2; ``None``: the style's habit), and what moves them.

    ``source`` is ``speech`` (phones), ``voca`` (a VOCA network in the talking style of ``speaker``) or ``none``.
    """

    gain: Curve | None = None
    source: str = "speech"
    speaker: str = ""

    def __post_init__(self) -> None:
        if self.gain is not None:
            self.gain.check(*CONTROLS["lips.gain"].limits, "gain of lips")
        check_choice(self.source, ("speech", "voca", "none"), "lips source")


@dataclass(frozen=True, slots=True)
class StyleChoice:
    """How the person talks: a preset ``name``, or the ``reference`` motion file, or a ``vector`` of habits.

    ``strength`` 0 is the neutral style, 1 the style itself, 2 its exaggeration.
    """

    name: str = "neutral"
    reference: str | None = None
    vector: tuple[tuple[str, float], ...] = ()
    strength: float = 1.0

    def __post_init__(self) -> None:
        check_choice(self.name, STYLES, "style")
        check_range(self.strength, *CONTROLS["style.strength"].limits, "strength of style")
        for habit, value in self.vector:
            check_choice(habit, HABITS, "habit")
            check_range(value, *CONTROLS["style.vector"].limits, f"style habit {habit}")


@dataclass(frozen=True, slots=True)
class BlinkEvent:
    """One blink that begins at ``time`` and lasts ``duration`` seconds, of ``both`` eyes or the subject's ``left``."""

    time: float
    duration: float = 0.25
    side: str = "both"

    def __post_init__(self) -> None:
        check_range(self.time, 0, 1e6, "time of a blink in seconds")
        check_range(self.duration, *CONTROLS["blink.duration"].limits, "duration of a blink in seconds")
        check_choice(self.side, ("both", "left", "right"), "side of a blink")


@dataclass(frozen=True, slots=True)
class Blinks:
    """``rate`` of spontaneous blinks per minute (``None``: the style's natural rate), and explicit ``events``."""

    rate: Curve | None = None
    events: tuple[BlinkEvent, ...] = ()

    def __post_init__(self) -> None:
        if self.rate is not None:
            self.rate.check(*CONTROLS["blink.rate"].limits, "blink rate per minute")


@dataclass(frozen=True, slots=True)
class Region:
    """How far one region moves (``gain`` 0 to 2), and whose movement it takes (``source``: a motion file)."""

    gain: Curve = ONE
    source: str | None = None

    def __post_init__(self) -> None:
        self.gain.check(*CONTROLS["regions.gain"].limits, "gain of a region")


@dataclass(frozen=True, slots=True)
class HeadPose:
    """Natural head movement (``amount`` 0 to 2) around a given pose in degrees."""

    amount: Curve = ONE
    pitch: Curve = ZERO
    yaw: Curve = ZERO
    roll: Curve = ZERO

    def __post_init__(self) -> None:
        self.amount.check(*CONTROLS["head.amount"].limits, "amount of head movement")
        for name in ("pitch", "yaw", "roll"):
            getattr(self, name).check(*CONTROLS[f"head.{name}"].limits, f"head {name} in degrees")


@dataclass(frozen=True, slots=True)
class GazeTarget:
    """Natural eye movement (``amount`` 0 to 2) around a target in degrees; 0, 0 looks into the camera."""

    amount: Curve = ONE
    yaw: Curve = ZERO
    pitch: Curve = ZERO

    def __post_init__(self) -> None:
        self.amount.check(*CONTROLS["gaze.amount"].limits, "amount of eye movement")
        for name in ("yaw", "pitch"):
            getattr(self, name).check(*CONTROLS[f"gaze.{name}"].limits, f"gaze {name} in degrees")


@dataclass(frozen=True, slots=True)
class Direction:
    """All lanes. ``Direction()`` is a neutral person who speaks, blinks and moves the head naturally.

    Attributes:
        emotion: keyframes, the first at 0 s.
        transition: seconds that a change between keyframes takes, in every lane.
        lips: gain and source of the lips.
        style: how the person talks.
        blink: rate and events.
        regions: by name (:data:`REGIONS`); left and right are the subject's.
        head: pose in degrees and amount of movement.
        gaze: target in degrees and amount of movement.

    Raises:
        DirectionError: if a value is out of range or a name is unknown.
    """

    emotion: tuple[EmotionKey, ...] = (EmotionKey(),)
    transition: float = 0.6
    lips: Lips = field(default_factory=Lips)
    style: StyleChoice = field(default_factory=StyleChoice)
    blink: Blinks = field(default_factory=Blinks)
    regions: Mapping[str, Region] = field(default_factory=dict)
    head: HeadPose = field(default_factory=HeadPose)
    gaze: GazeTarget = field(default_factory=GazeTarget)

    def __post_init__(self) -> None:
        check_times([key.time for key in self.emotion], "emotion")
        check_range(self.transition, *CONTROLS["transition"].limits, "transition in seconds")
        for name in self.regions:
            check_choice(name, REGIONS, "region")

    def __repr__(self) -> str:
        return f"Direction.from_dict({self.to_dict()})"

    def emotion_curve(self, n_frames: int, fps: float, tempo: float = 1.0) -> Array:
        """``(n_frames, len(LABELS))`` weights of the labels, each row summing to 1; ``tempo`` 2 halves transitions."""
        values = np.stack([key.weights for key in self.emotion])
        return sample_keyframes([k.time for k in self.emotion], values, n_frames, fps, self.transition / tempo)

    def emotion_track(self, n_frames: int, fps: float, tempo: float = 1.0) -> EmotionTrack:
        """Valence and arousal over time, exactly as asked at every keyframe."""
        points = np.array([key.point for key in self.emotion], np.float32)
        va = sample_keyframes([k.time for k in self.emotion], points, n_frames, fps, self.transition / tempo)
        return EmotionTrack(np.clip(va, -1, 1), fps)

    @property
    def files(self) -> dict[str, str]:
        """The motion files and videos that this direction names, by the key that names them."""
        files = {"style.reference": self.style.reference}
        files |= {f"regions.{name}.source": region.source for name, region in self.regions.items()}
        return {key: path for key, path in files.items() if path}

    def with_files(self, change: Callable[[str], str]) -> Self:
        """A copy whose :attr:`files` are put through ``change``."""

        def changed(path: str | None) -> str | None:
            return change(path) if path else None

        style = replace(self.style, reference=changed(self.style.reference))
        regions = {name: replace(region, source=changed(region.source)) for name, region in self.regions.items()}
        return replace(self, style=style, regions=regions)

    @classmethod
    def parse(cls, text: str | Path) -> Self:
        """A direction from the short form, the path of a ``.yaml`` or ``.json`` file, or the text of one.

        Raises:
            DirectionError: naming the place, the value, and what is allowed there.
        """
        if isinstance(text, Path) or Path(text).suffix.lower() in (".yaml", ".yml", ".json"):
            return cls.load(text)
        if re.fullmatch(r"[^:,\n]+\.[a-z]{2,4}", text):
            raise DirectionError(f"{text}: a direction is kept as .yaml or .json", "name one, or write happy:0.8")
        return cls.read(text)

    @classmethod
    def read(cls, text: str) -> Self:
        """A direction from the short form or the text of a file; unlike :meth:`parse` it never opens one.

        Raises:
            DirectionError: naming the place, the value, and what is allowed there.
        """
        from mien.direction_reader import read_text

        return cls(**read_text(text))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a ``.yaml`` or ``.json`` file; the files it names are found beside it, else from where mien runs.

        Raises:
            DirectionError: naming file and line, the value, and what is allowed there.
        """
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            raise DirectionError(
                f"{path}: no such file", "check the path, or write a direction such as happy:0.8"
            ) from None
        except OSError as error:
            raise DirectionError(f"{path}: cannot be read ({error.strerror})", "check the path") from error
        except ValueError as error:
            raise DirectionError(f"{path}: is not text", "give a .yaml or .json file in UTF-8") from error
        from mien.direction_reader import read_yaml

        def found(name: str) -> str:
            beside = Path(path).parent / name
            return str(beside) if beside.exists() else name

        return cls(**read_yaml(text, str(path))).with_files(found)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`; takes everything that a YAML file may say."""
        from mien.direction_reader import read_python

        return cls(**read_python(content))

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, strings and numbers; lanes at their defaults are left out."""
        content: dict[str, Any] = {}
        if self.emotion != (EmotionKey(),):
            content["emotion"] = ", ".join(str(key) for key in self.emotion)
        if self.transition != 0.6:
            content["transition"] = self.transition
        for name in ("lips", "style", "blink", "head", "gaze"):
            if lane := _plain(getattr(self, name)):
                content[name] = lane
        if self.regions:
            content["regions"] = {name: _plain(region) or 1.0 for name, region in self.regions.items()}
        return content

    def to_yaml(self) -> str:
        """The text of a file."""
        import yaml

        return yaml.safe_dump(self.to_dict() or {"emotion": "neutral"}, sort_keys=False, allow_unicode=True, width=100)

    def save(self, path: str | Path) -> None:
        """Write ``.json``, or YAML under any other ending."""
        is_json = Path(path).suffix.lower() == ".json"
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n" if is_json else self.to_yaml()
        Path(path).write_text(text, encoding="utf-8")


def _text(number: float) -> str:
    """The shortest text that reads back as the same number."""
    return repr(float(number)).removesuffix(".0")


def _plain(value: Any) -> Any:
    """Lanes as plain data; what stands at its default is left out."""
    if isinstance(value, Curve):
        if len(value.keys) == 1:
            return value.keys[0][1]
        return ", ".join(f"{_text(t)}s:{_text(v)}" for t, v in value.keys)
    if isinstance(value, BlinkEvent):
        return {"at": value.time, "duration": value.duration, "side": value.side}
    if isinstance(value, tuple):
        return dict(value) if value and isinstance(value[0], tuple) else [_plain(item) for item in value]
    if not isinstance(value, Lips | StyleChoice | Blinks | Region | HeadPose | GazeTarget):
        return value
    default = StyleChoice() if isinstance(value, StyleChoice) else type(value)()
    return {
        f.name: _plain(getattr(value, f.name))
        for f in fields(value)
        if getattr(value, f.name) != getattr(default, f.name)
    }
