"""A trained person by the path a user gives: the file, the folder of the run, or the person's own folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import InputError, needs_torch
from mien.media.person_folder import FAST_FILE, NEURAL_FILE, RENDERER_RUN

if TYPE_CHECKING:
    from mien.engine import Engine
    from mien.rendering.person import WindowRenderer


def trained_file(path: Path) -> Path | None:
    """The file of a trained person, or ``None`` if there is none."""
    places = [path, *(folder / name for folder in (path, path / RENDERER_RUN) for name in (FAST_FILE, NEURAL_FILE))]
    return next((place for place in places if place.is_file()), None)


def load_window_renderer(path: Path, engine: Engine = "auto") -> WindowRenderer:
    """The renderer of a trained person; on a GPU where there is one.

    Raises:
        InputError: if there is no trained person.
        FormatError: if the file is damaged or something else.
        MissingExtraError: if PyTorch is not installed.
    """
    file = trained_file(path)
    if file is None:
        raise InputError(f"{path}: no trained renderer of a person there", f"run `mien train renderer -i {path}`")
    with needs_torch("a person renderer"):
        import torch

        from mien.rendering.fast import FastRenderer, load_person_renderer
        from mien.rendering.neural_person import NeuralWindowRenderer, load_neural_person
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if file.name == NEURAL_FILE:
        return NeuralWindowRenderer(load_neural_person(file), engine, device)
    return FastRenderer(load_person_renderer(file), engine, device)
