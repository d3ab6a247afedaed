"""Reading directions: the short form, YAML (of which JSON is a part) and plain dicts.

Everything becomes a tree of nodes that know where they stand, so that every complaint can name file and line. The
values themselves are checked by the classes of :mod:`mien.direction`, once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, cast

from mien.direction import (
    CONTROLS,
    HABITS,
    REGIONS,
    BlinkEvent,
    Blinks,
    Curve,
    Direction,
    EmotionKey,
    GazeTarget,
    HeadPose,
    Lips,
    Region,
    StyleChoice,
    check_choice,
    check_range,
    check_times,
)
from mien.errors import DirectionError

T = TypeVar("T")
LANES = tuple(f.name for f in fields(Direction))


def read_text(text: str) -> dict[str, Any]:
    """The lanes in a short form or in the text of a YAML or JSON file.

    Raises:
        DirectionError: naming the place, the value and what is allowed.
    """
    lane = re.match(r"\s*(\{|#|---|(\w+)\s*:)", text)
    if "\n" in text.strip() or (lane and (lane[2] is None or lane[2] in LANES)):
        return read_yaml(text, "direction")
    return {"emotion": _emotion(_Node(text, f"direction {text!r}"))}


def read_yaml(text: str, where: str) -> dict[str, Any]:
    """The lanes in the text of a YAML or JSON file called ``where``.

    Raises:
        DirectionError: naming ``where`` with the line, the value and what is allowed.
    """
    return _lanes(_Node.from_yaml(text, where))


def read_python(content: Mapping[str, Any]) -> dict[str, Any]:
    """The lanes in plain dicts, lists, strings and numbers.

    Raises:
        DirectionError: naming the place in the dict, the value and what is allowed.
    """
    return _lanes(_Node.from_python(content, "direction"))


def _lanes(node: _Node) -> dict[str, Any]:
    return {name: _READERS[name](value) for name, value in node.mapping(LANES, "lane").items()}


@dataclass(frozen=True)
class _Node:
    """A value of a direction file and its place (``scene.yaml:7``)."""

    value: str | list[_Node] | list[tuple[_Node, _Node]]
    where: str
    kind: str = "text"

    @classmethod
    def from_yaml(cls, text: str, where: str) -> _Node:
        """Parse YAML (of which JSON is a part) without building any object but text, lists and pairs."""
        import yaml

        seen: set[int] = set()

        def convert(node: yaml.Node) -> _Node:
            place = f"{where}:{node.start_mark.line + 1}"
            if isinstance(node, yaml.ScalarNode):
                return cls(node.value, place)
            if id(node) in seen:
                raise DirectionError(f"{place}: YAML anchors and aliases are not used in directions", "write it out")
            seen.add(id(node))
            if isinstance(node, yaml.SequenceNode):
                return cls([convert(child) for child in node.value], place, "list")
            return cls([(convert(key), convert(child)) for key, child in node.value], place, "mapping")

        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
            if root is None:
                raise DirectionError(f"{where}: the direction is empty", "write for example: emotion: happy:0.8")
            return convert(root)
        except yaml.MarkedYAMLError as error:
            line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
            raise DirectionError(f"{where}{line}: not valid YAML or JSON ({error.problem})") from error
        except (yaml.YAMLError, RecursionError) as error:
            raise DirectionError(f"{where}: not valid YAML or JSON ({' '.join(str(error).split())})") from error

    @classmethod
    def from_python(cls, value: object, where: str) -> _Node:
        if isinstance(value, Mapping):
            pairs = [(cls(str(k), where), cls.from_python(v, f"{where}.{k}")) for k, v in value.items()]
            return cls(pairs, where, "mapping")
        if isinstance(value, list | tuple):
            return cls([cls.from_python(v, f"{where}[{i}]") for i, v in enumerate(value)], where, "list")
        return cls(repr(value) if isinstance(value, int | float) else str(value), where)

    @contextmanager
    def located(self) -> Iterator[None]:
        """Put the place in front of complaints that do not know theirs."""
        try:
            yield
        except DirectionError as error:
            if error.what.startswith(self.where.rsplit(":", 1)[0]):
                raise
            raise DirectionError(f"{self.where}: {error.what}", error.remedy) from None

    def mapping(self, keys: Sequence[str], what: str) -> dict[str, _Node]:
        """The entries under known keys, each given once."""
        if self.kind != "mapping":
            raise DirectionError(f"{self.where}: expected entries such as {keys[0]}: …, found {self._found()}")
        entries: dict[str, _Node] = {}
        for key, value in cast("list[tuple[_Node, _Node]]", self.value):
            with key.located():
                name = check_choice(key.text(), keys, what)
                if name in entries:
                    raise DirectionError(f"{what} {name!r} is given twice", "keep one")
            entries[name] = value
        return entries

    def items(self) -> list[_Node]:
        """The elements of a list, or the comma-separated parts of a text."""
        if self.kind == "list":
            return cast("list[_Node]", self.value)
        return [_Node(part.strip(), self.where) for part in re.split(r",(?![^(]*\))", self.text())]

    def text(self) -> str:
        if self.kind != "text":
            raise DirectionError(f"{self.where}: expected one value, found {self._found()}")
        return str(self.value).strip()

    def number(self, kind: str = "a number") -> float:
        text = self.text()
        try:
            return float(text)
        except ValueError:
            raise DirectionError(f"{self.where}: expected {kind}, found {text!r}") from None

    def seconds(self) -> float:
        """A time: ``1.2`` or ``1.2s``."""
        return _Node(self.text().removesuffix("s"), self.where).number("seconds, as in 1.2s")

    def _found(self) -> str:
        return f"a {self.kind}" if self.kind != "text" else repr(self.value)


def _timed(node: _Node) -> tuple[float, _Node]:
    """Split ``1.2s:rest``; a part without a time stands at 0 s."""
    match = re.fullmatch(r"([-+.\w]+?)\s*s\s*:\s*(.*)", node.text()) if node.kind == "text" else None
    if match and re.match(r"[-+.\d]", match[1]):
        return _Node(match[1], node.where).seconds(), _Node(match[2], node.where)
    return 0.0, node


def _emotion_key(node: _Node) -> EmotionKey:
    if node.kind == "mapping":
        entries = node.mapping(("at", "emotion", "intensity", "va"), "key of an emotion keyframe")
        time = entries["at"].seconds() if "at" in entries else 0.0
        if "va" in entries:
            point = [part.number() for part in entries["va"].items()]
            with node.located():
                return EmotionKey(time, va=_point(point))
        if "emotion" not in entries:
            raise DirectionError(f"{node.where}: an emotion keyframe needs emotion: or va:")
        _, body = _timed(entries["emotion"])
        if "intensity" in entries:
            body = _Node(f"{body.text()}:{entries['intensity'].text()}", entries["intensity"].where)
    else:
        time, body = _timed(node)
    text = body.text()
    with body.located():
        if match := re.fullmatch(r"va\s*\((.*)\)(.*)", text):
            if match[2]:
                raise DirectionError(f"va takes no intensity, found {match[2]!r}", "its distance from 0,0 is one")
            return EmotionKey(time, va=_point([part.number() for part in _Node(match[1], body.where).items()]))
        label, colon, intensity = text.partition(":")
        if not label.strip():
            raise DirectionError("a part names no emotion", "write it as in 1.2s:happy:0.9")
        if re.fullmatch(r"[-+.\d\s]+", label):
            raise DirectionError(f"time {label!r} without its s", f"write {label.strip()}s:{intensity or 'happy'}")
        amount = _Node(intensity, body.where).number() if colon else 1.0
        return EmotionKey(time, label.strip(), amount)


def _point(numbers: Sequence[float]) -> tuple[float, float]:
    if len(numbers) != 2:
        raise DirectionError(f"va has {len(numbers)} numbers", "it takes two: valence and arousal")
    return numbers[0], numbers[1]


def _emotion(node: _Node) -> tuple[EmotionKey, ...]:
    keys = [_emotion_key(item) for item in ([node] if node.kind == "mapping" else node.items())]
    if keys and keys[0].time > 0:
        keys.insert(0, EmotionKey())
    with node.located():
        check_times([key.time for key in keys], "emotion")
    return tuple(keys)


def _curve(node: _Node, default: float) -> Curve:
    """A number, ``0s:1, 2s:0.5``, or a list of ``[seconds, value]``; before the first keyframe the default stands."""
    keys: list[tuple[float, float]] = []
    for item in node.items():
        if item.kind == "list":
            pair = item.items()
            if len(pair) != 2:
                raise DirectionError(f"{item.where}: a keyframe has {len(pair)} parts", "write [seconds, value]")
            keys.append((pair[0].seconds(), pair[1].number()))
        else:
            time, body = _timed(item)
            keys.append((time, body.number()))
    if keys and keys[0][0] > 0:
        keys.insert(0, (0.0, default))
    with node.located():
        return Curve(tuple(keys))


def _curves(node: _Node, lane: type[T], main: str, **plain: float) -> T:
    """A lane made of curves: a mapping of them, or just the main one.

    ``plain`` is where curves start that a lane may leave open.
    """
    defaults = {f.name: f.default.keys[0][1] for f in fields(lane) if isinstance(f.default, Curve)}  # type: ignore[arg-type]
    defaults |= plain
    texts = tuple(f.name for f in fields(lane) if f.name not in defaults)  # type: ignore[arg-type]
    entries = node.mapping((*defaults, *texts), "key") if node.kind == "mapping" else {main: node}
    values: dict[str, Any] = {}
    for name, value in entries.items():
        values[name] = _curve(value, defaults[name]) if name in defaults else value.text()
        with value.located():
            lane(**{name: values[name]})  # so that a complaint names the line of its own value
    return lane(**values)


def _style(node: _Node) -> StyleChoice:
    if node.kind != "mapping":
        name, _, strength = node.text().partition(":")
        amount = _Node(strength, node.where).number() if strength else 1.0
        with node.located():
            if Path(name).suffix:
                return StyleChoice(reference=name, strength=amount)
            return StyleChoice(name=name.strip(), strength=amount)
    entries = node.mapping(("name", "reference", "vector", "strength"), "key of style")
    if len(entries.keys() - {"strength"}) > 1:
        raise DirectionError(f"{node.where}: style has several of name, reference and vector", "keep one")
    values: dict[str, Any] = {name: entries[name].text() for name in ("name", "reference") if name in entries}
    if "vector" in entries:
        values["vector"] = tuple((k, v.number()) for k, v in entries["vector"].mapping(HABITS, "habit").items())
    if "strength" in entries:
        values["strength"] = entries["strength"].number()
    for name, value in values.items():
        with entries[name].located():
            StyleChoice(**{name: value})
    return StyleChoice(**values)


def _blink_event(node: _Node) -> BlinkEvent:
    if node.kind == "mapping":
        entries = node.mapping(("at", "duration", "side"), "key of a blink")
        if "at" not in entries:
            raise DirectionError(f"{node.where}: a blink needs at: with its time in seconds")
        values: dict[str, Any] = {"time": entries["at"].seconds()}
        if "duration" in entries:
            values["duration"] = entries["duration"].seconds()
        if "side" in entries:
            values["side"] = entries["side"].text()
    else:
        values = {"time": node.seconds()}
    with node.located():
        return BlinkEvent(**values)


def _blink(node: _Node) -> Blinks:
    if node.kind == "text" and node.text() == "none":
        return Blinks(rate=Curve.constant(0))
    entries = node.mapping(("rate", "events"), "key of blink") if node.kind == "mapping" else {"rate": node}
    # Someone who lists the blinks wants these and no others.
    rate = Curve.constant(0) if "events" in entries else None
    if "rate" in entries:
        rate = _curve(entries["rate"], CONTROLS["blink.rate"].default)
    events = tuple(_blink_event(item) for item in entries["events"].items()) if "events" in entries else ()
    with entries.get("rate", node).located():
        return Blinks(rate, events)


def _regions(node: _Node) -> dict[str, Region]:
    return {name: _curves(value, Region, "gain") for name, value in node.mapping(REGIONS, "region").items()}


def _transition(node: _Node) -> float:
    with node.located():
        check_range(node.seconds(), *CONTROLS["transition"].limits, "transition in seconds")
    return node.seconds()


_READERS: Mapping[str, Any] = {
    "emotion": _emotion,
    "transition": _transition,
    "lips": lambda node: _curves(node, Lips, "gain", gain=CONTROLS["lips.gain"].default),
    "style": _style,
    "blink": _blink,
    "regions": _regions,
    "head": lambda node: _curves(node, HeadPose, "amount"),
    "gaze": lambda node: _curves(node, GazeTarget, "amount"),
}
