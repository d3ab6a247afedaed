"""A direction as the page's timeline holds it: plain lists of keyframes, one per lane, and the way back."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from mien.direction import Curve, Direction, EmotionKey

_LANES = "lips", "blink", "head", "gaze"
_MOST_SAMPLES = 1200
"""A curve is drawn with no more points than a wide screen has."""

Lanes = dict[str, Any]
"""``emotion`` (keyframes), ``transition``, ``style``, ``lips`` (``source``, ``speaker``), ``blinks`` (events),
``curves`` (key of the file → ``[[seconds, value], ...]``; what stands at its default is left out), ``sources``
(region → motion file)."""


def lanes_of(direction: Direction) -> Lanes:
    """Everything a direction says, for the page."""
    curves: dict[str, Any] = {}
    for lane in _LANES:
        value = getattr(direction, lane)
        for field in fields(value):
            curve = getattr(value, field.name)
            if isinstance(curve, Curve) and curve != field.default:
                curves[f"{lane}.{field.name}"] = curve.keys
    curves |= {f"regions.{name}": region.gain.keys for name, region in direction.regions.items()}
    style = {
        name: dict(value) if name == "vector" else value for name, value in asdict(direction.style).items() if value
    }
    if {"vector", "reference"} & style.keys():
        del style["name"]  # a style is one of the three
    style["strength"] = direction.style.strength
    return {
        "emotion": [_emotion_key(key) for key in direction.emotion],
        "transition": direction.transition,
        "style": style,
        "lips": {"source": direction.lips.source, "speaker": direction.lips.speaker},
        "blinks": [
            {"at": event.time, "duration": event.duration, "side": event.side} for event in direction.blink.events
        ],
        "curves": curves,
        "sources": {name: region.source for name, region in direction.regions.items() if region.source},
    }


def _emotion_key(key: EmotionKey) -> dict[str, Any]:
    if key.va is not None:
        return {"at": key.time, "va": key.va}
    return {"at": key.time, "emotion": key.label, "intensity": key.intensity}


def direction_of(lanes: Mapping[str, Any]) -> Direction:
    """The inverse of :func:`lanes_of`.

    Raises:
        DirectionError: if a value is out of range or a name is unknown.
    """
    content: dict[str, Any] = {name: lanes[name] for name in ("emotion", "transition", "style") if lanes.get(name)}
    lips = {name: value for name, value in lanes.get("lips", {}).items() if value}
    content |= {"lips": lips} if lips else {}
    for key, keyframes in lanes.get("curves", {}).items():
        lane, _, name = key.partition(".")
        entry = content.setdefault(lane, {})
        if lane == "regions":
            entry = entry.setdefault(name, {})
            name = "gain"
        entry[name] = keyframes
    for region, source in lanes.get("sources", {}).items():
        content.setdefault("regions", {}).setdefault(region, {})["source"] = source
    if lanes.get("blinks"):
        content.setdefault("blink", {})["events"] = lanes["blinks"]
    return Direction.from_dict(content)


def drawn(direction: Direction, seconds: float) -> dict[str, Any]:
    """What lanes with several keyframes look like over time, evenly spaced from 0 to ``seconds``.

    Returns:
        Key of the lane → values; ``emotion`` → valence and arousal at each.
    """
    n = min(_MOST_SAMPLES, max(2, round(25 * seconds)))
    rate = (n - 1) / max(seconds, 0.1)
    curves: dict[str, Any] = {"emotion": direction.emotion_track(n, rate).va.round(3).tolist()}
    for key, keyframes in lanes_of(direction)["curves"].items():
        if len(keyframes) > 1:
            curves[key] = Curve(keyframes).sample(n, rate, direction.transition).round(3).tolist()
    return curves


def written(direction: Direction) -> str:
    """The direction as people write it: the short form where only emotion is asked for, else the text of a file."""
    return _short(direction) or direction.to_yaml().rstrip("\n")


def _short(direction: Direction) -> str | None:
    content = direction.to_dict()
    return content["emotion"] if content.keys() == {"emotion"} else None


def restyle_command(emotion: EmotionKey, picture: str, face: int | None) -> str:
    """The line for a shell that makes the same picture."""
    wish = ["-e", emotion.wish] if emotion.va is None else [f"--plane={emotion.va[0]},{emotion.va[1]}"]
    one = [] if face is None else ["--face", str(face)]
    return shlex.join(["mien", "restyle", "-i", picture, *wish, *one, "-o", "out.png"])


def command(direction: Direction, portrait: str, speech: str, options: Mapping[str, Any]) -> str:
    """The line for a shell that makes the same video.

    Args:
        direction: what is felt.
        portrait: path of the picture.
        speech: path of the sound.
        options: further options that are not at their defaults.
    """
    content = direction.to_dict()
    words = ["mien", "speak", "-p", portrait, "-s", speech]
    words += ["-d", _short(direction) or json.dumps(content, ensure_ascii=False)] if content else []
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join([*words, "-o", "out.mp4"])
