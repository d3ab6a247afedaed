"""The types that carry everything from stage to stage.

Convention for all of them:
    time is the first axis; arrays are float32 and read-only; lengths in metres, angles in radians, time in seconds;
    rotations are axis-angle vectors (direction = axis, right-handed; length = angle);
    model space is x to the subject's left (the viewer's right), y up, z out of the face towards the camera;
    so ``head_pose = (0.2, 0, 0)`` nods down, ``(0, 0.2, 0)`` turns to the subject's left (the viewer's right),
    ``(0, 0, 0.2)`` tilts the head counter-clockwise as the viewer sees it.
    left and right are the subject's; expressions, action units and emotions are exchanged by name, never by index.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from numpy.lib.npyio import NpzFile

from mien.errors import FormatError, InputError
from mien.rotations import slerp_sequence

Array = npt.NDArray[np.float32]
Frame = npt.NDArray[np.uint8]
"""One picture: ``(H, W, 3)`` uint8 RGB."""


def check_frame(frame: Any, name: str = "frame") -> Frame:
    """``frame``, if it is a picture as all of mien takes them.

    Raises:
        ValueError: if it is another kind of thing, such as a file's name, values in [0, 1], or a grey picture, or
            if it has no pixels.
    """
    if isinstance(frame, np.ndarray):
        if frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3 and frame.size:
            return frame
        got, is_float = f"{frame.shape} {frame.dtype}", frame.dtype.kind == "f"
        remedy = "; (255 * frame).astype(np.uint8) if its values go from 0 to 1" if is_float else ""
    else:
        got = type(frame).__name__
        remedy = "; read_image reads a file" if isinstance(frame, str | Path) else "; np.asarray may make one of it"
    raise ValueError(f"{name}: expected an array (H, W, 3) of uint8, RGB, got {got}{remedy}")


def check_kind(value: Any, kind: type, name: str, remedy: str) -> None:
    """Refuse what is not of a kind, at the door instead of deep inside.

    Raises:
        TypeError: naming the expected and the actual kind, and how to come by the expected one.
    """
    if not isinstance(value, kind):
        raise TypeError(f"{name}: expected {kind.__name__}, got {type(value).__name__}; {remedy}")


MOTION_FORMAT = 1
"""Version of the ``.npz`` layout that :meth:`FaceMotion.save` writes."""


class Emotion(StrEnum):
    """The eight labels of AffectNet in EmoNet's order."""

    NEUTRAL = "neutral"
    HAPPY = "happy"
    SAD = "sad"
    SURPRISE = "surprise"
    FEAR = "fear"
    DISGUST = "disgust"
    ANGER = "anger"
    CONTEMPT = "contempt"


ARKIT_NAMES: tuple[str, ...] = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft",
    "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight",
    "eyeSquintRight", "eyeWideRight", "jawForward", "jawRight", "jawLeft", "jawOpen", "mouthClose", "mouthFunnel",
    "mouthPucker", "mouthRight", "mouthLeft", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft",
    "mouthFrownRight", "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight",
    "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight", "browDownLeft",
    "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft",
    "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip
"""Apple's 52 blendshape names in the column order of Live Link Face."""


def _frozen(value: npt.ArrayLike, name: str, shape: tuple[int | None, ...]) -> Array:
    """``value`` as a read-only float32 array; ``None`` in ``shape`` matches any length."""
    array = np.array(value, dtype=np.float32)
    if len(array.shape) != len(shape) or any(
        want is not None and got != want for got, want in zip(array.shape, shape, strict=True)
    ):
        expected = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise ValueError(f"{name}: expected shape {expected}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: contains NaN or infinity")
    array.setflags(write=False)
    return array


