"""The page of ``mien evaluate control``: the matrix, answers to each control, pictures of both ends."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mien.evaluation.control import ControlOptions, ControlResult, Played
from mien.evaluation.leakage import FACTORS, GOAL_LEAKAGE, GOAL_SPEARMAN, MEASURES, NATURAL
from mien.evaluation.report import Report, curves, made_record, paragraph, picture, table, write_text


def write(options: ControlOptions, result: ControlResult, played: Sequence[Played], observer: str) -> None:
    """Write the page or the numbers, by the ending of the output.

    Raises:
        OutputError: if the place cannot be written.
    """
    assert options.output is not None
    inputs: dict[str, Path | None] = {f"portrait {i + 1}": path for i, path in enumerate(options.portraits)}
    inputs |= {f"speech {i + 1}": path for i, path in enumerate(options.speech)} | {"landmarker": options.landmarker}
    record = made_record("evaluate control", inputs, options)
    numbers = {
        "matrix": {c: {f: asdict(cell) for f, cell in row.items()} for c, row in result.matrix.items()},
        "beside": {c: {f: asdict(cell) for f, cell in row.items()} for c, row in result.beside.items()},
        "doses": [asdict(dose) for dose in result.doses],
        "sweeps": [
            {"portrait": pair.portrait, "voice": pair.voice, **asdict(sweep)}
            for pair in played
            for sweep in pair.sweeps
        ],
        "measures": MEASURES,
        "natural": NATURAL,
        "observer": observer,
        "made": record,
    }
    if options.output.suffix.lower() == ".json":
        write_text(options.output, json.dumps(numbers, indent=1, default=str) + "\n")
    else:
        write_text(options.output, _page(result, played, {**record, "observer": observer}))


def _page(result: ControlResult, played: Sequence[Played], record: Mapping[str, Any]) -> str:
    names = [factor.name for factor in FACTORS]
    report = Report(
        "What each control moves",
        f"{result.clips} clips; portraits: {len({p.portrait for p in played})}, "
        f"voices: {len({p.voice for p in played})}. "
        "Rows are controls, swept through their range; columns are what was seen to move, in standard "
        "deviations of real clips. The diagonal should be large, everything else small.",
    )
    rows, shades, answers = [], {}, {dose.control: dose.spearman for dose in result.doses}
    for i, (control, row) in enumerate(result.matrix.items()):
        rows.append([control, *((cell.mean, f"{cell.low:.2f} to {cell.high:.2f}") for cell in row.values())])
        for j, (name, cell) in enumerate(row.items(), 1):
            missed = answers[control] < GOAL_SPEARMAN if name == control else cell.mean > GOAL_LEAKAGE
            shades[i, j] = "#f4c7bd" if missed else "#d9ead9" if name == control else "#f7f7f2"
    note = (
        f"Mean over portraits and voices of the largest change in the sweep, and its 95 % bootstrap interval. "
        f"Red: above {GOAL_LEAKAGE:g}; on the diagonal a rank correlation under {GOAL_SPEARMAN:g}."
    )
    report.section("Leakage", table(["control", *names], rows, shades=shades), paragraph(note, note=True))
    others = list(next(iter(result.beside.values())))
    report.section(
        "What else moves",
        table(["control", *others], [[c, *(cell.mean for cell in row.values())] for c, row in result.beside.items()]),
        paragraph(
            "Without a goal: an emotion is meant to raise brows, and speech changes what a still judge sees.", True
        ),
    )
    report.section(
        "Dose and response",
        table(
            ["control", "measure", "Spearman", "lowest", "R² of a line", "reach", "dead zone"],
            [[d.control, d.measure, d.spearman, d.worst, d.r_squared, d.reach, f"{d.dead:.0%}"] for d in result.doses],
        ),
        *(
            curves(f"{d.control} → {d.measure}", d.values, {"mean": d.means}, x_name=d.control, dots=True)
            for d in result.doses
        ),
    )
    for pair in played[:2]:
        shown = [
            picture(frame, f"{control}, {end}", width=240)
            for control, frames in pair.pictures.items()
            for end, frame in zip(("lowest", "middle", "highest"), frames, strict=True)
        ]
        report.section(f"{pair.portrait} with {pair.voice}, at the loudest moment", *shown)
    report.section(
        "What is measured",
        table(["measure", "natural deviation", "what it is"], [[n, NATURAL[n], MEASURES[n]] for n in MEASURES]),
    )
    report.made_with(record)
    return report.text()
