"""``mien person``: videos of somebody become a person that mien can redirect, in one command.

prepare → train dsm → train renderer → report. Each step is a verb of its own and skips what is done, so an interrupted
run goes on where it stopped, and a person who gets further videos learns from all of them.

This stands above pipelines and training, for it calls both.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from tyro.conf import Positional, arg

from mien.errors import FormatError, InputError
from mien.media.person_folder import DECODER_RUN, MANIFEST, RENDERER_RUN, load_person
from mien.progress import Progress

if TYPE_CHECKING:
    from mien.media.person_folder import Person

REPORT, PICTURE = "person.json", "person.png"

_WORTH = 0.8  # share of the better of both other errors that the decoder's should stay below


@dataclass(frozen=True)
class PersonOptions:
    """Learn a person from their videos: motion and emotion, what their moods look like, and a renderer of them.

    Some minutes of film that show many moods are best. Afterwards `mien redirect --person FOLDER` changes what they
    feel in a video. An interrupted run goes on where it stopped; person.png shows how good the result is.
    """

    output: Annotated[Path, arg(aliases=("-o",))]
    """Folder of the person."""

    videos: Positional[tuple[Path, ...]] = ()
    """Videos that show the person's face. Default: those that the folder holds already."""

    face: int | None = None
    """Which face, counted from 1 for the largest. Default: the largest."""

    setting: Literal["fast", "faithful"] = "fast"
    """Of the decoder, as in mien train dsm."""

    renderer: Literal["fast", "none"] = "fast"
    """fast trains a renderer of the person; none leaves redirect to warping their frames."""

    minutes: float = 60
    """At most so long for the renderer."""

    seed: int = 0
    """Of training; the same seed gives the same decoder."""


@dataclass(frozen=True)
class PersonResult:
    """What was learned. Errors are root mean squares of expression weights on film not trained on.

    Attributes:
        output: the folder.
        n_clips: videos in it.
        seconds: their length.
        decoder: error of the decoder.
        mean: error of the person's mean face.
        generic: error of the face that anybody gets at this valence and arousal, over the person's resting face.
        face_psnr: dB of the renderer on frames never seen, in the face; ``None`` without one.
        warnings: what is wrong with the material.
    """

    output: Path
    n_clips: int
    seconds: float
    decoder: float
    mean: float
    generic: float
    face_psnr: float | None
    warnings: tuple[str, ...]


def person(options: PersonOptions, progress: Progress | None = None) -> PersonResult:
    """Make the person, or finish them.

    Raises:
        InputError: if no video can be used, or an option makes no sense.
        FormatError: if the folder is damaged.
        OutputError: if the folder holds other things or cannot be written.
        MissingExtraError: if PyTorch or matplotlib is missing.
    """
    from mien.media.output import atomic_output
    from mien.pipelines import prepare_report
    from mien.pipelines.prepare import PrepareOptions, prepare

    if not 0 < options.minutes <= 10_000:
        raise InputError(f"--minutes {options.minutes:g}", "give more than 0")
    folder = options.output
    if options.videos or not (folder / MANIFEST).exists():
        prepare(PrepareOptions(options.videos, folder, face=options.face), progress)
    who = load_person(folder)
    learned = _begun(who, options)
    if "decoder" not in learned:
        from mien.training.options import TrainDsmOptions
        from mien.training.train import train_dsm

        trained = train_dsm(TrainDsmOptions(folder, setting=options.setting, seed=options.seed), progress)
        learned["decoder"] = {name: getattr(trained, name) for name in ("decoder", "mean", "generic")}
        _write(folder, learned)
    if options.renderer != "none" and "renderer" not in learned:
        from mien.training.options import TrainRendererOptions
        from mien.training.train import train_renderer

        drawn = train_renderer(TrainRendererOptions(folder, minutes=options.minutes, seed=options.seed), progress)
        learned["renderer"] = {"face_psnr": drawn.face_psnr}
        _write(folder, learned)
    with atomic_output(folder / PICTURE) as temporary:
        _figure(folder, learned["decoder"]).savefig(temporary, dpi=100)
    warnings = json.loads((folder / prepare_report.REPORT).read_text(encoding="utf-8"))["warnings"]
    error, other = learned["decoder"]["decoder"], min(learned["decoder"]["mean"], learned["decoder"]["generic"])
    if error > _WORTH * other:
        warnings.append(
            f"the decoder errs only {max(1 - error / other, 0):.0%} less than the better of a mean and a generic face: "
            "the film shows few moods"
        )
    return PersonResult(
        output=folder,
        n_clips=len(who.clips),
        seconds=round(sum(clip.motion.duration for clip in who.clips), 2),
        **learned["decoder"],
        face_psnr=learned.get("renderer", {}).get("face_psnr"),
        warnings=tuple(warnings),
    )