def check_fps(fps: float) -> None:
    """Refuse a frame rate that is none.

    Raises:
        ValueError: if it is not positive, or above 1000.
    """
    if not 0 < fps <= 1000:
        raise ValueError(f"fps: expected more than 0 and at most 1000 frames per second, got {fps}")


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Mono sound.

    Attributes:
        samples: ``(N,)`` in [-1, 1].
        sample_rate: samples per second.
    """

    samples: Array
    sample_rate: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", _frozen(self.samples, "samples", (None,)))
        if self.sample_rate <= 0:
            raise ValueError(f"sample_rate: expected a positive number of Hz, got {self.sample_rate}")

    def __repr__(self) -> str:
        return f"<Audio: {self.duration:.2f} s at {self.sample_rate} Hz>"

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True, slots=True)
class Phone:
    """One speech sound: ARPAbet ``symbol`` (``SIL`` for silence) from ``start`` to ``end`` seconds."""

    symbol: str
    start: float
    end: float


@dataclass(frozen=True, slots=True, eq=False)
class SpeechFeatures:
    """What was said and how, sampled once per video frame.

    Attributes:
        values: ``(T, D)``; for kind ``"phones42"`` posteriors of PocketSphinx' 42 units, each row summing to 1.
        fps: rows per second, equal to the video rate.
        kind: what the columns are, so that a model refuses features it was not trained on.
        phones: the phone sequence with times.
        loudness: ``(T,)`` in [0, 1] relative to the clip's speech level.
        pitch: ``(T,)`` in Hz, 0 where unvoiced.
        voiced: ``(T,)`` 1 where somebody speaks, 0 in silence.
        source: how phones were found: ``"text"``, ``"recognised"``, ``"acoustic"`` (fallback) or ``"silent"``
            (nobody speaks).
    """

    values: Array
    fps: float
    kind: str
    phones: tuple[Phone, ...]
    loudness: Array
    pitch: Array
    voiced: Array
    source: str = "recognised"

    def __post_init__(self) -> None:
        check_fps(self.fps)
        object.__setattr__(self, "values", _frozen(self.values, "values", (None, None)))
        for name in ("loudness", "pitch", "voiced"):
            object.__setattr__(self, name, _frozen(getattr(self, name), name, (len(self.values),)))

    def __repr__(self) -> str:
        found = f"{len(self.phones)} phones ({self.source})"
        return f"<SpeechFeatures: {len(self)} rows of {self.kind} at {self.fps:g} a second, {found}>"

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True, eq=False)
class EmotionTrack:
    """Valence and arousal over time, and how likely each label is where an estimator says so.

    Attributes:
        va: ``(T, 2)`` in [-1, 1], valence first.
        fps: rows per second.
        labels: ``L`` emotions, the columns of ``probabilities``.
        probabilities: ``(T, L)``, each row summing to 1, or ``None`` if there are no labels.
    """

    va: Array
    fps: float
    labels: tuple[Emotion, ...] = ()
    probabilities: Array | None = None

    def __post_init__(self) -> None:
        check_fps(self.fps)
        if self.probabilities is not None:
            shape = (len(self.va), len(self.labels))
            object.__setattr__(self, "probabilities", _frozen(self.probabilities, "probabilities", shape))
        object.__setattr__(self, "va", _frozen(self.va, "va", (None, 2)))
        if len(self.va) and np.abs(self.va).max() > 1:
            raise ValueError(f"va: expected values in [-1, 1], got {np.abs(self.va).max():.3g}")

    def __repr__(self) -> str:
        return f"<EmotionTrack: {len(self)} rows at {self.fps:g} a second, {len(self.labels)} labels>"

    def __len__(self) -> int:
        return len(self.va)

    def best(self) -> tuple[Emotion, ...]:
        """The likeliest label of every row; empty if there are no labels."""
        return () if self.probabilities is None else tuple(self.labels[i] for i in self.probabilities.argmax(1))


@dataclass(frozen=True, slots=True, eq=False)
class ActionUnits:
    """Facial action units (FACS) over time.

    Attributes:
        values: ``(T, A)`` intensities in [0, 1] (OpenFace's 0 to 5 divided by 5).
        names: ``A`` names such as ``"AU12"``.
        fps: rows per second.
    """

    values: Array
    names: tuple[str, ...]
    fps: float

    def __post_init__(self) -> None:
        check_fps(self.fps)
        object.__setattr__(self, "values", _frozen(self.values, "values", (None, len(self.names))))

    def __repr__(self) -> str:
        return f"<ActionUnits: {len(self)} rows of {len(self.names)} units at {self.fps:g} a second>"

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True, eq=False)
class FaceIdentity:
    """Who: the shape of one person's neutral face.

    Attributes:
        rig: name of the rig whose identity basis ``betas`` belongs to.
        betas: ``(S,)`` identity coefficients in standard deviations.
        residual: ``(V, 3)`` metres, what the basis leaves unexplained at the neutral face; may be all zero.
    """

    rig: str
    betas: Array
    residual: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", _frozen(self.betas, "betas", (None,)))
        object.__setattr__(self, "residual", _frozen(self.residual, "residual", (None, 3)))

    def __repr__(self) -> str:
        return f"<FaceIdentity: {len(self.betas)} coefficients of rig {self.rig!r}>"


@dataclass(frozen=True, slots=True, eq=False)
class FaceMotion:
    """How a face moves, without whose face it is: the one thing that passes through every floor of the house.

    Attributes:
        fps: frames per second.
        rig: name of the rig whose expression space this is (``"builtin"``, ``"flame"``, ``"ict"``).
        expression_names: ``E`` names of the expression columns.
        expression: ``(T, E)``; on the builtin rig weights in [0, 1] under ARKit's names.
        jaw_pose: ``(T, 3)`` rad; zero on rigs that open the jaw by expression.
        head_pose: ``(T, 3)`` rad.
        eye_pose: ``(T, 2, 3)`` rad, the subject's left eye first.
        translation: ``(T, 3)`` metres.
        offsets: ``(T, V, 3)`` metres added to the template at zero pose before posing, or ``None``.

    Raises:
        ValueError: if an array has the wrong shape or is not finite; the message names expected and actual.
    """

    fps: float
    rig: str
    expression_names: tuple[str, ...]
    expression: Array
    jaw_pose: Array
    head_pose: Array
    eye_pose: Array
    translation: Array
    offsets: Array | None = None

    def __post_init__(self) -> None:
        check_fps(self.fps)
        if len(set(self.expression_names)) != len(self.expression_names):
            raise ValueError("expression_names: names are repeated")
        object.__setattr__(self, "expression_names", tuple(self.expression_names))
        expression = _frozen(self.expression, "expression", (None, len(self.expression_names)))
        object.__setattr__(self, "expression", expression)
        n = len(expression)
        for name, shape in (("jaw_pose", (n, 3)), ("head_pose", (n, 3)), ("eye_pose", (n, 2, 3)),
                            ("translation", (n, 3))):  # fmt: skip
            object.__setattr__(self, name, _frozen(getattr(self, name), name, shape))
        if self.offsets is not None:
            object.__setattr__(self, "offsets", _frozen(self.offsets, "offsets", (n, None, 3)))

    @classmethod
    def zeros(
        cls, n_frames: int, fps: float, rig: str = "builtin", expression_names: Sequence[str] = ARKIT_NAMES
    ) -> Self:
        """``n_frames`` of no motion at all."""
        return cls(
            fps=fps,
            rig=rig,
            expression_names=tuple(expression_names),
            expression=np.zeros((n_frames, len(expression_names)), np.float32),
            jaw_pose=np.zeros((n_frames, 3), np.float32),
            head_pose=np.zeros((n_frames, 3), np.float32),
            eye_pose=np.zeros((n_frames, 2, 3), np.float32),
            translation=np.zeros((n_frames, 3), np.float32),
        )

    def __repr__(self) -> str:
        shapes = f"{len(self.expression_names)} expressions of rig {self.rig!r}"
        return f"<FaceMotion: {len(self)} frames at {self.fps:g} a second, {shapes}>"

    def __len__(self) -> int:
        return len(self.expression)

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self) / self.fps

    def __getitem__(self, index: slice) -> Self:
        """A stretch of time; ``motion[10:20]`` holds frames 10 to 19."""
        if not isinstance(index, slice):
            raise TypeError(f"FaceMotion takes slices (motion[3:4] for one frame), got {type(index).__name__}")
        return self._map(lambda array: array[index])

    def column(self, name: str) -> Array:
        """``(T,)`` weights of one expression by name.

        Raises:
            KeyError: if the rig has no such expression; the message lists the names.
        """
        if name not in self.expression_names:
            raise KeyError(f"no expression {name!r} on rig {self.rig!r}; it has {', '.join(self.expression_names)}")
        return self.expression[:, self.expression_names.index(name)]

    def with_columns(self, columns: Mapping[str, npt.ArrayLike]) -> Self:
        """A copy in which the named expressions are replaced by the given ``(T,)`` curves or constants."""
        expression = np.array(self.expression)
        for name, curve in columns.items():
            self.column(name)
            expression[:, self.expression_names.index(name)] = curve
        return replace(self, expression=expression)

    def resample(self, fps: float) -> Self:
        """The same motion at another frame rate: slerp for rotations, linear for the rest.

        Frame ``i`` of the result shows time ``i / fps``; the length is ``round(duration * fps)``.
        """
        check_fps(fps)
        if fps == self.fps or len(self) == 0:
            return replace(self, fps=fps)
        n = max(1, round(self.duration * fps))
        at = np.clip(np.arange(n) * (self.fps / fps), 0, len(self) - 1)
        low = np.floor(at).astype(np.int64)
        high = np.minimum(low + 1, len(self) - 1)
        fraction = (at - low).astype(np.float32)

        def linear(array: Array) -> Array:
            f = fraction.reshape(-1, *[1] * (array.ndim - 1))
            return np.asarray(array[low] * (1 - f) + array[high] * f, np.float32)

        changed: dict[str, Any] = {
            name: linear(getattr(self, name))
            for name in ("expression", "translation", "offsets")
            if getattr(self, name) is not None
        }
        for name in ("jaw_pose", "head_pose", "eye_pose"):
            changed[name] = slerp_sequence(getattr(self, name), at)
        return replace(self, fps=fps, **changed)

    def concat(self, other: FaceMotion) -> Self:
        """This motion followed by ``other``.

        Raises:
            ValueError: if rate, rig, names or the presence of offsets differ.
        """
        for name in ("fps", "rig", "expression_names"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(f"cannot join motions: {name} is {getattr(self, name)} and {getattr(other, name)}")
        if (self.offsets is None) != (other.offsets is None):
            raise ValueError("cannot join motions: only one of them has offsets")
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(self, name), getattr(other, name)])
            for name in self._array_names()
            if getattr(self, name) is not None
        }
        return replace(self, **joined)

    def save(self, path: str | Path) -> None:
        """Write ``.npz``: the arrays, and a JSON header with format number, rig, rate and names. Nothing is pickled."""
        header = {
            "format": "mien.FaceMotion",
            "version": MOTION_FORMAT,
            "fps": self.fps,
            "rig": self.rig,
            "expression_names": self.expression_names,
        }
        arrays = {name: getattr(self, name) for name in self._array_names() if getattr(self, name) is not None}
        with Path(path).open("wb") as file:
            np.savez_compressed(file, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            FormatError: if the file is no motion file, is damaged, or is of a newer format.
        """
        path = Path(path)
        try:
            with path.open("rb") as raw, NpzFile(raw) as file:
                header = json.loads(bytes(file["header"]).decode())
                arrays = {name: file[name] for name in cls._array_names() if name in file.files}
            if header["format"] != "mien.FaceMotion" or header["version"] > MOTION_FORMAT:
                raise FormatError(
                    f"{path}: motion format {header['format']} {header['version']} is newer than this mien reads",
                    f"update mien (it reads up to {MOTION_FORMAT})",
                )
            return cls(
                fps=header["fps"], rig=header["rig"], expression_names=tuple(header["expression_names"]), **arrays
            )
        except FileNotFoundError:
            raise InputError(f"{path}: no such file", "check the path") from None
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise FormatError(
                f"{path}: not a mien motion file ({error})", "make one with `mien track` or `mien export`"
            ) from error

    @classmethod
    def _array_names(cls) -> tuple[str, ...]:
        return tuple(f.name for f in fields(cls) if f.name not in ("fps", "rig", "expression_names"))

    def _map(self, change: Callable[[Array], Array]) -> Self:
        arrays = {name: getattr(self, name) for name in self._array_names()}
        changed: dict[str, Any] = {name: change(array) for name, array in arrays.items() if array is not None}
        return replace(self, **changed)


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """One picture of one person, with the tracked face in it.

    Attributes:
        image: ``(H, W, 3)`` uint8 RGB, the whole picture.
        landmarks: ``(478, 3)`` pixels: x right, y down, z towards the viewer negative, as mediapipe gives them
            (same scale as x).
        identity: the person's neutral face.
        rest: one frame of motion: the expression, head pose and gaze of the photo itself.
        camera: ``(3,)`` scaled orthography: pixels per metre, then the x and y in pixels of the model's origin.
        person_mask: ``(H, W)`` in [0, 1], 1 on the person, or ``None`` if not segmented.
    """

    image: Frame
    landmarks: Array
    identity: FaceIdentity
    rest: FaceMotion
    camera: Array
    person_mask: Array | None = field(default=None)

    def __post_init__(self) -> None:
        check_frame(self.image, "image")
        object.__setattr__(self, "landmarks", _frozen(self.landmarks, "landmarks", (478, 3)))
        object.__setattr__(self, "camera", _frozen(self.camera, "camera", (3,)))
        if len(self.rest) != 1:
            raise ValueError(f"rest: expected one frame, got {len(self.rest)}")
        if self.person_mask is not None:
            object.__setattr__(self, "person_mask", _frozen(self.person_mask, "person_mask", self.image.shape[:2]))

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f"<Portrait: picture of {width} x {height}, rig {self.rest.rig!r}>"
