"""``mien evaluate``: what was made against the truth, the speech and the person, clip by clip and system by system."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import Positional, arg

from mien.errors import InputError, OutputError
from mien.evaluation.measures import METRICS, Clip, Eyes, Judges, Truth, compare, look, mesh_measures
from mien.progress import Progress, Silent

_log = logging.getLogger(__name__)

VIDEO, MESH = (".mp4", ".webm", ".mov", ".avi", ".mkv", ".mpg", ".gif"), (".npz",)


@dataclass(frozen=True)
class EvaluateOptions:
    """Judge generated videos, or motions (.npz), one system or several side by side.

    Each GENERATED is a file, or a folder whose files are paired with those of the other folders by name. What cannot
    be measured without a truth, a speech or weights is left out and shown as a dash.
    """

    generated: Positional[tuple[Path, ...]]
    """Files or folders, one per system."""

    truth: Annotated[Path | None, arg(aliases=("-t",))] = None
    """What it should look like: a file or a folder of the same names."""

    speech: Annotated[Path | None, arg(aliases=("-s",))] = None
    """What is said: a sound file, or a folder of the same names. Default: the video's own sound."""

    reference: Annotated[Path | None, arg(aliases=("-r",))] = None
    """A picture of the person, to compare the identity with. Default: the truth."""

    direction: Annotated[str | None, arg(aliases=("-d",))] = None
    """The emotion that was asked for, as for mien speak. Default: what mien wrote into the file."""

    output: Annotated[Path | None, arg(aliases=("-o",))] = None
    """Where to write the report: .html with pictures, or .json. Default: only a summary is printed."""

    estimator: str = "own"
    """What reads valence and arousal: own, or emonet:FILE with EmoNet's official weights."""

    identity: Path | None = None
    """OpenCV's SFace (face_recognition_sface_2021dec.onnx), for identity similarity."""

    lpips: tuple[Path, Path] | None = None
    """torchvision's AlexNet and LPIPS 0.1's alex.pth, for LPIPS."""

    fid: Path | None = None
    """A feature network in ONNX (299 px RGB in -1 to 1), for FID over all frames."""


