"""One HTML file that stands by itself: tables, pictures as data URIs, curves as inline SVG, and how it was made."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import Distribution, version
from pathlib import Path
from typing import Any

from mien.types import Frame

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0}h2{font-size:1.15rem;margin:2.2rem 0 .6rem;border-bottom:1px solid #ddd}
p{max-width:50rem}table{border-collapse:collapse;margin:.6rem 0;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .7rem;text-align:right;border-bottom:1px solid #eee}
th:first-child,td:first-child{text-align:left}thead th{border-bottom:1px solid #999;font-weight:600}
td small{color:#777}figure{display:inline-block;margin:.3rem .5rem .3rem 0;vertical-align:top}
figcaption{font-size:.8rem;color:#555;max-width:22rem}img{display:block;max-width:22rem;height:auto}
pre{background:#f6f6f6;padding:.7rem;overflow-x:auto;font-size:.8rem}.note{color:#666}
"""
_COLOURS = ("#2a6fbb", "#c8502d", "#3c8f4e", "#8257a8", "#a8862a", "#2b9aa5")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 460, 190, 52, 34, 12


class Report:
    """A page that grows section by section.

    Args:
        title: of the page.
        lead: a sentence under it.
    """

    def __init__(self, title: str, lead: str = "") -> None:
        self.title = title
        self._parts = [f"<h1>{html.escape(title)}</h1>", paragraph(lead) if lead else ""]

    def section(self, title: str, *parts: str) -> None:
        """Add a heading and what :func:`table`, :func:`picture` and the others gave."""
        self._parts += [f"<h2>{html.escape(title)}</h2>", *parts]

    def made_with(self, record: Mapping[str, Any]) -> None:
        """Add versions, settings and hashes, so that the numbers can be made again."""
        self.section(
            "How this was made", f"<pre>{html.escape(json.dumps(record, indent=1, default=str), quote=False)}</pre>"
        )

    def text(self) -> str:
        """The whole page."""
        head = f'<meta charset="utf-8"><title>{html.escape(self.title)}</title><style>{_STYLE}</style>'
        viewport = '<meta name="viewport" content="width=device-width,initial-scale=1">'
        return f'<!doctype html><html lang="en"><head>{head}{viewport}</head><body>{"".join(self._parts)}</body></html>'


def write_text(path: Path, text: str) -> None:
    """Write a report, whole or not at all.

    Raises:
        OutputError: if the place cannot be written.
    """
    from mien.media.output import atomic_output, output_error

    with atomic_output(path) as temporary:
        try:
            temporary.write_text(text, encoding="utf-8")
        except OSError as error:
            raise output_error(path, error) from error


def made_record(verb: str, inputs: Mapping[str, Path | None], options: Any) -> dict[str, Any]:
    """What a report says of itself: mien's version, those of what it stands on, settings, and hashes of the inputs."""
    from mien.media.provenance import provenance, to_text

    record = json.loads(to_text(provenance(verb, inputs=inputs, settings=asdict(options), synthetic=False)))
    libraries = ("numpy", "scipy", "opencv-python-headless", "mediapipe", "av", "torch", "fer")
    found = {name: version(name) for name in libraries if any(True for _ in Distribution.discover(name=name))}
    return {**record, "versions": {"python": platform.python_version(), **found}}


def paragraph(text: str, note: bool = False) -> str:
    """Plain text."""
    return f"<p{' class=note' if note else ''}>{html.escape(text)}</p>"


def number(value: Any) -> str:
    """A figure as it is printed: three or four digits; a dash where there is none."""
    if isinstance(value, float):
        if math.isinf(value):
            return "equal" if value > 0 else "-∞"
        return "–" if math.isnan(value) else f"{value:.4g}"
    return "–" if value is None else str(value)


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]], *, shades: Mapping[tuple[int, int], str] = {}) -> str:
    """Rows under headers.

    Args:
        headers: of the columns.
        rows: numbers or text; a tuple is a value and a remark in small type.
        shades: CSS colours of cells by row and column.
    """

    def cell(value: Any, row: int, column: int) -> str:
        main, remark = value if isinstance(value, tuple) else (value, "")
        colour = shades.get((row, column))
        small = f" <small>{html.escape(remark)}</small>" if remark else ""
        style = f' style="background:{colour}"' if colour else ""
        return f"<td{style}>{html.escape(number(main))}{small}</td>"

    head = "".join(f"<th>{html.escape(name)}</th>" for name in headers)
    body = "".join(
        "<tr>" + "".join(cell(value, i, j) for j, value in enumerate(row)) + "</tr>" for i, row in enumerate(rows)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def picture(frame: Frame, caption: str = "", *, width: int = 352) -> str:
    """A frame as JPEG inside the page, no wider than ``width`` pixels."""
    from PIL import Image

    image = Image.fromarray(frame)
    if image.width > width:
        image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="data:image/jpeg;base64,{data}"><figcaption>{text}</figcaption></figure>'


def curves(
    title: str, x: Sequence[float], lines: Mapping[str, Sequence[float]], *, x_name: str = "", dots: bool = False
) -> str:
    """Lines over one axis as SVG; values that are not finite leave a gap."""
    finite = [v for line in lines.values() for v in line if math.isfinite(v)] or [0.0]
    low, high = min(finite), max(finite)
    low, high = (low - 0.5, high + 0.5) if high - low < 1e-9 else (low, high)
    span = max(x[-1] - x[0], 1e-9)

    def at(i: int, value: float) -> tuple[float, float]:
        return (
            _LEFT + (x[i] - x[0]) / span * (_WIDTH - _LEFT - 8),
            _TOP + (high - value) / (high - low) * (_HEIGHT - _TOP - _BOTTOM),
        )

    drawn = []
    for colour, (name, line) in zip(_COLOURS * len(lines), lines.items(), strict=False):
        points = [at(i, value) if math.isfinite(value) else None for i, value in enumerate(line)]
        path = " ".join(
            f"{'M' if i == 0 or points[i - 1] is None else 'L'}{p[0]:.1f} {p[1]:.1f}" for i, p in enumerate(points) if p
        )
        drawn.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        drawn += [f'<circle cx="{p[0]:.1f}" cy="{p[1]:.1f}" r="3" fill="{colour}"/>' for p in points if p and dots]
        if len(lines) > 1:
            drawn.append(_label(_LEFT + 8 + 130 * (len(drawn) % 3), _TOP + 9, name, colour=colour))
    base = _HEIGHT - _BOTTOM
    axes = f'<path d="M{_LEFT} {_TOP}V{base}H{_WIDTH - 8}" fill="none" stroke="#999"/>'
    ticks = [
        _label(_LEFT - 6, at(0, value)[1] + 4, f"{value:.3g}", anchor="end") for value in (low, (low + high) / 2, high)
    ]
    ticks += [_label(at(i, low)[0], base + 15, f"{x[i]:.3g}", anchor="middle") for i in (0, len(x) // 2, len(x) - 1)]
    ticks.append(_label((_LEFT + _WIDTH) / 2, _HEIGHT - 4, x_name, anchor="middle"))
    return (
        f'<figure><svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        f"{axes}{''.join(ticks)}{''.join(drawn)}</svg><figcaption>{html.escape(title)}</figcaption></figure>"
    )


def _label(x: float, y: float, text: str, *, anchor: str = "start", colour: str = "#555") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="11" font-family="sans-serif" text-anchor="{anchor}"'
        f' fill="{colour}">{html.escape(text)}</text>'
    )
