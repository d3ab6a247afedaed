"""What one running studio has loaded: pictures, voices, and what was worked out of them.

Nothing here belongs to one request or one browser: a page names with every request the picture, the voice and the
direction it means, so any number of them can be open at once. What takes time is made once and kept.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

import docstring_parser
import numpy as np

from mien.direction import Direction, EmotionKey
from mien.errors import InputError
from mien.pipelines.rehearse import Faces, Sitter, find_faces, hear, silence
from mien.pipelines.speak import LIMITS, SpeakOptions, check_numbers, open_voca, perform, speak, text_file_of
from mien.progress import Progress
from mien.studio.jobs import Job, Jobs
from mien.types import Audio, FaceMotion, Frame, Portrait, SpeechFeatures

if TYPE_CHECKING:
    from mien.motion.voca import Voca

CHOSEN = ("text", "fps", "max_size", "crf", "seed", "renderer", "face")
"""Options of ``mien speak`` that the page offers; a portrait and a voice are loaded, not named."""

PREVIEW_SIDE = 720
"""Longest side of preview frames in pixels: a frame takes some 10 ms, and screens show hardly more."""

SILENT_SECONDS = 8.0
"""How long a face can be directed before there is a voice."""

_PEAKS, _PEAKS_PER_SECOND, _MOST_PEAKS = 1600, 50, 40_000
"""Points of the waveform: more than screens are wide, and enough to look closer."""

T = TypeVar("T")


@dataclass(frozen=True)
class Loaded:
    """A file that somebody gave.

    Attributes:
        key: names it in addresses.
        path: where it lies.
        shown: how a command line would name it.
    """

    key: str
    path: Path
    shown: str


@dataclass(frozen=True)
class Take:
    """What a page wants to see or to have made.

    Attributes:
        portrait: key of the picture.
        speech: key of the voice, or ``None`` for silence.
        direction: what is felt.
        options: of :data:`CHOSEN`, those that were changed.
    """

    portrait: str
    speech: str | None
    direction: Direction
    options: Mapping[str, Any]


class Memo(Generic[T]):
    """The last few results of slow work; whoever asks for one that is being made waits for it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._futures: OrderedDict[Hashable, Future[T]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` returned for this key; an error is not kept."""
        with self._lock:
            future, mine = self._futures.get(key), False
            if future is None:
                future, mine = Future(), True
                self._futures[key] = future
                while len(self._futures) > self._size:
                    self._futures.popitem(last=False)
            else:
                self._futures.move_to_end(key)
        if mine:
            try:
                future.set_result(make())
            except BaseException as error:
                with self._lock:
                    self._futures.pop(key, None)
                future.set_exception(error)
        return future.result()


class Session:
    """Everything behind one running studio.

    Args:
        folder: for what is uploaded and made; whoever made the session removes it.
        trusted: motion files and videos that a direction may name, because it was given at the start.
    """

    def __init__(self, folder: Path, trusted: frozenset[str] = frozenset()) -> None:
        self.folder = folder
        self.jobs = Jobs()
        self._trusted = trusted
        self._files: dict[str, Loaded] = {}
        self._faces: Memo[Faces] = Memo(8)
        self._sitters: Memo[Sitter] = Memo(6)
        self._speeches: Memo[SpeechFeatures] = Memo(8)
        self._motions: Memo[FaceMotion] = Memo(8)
        self._networks: Memo[Voca] = Memo(1)

    def place_for(self, name: str) -> Path:
        """A path for an uploaded file in a folder of its own, under the user's name for it as far as that is safe."""
        clean = re.sub(r"[^\w .()+-]", "_", Path(name.replace("\\", "/")).name).strip(" .")[-80:]
        place = self.folder / uuid.uuid4().hex / (clean or "file")
        place.parent.mkdir(parents=True)
        return place

    def add_portrait(self, path: Path, shown: str) -> dict[str, Any]:
        """Look at a picture.

        Raises:
            NoFaceError: if it shows no face.
            InputError: if it is none.
        """
        loaded = Loaded(uuid.uuid4().hex, path, shown)
        self._files[loaded.key] = loaded
        self.sitter(loaded.key, None, PREVIEW_SIDE)  # now, so that a picture that cannot be used is refused at once
        faces = self._faces_of(loaded.key, PREVIEW_SIDE)
        height, width = faces.picture.shape[:2]
        scale = np.array([width, height, width, height])
        boxes = [(np.array(box) / scale).round(4).tolist() for box in faces.boxes]
        return {"key": loaded.key, "name": path.name, "width": width, "height": height, "faces": boxes}

    def add_speech(self, path: Path, shown: str, text: str = "") -> dict[str, Any]:
        """Listen to a voice.

        Raises:
            InputError: if it is no sound.
        """
        import soundfile

        from mien.media.audio import read_audio

        sound = read_audio(path)
        loaded = Loaded(uuid.uuid4().hex, path, shown)
        played = self.sound_of(loaded)
        played.parent.mkdir(exist_ok=True)
        soundfile.write(played, sound.samples, sound.sample_rate, subtype="PCM_16")
        self._files[loaded.key] = loaded
        answer = {"key": loaded.key, "name": path.name, "duration": sound.duration, "text": text}
        return answer | {"peaks": _peaks(sound)}

    def sound_of(self, speech: Loaded) -> Path:
        """A copy of the voice that every browser can play."""
        return self.folder / "sounds" / f"{speech.key}.wav"

    def file(self, key: str) -> Loaded:
        """What was loaded under a key.

        Raises:
            InputError: if it is not, or not any more.
        """
        if key not in self._files:
            raise InputError("this picture or voice is not loaded", "load it again; the studio was started anew")
        return self._files[key]

    def picture(self, key: str) -> Frame:
        """The portrait at preview size."""
        return self._faces_of(key, PREVIEW_SIDE).picture

    def _faces_of(self, key: str, size: int) -> Faces:
        return self._faces.get((key, size), lambda: find_faces(self.file(key).path, size))

    def sitter(self, key: str, face: int | None, size: int) -> Sitter:
        """A face of a picture, ready to be drawn.

        Raises:
            NoFaceError: if there is no such face.
        """
        picture = self._faces_of(key, size).picture

        def prepare() -> Sitter:
            from mien.perception.tracking import track_image

            return Sitter(track_image(picture, face=face, name=self.file(key).path))

        return self._sitters.get((key, face or 1, size), prepare)

    def speech(self, key: str | None, fps: float, text: str | None) -> SpeechFeatures:
        """What is heard in a voice, or silence.

        Raises:
            InputError: if ``text`` is not what is said.
        """
        if key is None:
            return silence(SILENT_SECONDS, fps)
        return self._speeches.get((key, fps, text), lambda: hear(self.file(key).path, fps, text))

    def frame(self, take: Take, seconds: float, size: int = PREVIEW_SIDE) -> Frame:
        """One frame of a take, as ``mien speak`` draws it.

        Args:
            take: what is wanted.
            seconds: when; before the start and after the end the first and the last frame stand.
            size: longest side in pixels, unless the take's ``max_size`` is less.

        Raises:
            InputError: if the take cannot be played.
        """
        options = self.options(take)
        size = min(size, options.max_size)
        sitter = self.sitter(take.portrait, options.face, size)
        motion = self._motion(take, options, sitter.portrait, size)
        index = min(max(int(seconds * options.fps + 1e-6), 0), len(motion) - 1)
        return sitter.draw(motion, index, "mesh" if options.renderer == "mesh" else "warp")

    def _motion(self, take: Take, options: SpeakOptions, portrait: Portrait, size: int) -> FaceMotion:
        def play() -> FaceMotion:
            return perform(
                take.direction,
                self.speech(take.speech, options.fps, options.text),
                rest=portrait.rest,
                identity=portrait.identity,
                seed=options.seed,
                voca=self._networks.get("voca", open_voca) if take.direction.lips.source == "voca" else None,
            )

        face = (take.portrait, options.face, size)
        return self._motions.get((face, take.speech, options.fps, options.text, options.seed, options.direction), play)

    def still(self, take: Take, seconds: float) -> Path:
        """One frame at full size as a picture that says where it comes from."""
        from mien.media.image import write_image
        from mien.media.provenance import provenance

        options = self.options(take)
        inputs = {"portrait": options.portrait, "speech": options.speech if take.speech else None}
        settings = {"direction": take.direction.to_dict(), "at": seconds, **take.options}
        path = self.place_for(f"{options.portrait.stem}.png")
        frame = self.frame(take, seconds, options.max_size)
        write_image(path, frame, provenance=provenance("speak", inputs=inputs, settings=settings, seed=options.seed))
        return path

    def restyled(self, portrait: str, emotion: EmotionKey, face: int | None) -> Frame:
        """What ``mien restyle`` makes of a picture, at preview size.

        Args:
            portrait: key of the picture.
            emotion: that all its faces get.
            face: the only one that gets it, if not ``None``.

        Raises:
            NoFaceError: if there is no such face.
        """
        from mien.pipelines.restyle import restyling, still_weights, together

        n_faces = len(self._faces_of(portrait, PREVIEW_SIDE).boxes)
        sitters = [self.sitter(portrait, i, PREVIEW_SIDE) for i in ([face] if face else range(1, n_faces + 1))]
        weights = still_weights(emotion)[None]
        frames = [iter([sitter.draw(restyling(sitter.portrait, weights), 0)]) for sitter in sitters]
        return next(together(self.picture(portrait), frames))

    def restyled_whole(self, portrait: str, emotion: EmotionKey, face: int | None) -> bytes:
        """The same at full size, as a PNG file that says where it comes from."""
        from mien.pipelines.restyle import RestyleOptions, restyle

        picture = self.file(portrait).path
        plane = None if emotion.va is None else f"{emotion.va[0]},{emotion.va[1]}"
        label = () if plane else (emotion.wish,)
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            output = Path(place) / f"{picture.stem}.png"
            restyle(RestyleOptions(picture, output, emotion=label, plane=plane, face=face))
            return output.read_bytes()

    def options(self, take: Take) -> SpeakOptions:
        """The options of the command that makes a take.

        Raises:
            InputError: if one is unknown or out of range.
        """
        self._check_files(take.direction, take.options.get("text"))
        unknown = take.options.keys() - set(CHOSEN)
        if unknown:
            raise InputError(f"no option {min(unknown)!r}", f"known: {', '.join(CHOSEN)}")
        portrait = self.file(take.portrait)
        speech = self.file(take.speech).path if take.speech else Path()
        direction = _text(take.direction)
        options = SpeakOptions(portrait.path, speech, Path("out.mp4"), direction, **take.options)
        _check_kinds(options)
        check_numbers(options)
        return replace(options, text=options.text or None)

    def _check_files(self, direction: Direction, text: object) -> None:
        """A page may not have files opened by their names: whoever reaches it would reach them all."""
        words = text_file_of(text) if isinstance(text, str) else None
        for path in [*direction.files.values(), *([str(words)] if words else [])]:
            if path not in self._trusted:
                raise InputError(
                    f"{path}: the studio opens no files by name", "start it with -d FILE, or use mien speak"
                )

    def render(self, take: Take) -> Job:
        """Queue what ``mien speak`` makes of a take, at full size.

        Raises:
            InputError: if there is no voice, or an option is out of range.
        """
        if take.speech is None:
            raise InputError("there is no voice yet", "drop a sound file, record one, or take the example")
        options = self.options(take)
        place = self.folder / "renders" / uuid.uuid4().hex
        options = replace(options, output=place / f"{options.portrait.stem}--{options.speech.stem}.mp4")

        def work(progress: Progress) -> None:
            try:
                speak(options, progress)
            except BaseException:
                shutil.rmtree(place, ignore_errors=True)
                raise

        job = Job(options.output, work)
        self.jobs.add(job)
        return job

    def in_short(self, error: str) -> str:
        """An error as one line without the folders of this machine, which are nobody's business."""
        return re.sub(re.escape(str(self.folder)) + r"/\w+/", "", " ".join(error.split()))

    def close(self) -> None:
        """Stop what is being rendered."""
        self.jobs.close()


def _text(direction: Direction) -> str:
    """One text for equal directions, which :meth:`Direction.read` reads back."""
    return json.dumps(direction.to_dict()) if direction.to_dict() else "neutral"


def _peaks(sound: Audio) -> list[float]:
    """Loudest sample of each stretch, 0 to 1, for the waveform."""
    n = min(max(_PEAKS, round(_PEAKS_PER_SECOND * sound.duration)), _MOST_PEAKS, len(sound))
    edges = np.linspace(0, len(sound), n, endpoint=False).astype(int)
    return np.maximum.reduceat(np.abs(sound.samples), edges).round(3).tolist()  # type: ignore[no-any-return]


_NAMES = {float: "number", int: "number", str: "text", Literal: "choice"}


@cache
def offered() -> list[dict[str, Any]]:
    """The options of :data:`CHOSEN` as their dataclass defines them: name, help, kind, default, limits, choices."""
    hints = get_type_hints(SpeakOptions)
    texts = {each.arg_name: each.description or "" for each in docstring_parser.parse_from_object(SpeakOptions).params}
    answer = []
    for field in fields(SpeakOptions):
        if field.name not in CHOSEN:
            continue
        kinds = [kind for kind in get_args(hints[field.name]) if kind is not type(None)]
        kind = hints[field.name] if get_origin(hints[field.name]) is Literal or not kinds else kinds[0]
        choices = [choice for choice in kinds if choice != "person"] if get_origin(kind) is Literal else []
        low, high = LIMITS.get(field.name, (None, None))
        answer.append(
            {
                "name": field.name,
                "help": " ".join(texts[field.name].split()),
                "kind": "choice" if choices else _NAMES[kind],
                "whole": kind is int,
                "default": None if field.default is MISSING else field.default,
                "low": low,
                "high": high,
                "choices": choices,
            }
        )
    return answer


def _check_kinds(options: SpeakOptions) -> None:
    """Refuse text where a number is wanted and the like: pages send what they like."""
    values = asdict(options)
    for option in offered():
        value, name = values[option["name"]], option["name"].replace("_", "-")
        if value is None and option["default"] is None:
            continue
        if option["kind"] == "choice" and value not in option["choices"]:
            raise InputError(f"--{name} is {value!r}", f"choose {' or '.join(option['choices'])}")
        if option["kind"] == "text" and not isinstance(value, str):
            raise InputError(f"--{name} is {value!r}", "expected text")
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if option["kind"] == "number" and (not is_number or (option["whole"] and value != int(value))):
            raise InputError(f"--{name} is {value!r}", f"expected a {'whole ' if option['whole'] else ''}number")
