"""Style files: how somebody talks and feels in a clip, as ``mien style`` saves it; JSON.

{"format": "mien.Style", "version": 1, "source": "clip.mp4",
 "habits": {"lips": 1.1, ...},                       what ``mien speak --style`` takes
 "ned": {"model": "0123456789ab", "style": [...], "means": [...]}}    what ``mien redirect --reference`` takes, if any
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.errors import FormatError
from mien.media.image import require_file
from mien.media.output import atomic_output, output_error
from mien.types import Array

STYLE_FORMAT = 1
"""Version of the layout."""


@dataclass(frozen=True, eq=False)
class StyleFile:
    """What a style file holds.

    Attributes:
        source: name of the clip.
        habits: by name, see :data:`mien.direction.HABITS`.
        ned: ``(S,)`` NED's style, or ``None``.
        ned_means: ``(D,)`` means of the clip's jaw and expressions, in NED's order, or ``None``.
        ned_model: first digits of the SHA-256 of the networks that read it.
    """

    source: str
    habits: Mapping[str, float]
    ned: Array | None = None
    ned_means: Array | None = None
    ned_model: str = ""


def write_style(path: str | Path, style: StyleFile) -> None:
    """Write a style file; whole or not at all.

    Raises:
        OutputError: if the place cannot be written.
    """
    content: dict[str, object] = {
        "format": "mien.Style",
        "version": STYLE_FORMAT,
        "source": style.source,
        "habits": {name: round(float(value), 4) for name, value in style.habits.items()},
    }
    if style.ned is not None and style.ned_means is not None:
        numbers = {"style": style.ned, "means": style.ned_means}
        listed = {name: [round(float(value), 6) for value in values] for name, values in numbers.items()}
        content["ned"] = {"model": style.ned_model, **listed}
    with atomic_output(path) as temporary:
        try:
            temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise output_error(path, error) from error


def read_style(path: str | Path) -> StyleFile:
    """Read what :func:`write_style` wrote.

    Raises:
        InputError: if the file is missing.
        FormatError: if it is something else, damaged, or of a newer format.
    """
    path = require_file(path, "style file")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != "mien.Style" or content["version"] > STYLE_FORMAT:
            raise ValueError(f"format {content['format']} {content['version']}")
        ned = content.get("ned")
        return StyleFile(
            str(content["source"]),
            {str(name): float(value) for name, value in content["habits"].items()},
            None if ned is None else np.asarray(ned["style"], np.float32),
            None if ned is None else np.asarray(ned["means"], np.float32),
            "" if ned is None else str(ned["model"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{path}: not a style file ({error})", "make one with `mien style`") from error