@dataclass(frozen=True)
class EvaluateResult:
    """What was measured.

    Attributes:
        output: the report, or ``None``.
        systems: system → metric → mean over its clips; NaN where it could not be measured.
        clips: system → clip → metric → value.
    """

    output: Path | None
    systems: dict[str, dict[str, float]]
    clips: dict[str, dict[str, dict[str, float]]]

    def __str__(self) -> str:
        from mien.evaluation.report import number

        names = list(self.systems)
        lines = ["| metric | unit | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
        for metric in METRICS:
            values = [self.systems[name].get(metric.key, float("nan")) for name in names]
            if not all(np.isnan(values)):
                lines.append(f"| {metric.title} | {metric.unit} | " + " | ".join(map(number, values)) + " |")
        return "\n".join(lines)


def evaluate(options: EvaluateOptions, progress: Progress | None = None) -> EvaluateResult:
    """Measure everything that can be measured, and write the report.

    Raises:
        InputError: if a file cannot be used, or names do not pair.
        NoFaceError: if a video shows no face.
        OutputError: if the report cannot be written.
        MissingExtraError: if PyTorch is missing for a network that was asked for.
    """
    from mien.media.output import check_output

    systems = _systems(options.generated)
    names = list(next(iter(systems.values())))
    truths, speeches = _paired(options.truth, names, "--truth"), _paired(options.speech, names, "--speech")
    if options.output is not None:
        if options.output.suffix.lower() not in (".html", ".json"):
            raise OutputError(f"{options.output}: a report is .html or .json", "end -o in one of them")
        inputs = [path for files in (*systems.values(), truths, speeches) for path in files.values()]
        check_output(options.output, inputs=inputs)
    progress = progress or Silent()
    if next(iter(systems.values()))[names[0]].suffix.lower() in MESH:
        clips = {
            system: {name: Clip(mesh_measures(path, truths.get(name))) for name, path in files.items()}
            for system, files in systems.items()
        }
    else:
        clips = _videos(options, systems, truths, speeches, progress)
    values = {system: {name: dict(clip.values) for name, clip in own.items()} for system, own in clips.items()}
    result = EvaluateResult(options.output, {system: _mean(own) for system, own in values.items()}, values)
    if options.output is not None:
        _write(options, result, clips, [*truths.values(), *speeches.values()])
    return result


def _videos(
    options: EvaluateOptions, systems: dict[str, dict[str, Path]], truths: dict[str, Path], speeches: dict[str, Path],
    progress: Progress,
) -> dict[str, dict[str, Clip]]:  # fmt: skip
    if options.reference is not None and options.identity is None:
        _log.warning("%s: identity is not compared without --identity", options.reference)
    judges = Judges.load(options.estimator, options.identity, options.lpips, options.fid)
    clips: dict[str, dict[str, Clip]] = {system: {} for system in systems}
    if truths:
        clips["truth"] = {}
    eyes = Eyes(judges, options.reference, options.direction)
    for name in next(iter(systems.values())):
        # All videos of one name are looked at together, so the truth is tracked once for all systems.
        files = {system: own[name] for system, own in systems.items()}
        if name in truths:
            files["truth"] = truths[name]
        seen = look(files, progress)
        truth = Truth(seen["truth"], truths[name]) if "truth" in seen else None
        for system, path in files.items():
            against = None if system == "truth" else truth  # the real clip's own values stand beside the others'
            clips[system][name] = compare(path, seen[system], against, speeches.get(name), eyes, progress)
    if judges.features is not None and truths:
        from mien.metrics import frechet_distance

        real = np.concatenate([clip.features for clip in clips["truth"].values()])
        for own in clips.values():
            made = np.concatenate([clip.features for clip in own.values()])
            for clip in own.values():
                clip.values["fid"] = frechet_distance(real, made)
    return clips


def _systems(paths: Sequence[Path]) -> dict[str, dict[str, Path]]:
    """System → clip → file. Systems are called by their folder or file; alike names get a number."""
    found: dict[str, dict[str, Path]] = {}
    for path in paths:
        files = _files(path) if path.is_dir() else {"": path}
        title = path.resolve().name if path.is_dir() else path.stem
        while title in (*found, "truth"):
            title += "'"
        found[title] = files
    if not found:
        raise InputError("nothing to evaluate", "name a video, a motion, or a folder of them")
    first = next(iter(found.values()))
    for system, files in found.items():
        if files.keys() != first.keys():
            odd = sorted(files.keys() ^ first.keys())[0]
            raise InputError(f"{system}: the folders do not hold the same names ({odd})", "give all systems each clip")
        kinds = {path.suffix.lower() in MESH for path in (*files.values(), *first.values())}
        if len(kinds) > 1:
            raise InputError(f"{system}: videos and motions cannot be compared", "give only one kind")
        for path in files.values():
            if not path.is_file():
                raise InputError(f"{path}: no such file", "check the path")
    return found


def _files(folder: Path) -> dict[str, Path]:
    files = {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in (*VIDEO, *MESH)}
    if not files:
        raise InputError(f"{folder}: holds no video and no motion", f"it may hold {' '.join((*VIDEO, *MESH))}")
    return files


def _paired(path: Path | None, names: Sequence[str], flag: str) -> dict[str, Path]:
    """Clip → its truth or speech."""
    if path is None:
        return {}
    if path.is_dir():
        found = {entry.stem: entry for entry in sorted(path.iterdir()) if entry.is_file()}
        missing = [name for name in names if name not in found]
        if missing:
            raise InputError(f"{flag} {path}: has nothing named {missing[0]}", "name its files as the generated ones")
        return {name: found[name] for name in names}
    if not path.is_file():
        raise InputError(f"{flag} {path}: no such file", "check the path")
    if len(names) > 1:
        raise InputError(f"{flag} {path}: is one file for {len(names)} clips", "give a folder of the same names")
    return {names[0]: path}


def _mean(clips: dict[str, dict[str, float]]) -> dict[str, float]:
    """Mean over clips of every metric; a clip that has no value for one does not count."""
    keys = dict.fromkeys(key for values in clips.values() for key in values)
    means = {}
    for key in keys:
        known = [values[key] for values in clips.values() if key in values and not np.isnan(values[key])]
        means[key] = float(np.mean(known)) if known else float("nan")
    return means


def _write(
    options: EvaluateOptions, result: EvaluateResult, clips: dict[str, dict[str, Clip]], others: list[Path]
) -> None:
    from mien.evaluation.evaluate_report import page
    from mien.evaluation.report import made_record, write_text

    assert options.output is not None
    files = {
        f"{system}{'/' * bool(name)}{name}": path
        for system, own in _systems(options.generated).items()
        for name, path in own.items()
    }
    given = {"reference": options.reference, "identity": options.identity, "fid": options.fid}
    given |= {f"lpips {i}": path for i, path in enumerate(options.lpips or ())}
    given |= {f"truth or speech {i}": path for i, path in enumerate(others)}
    record = made_record("evaluate", {**files, **given}, options)
    if options.output.suffix.lower() == ".json":
        numbers = {"systems": result.systems, "clips": result.clips, "made": record}
        numbers["metrics"] = {m.key: {"title": m.title, "unit": m.unit, "better": m.better} for m in METRICS}
        plain = json.loads(
            json.dumps(numbers, default=str), parse_constant=lambda name: None if name == "NaN" else name
        )
        write_text(options.output, json.dumps(plain, indent=1) + "\n")
    else:
        write_text(options.output, page(result.systems, clips, record))
