"""The page of ``mien evaluate``: a table per group, curves, worst frames beside the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mien.evaluation.measures import METRICS, Clip, Metric
from mien.evaluation.report import Report, curves, paragraph, picture, table

_BEST = "#d9ead9"
_PLOTS = ("PSNR, face only", "SSIM", "lip aperture", "valence")
_MOST_CLIPS = 12  # with curves and pictures of their own; tables hold all


def page(
    systems: Mapping[str, Mapping[str, float]], clips: Mapping[str, Mapping[str, Clip]], record: Mapping[str, Any]
) -> str:
    """The whole page.

    Args:
        systems: system → metric → mean over clips.
        clips: system → clip → what was measured.
        record: versions, settings and hashes.
    """
    names, n_clips = list(systems), len(next(iter(clips.values())))
    report = Report(
        "Evaluation",
        f"{', '.join(names)}; {n_clips} clip{'s' * (n_clips > 1)}. Means over clips; green is the best of several "
        "systems; a dash could not be measured. The truth's own values stand beside, where it has them.",
    )
    for group in dict.fromkeys(metric.group for metric in METRICS):
        shown = [m for m in METRICS if m.group == group and any(_known(systems[n].get(m.key)) for n in names)]
        if shown:
            report.section(group.capitalize(), _table(shown, systems))
    for clip in list(next(iter(clips.values())))[:_MOST_CLIPS]:
        parts = _plots({name: own[clip] for name, own in clips.items()})
        for name, own in clips.items():
            parts += _worst(name, own[clip])
        if parts:
            report.section(f"Clip {clip}" if clip else "The clip", *parts)
    if n_clips > 1:
        for name in names:
            report.section(f"{name}, clip by clip", _by_clip(clips[name]))
    note = "Every metric's formula stands in the docstring of its function in mien.metrics and in docs/metrics.md."
    report.section("Notes", paragraph(note, note=True))
    report.made_with(record)
    return report.text()


def _known(value: float | None) -> bool:
    return value is not None and not np.isnan(value)


def _table(shown: Sequence[Metric], systems: Mapping[str, Mapping[str, float]]) -> str:
    names = list(systems)
    made = [name for name in names if name != "truth"]
    rows, shades = [], {}
    for i, metric in enumerate(shown):
        values = {name: systems[name].get(metric.key, float("nan")) for name in names}
        better = {"high": "↑", "low": "↓", "": ""}[metric.better]
        rows.append([f"{metric.title} {better}", metric.unit, *values.values()])
        known = {name: values[name] for name in made if _known(values[name])}
        if len(known) > 1 and metric.better:
            best = (max if metric.better == "high" else min)(known, key=lambda name: known[name])
            shades[i, 2 + names.index(best)] = _BEST
    return table(["metric", "unit", *names], rows, shades=shades)


def _plots(clips: Mapping[str, Clip]) -> list[str]:
    """One plot per kind of curve, all systems in it."""
    drawn = []
    for kind in _PLOTS:
        lines: dict[str, Any] = {}
        for name, clip in clips.items():
            for title, curve in clip.curves.items():
                of_other, _, what = title.rpartition(": ")
                if what.startswith(kind) and not (of_other == "truth" and "truth" in clips):
                    lines[f"{name}{' ' * bool(of_other)}{of_other}"] = curve.tolist()
        if lines:
            longest = max(map(len, lines.values()))
            fps = next(iter(clips.values())).fps
            padded = {name: [*line, *[float("nan")] * (longest - len(line))] for name, line in lines.items()}
            drawn.append(curves(kind, [i / fps for i in range(longest)], padded, x_name="seconds"))
    return drawn


def _worst(name: str, clip: Clip) -> list[str]:
    if name == "truth":
        return []
    parts = []
    for i, made, true in sorted(clip.worst, key=lambda entry: entry[0]):
        both = made if true is None else np.concatenate([made, true], axis=1)
        beside = "" if true is None else ", truth on the right"
        parts.append(picture(both, f"{name}, {i / clip.fps:.2f} s{beside}", width=440))
    return parts


def _by_clip(clips: Mapping[str, Clip]) -> str:
    shown = [m for m in METRICS if any(_known(clip.values.get(m.key)) for clip in clips.values())]
    rows = [[name, *(clip.values.get(m.key, float("nan")) for m in shown)] for name, clip in clips.items()]
    return table(["clip", *(m.title for m in shown)], rows)