def _begun(who: Person, options: PersonOptions) -> dict[str, Any]:
    """What has been learned from the same film in the same way; what was learned otherwise is thrown away."""
    wish = {"clips": [clip.sha256 for clip in who.clips], "setting": options.setting, "seed": options.seed}
    path = who.folder / REPORT
    try:
        learned: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"wish": wish}
        before = learned["wish"]
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path}: damaged ({error})", "delete it") from error
    if before != wish:
        shutil.rmtree(who.folder / DECODER_RUN, ignore_errors=True)
        if (before["clips"], before["seed"]) != (wish["clips"], wish["seed"]):
            shutil.rmtree(who.folder / RENDERER_RUN, ignore_errors=True)
            learned.pop("renderer", None)
        learned = {**learned, "wish": wish}
        learned.pop("decoder", None)
    _write(who.folder, learned)
    return learned


def _write(folder: Path, learned: dict[str, Any]) -> None:
    from mien.media.output import atomic_output

    with atomic_output(folder / REPORT) as temporary:
        temporary.write_text(json.dumps(learned, indent=1) + "\n", encoding="utf-8")


def _figure(folder: Path, figures: dict[str, Any]) -> Any:
    """The material, where the person is known, what the decoder is worth, and how the renderer learned."""
    from matplotlib.figure import Figure

    from mien.media.image import read_image
    from mien.pipelines import prepare_report
    from mien.pipelines.dsm import load_decoder
    from mien.pipelines.plot import draw_disc
    from mien.pipelines.plot_regions import draw_coverage

    figure = Figure(figsize=(14, 14.5), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(2, 1))
    top, bottom = parts
    material = top.add_subplot()
    material.imshow(read_image(folder / prepare_report.PICTURE))
    material.set_axis_off()
    disc, bars, curve = bottom.subplots(1, 3)
    model = load_decoder(folder)
    draw_coverage(disc, model)
    disc.scatter(model.cloud[:, 0], model.cloud[:, 1], s=4, color="black", alpha=0.4, linewidths=0)
    draw_disc(disc, "inside the line the face is the person's own,\noutside a generic one")
    names = ["mean", "generic", "decoder"]
    bars.bar(["mean face", "generic face", "decoder"], [figures[name] for name in names], color=["0.7", "0.7", "C2"])
    bars.set(title="error on film not trained on", ylabel="root mean square of expression weights")
    _curve(curve, folder / RENDERER_RUN / "log.jsonl")
    return figure


def _curve(axes: Any, log: Path) -> None:
    """How the renderer's validation error fell."""
    axes.set_title("renderer: error on film not trained on")
    if not log.exists():
        axes.text(0.5, 0.5, "not trained: frames are warped", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    minutes = [e.get("minutes", e["epoch"]) for e in entries]
    axes.plot(minutes, [e["validation"].get("total", np.nan) for e in entries], marker=".")  # one epoch is a dot
    axes.set(xlabel="minutes", ylabel="loss")
    axes.grid(alpha=0.3)
