"""Motion files: mien's own ``.npz`` and Live Link Face ``.csv``, told apart by the ending."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mien.errors import OutputError
from mien.media.image import require_file
from mien.media.livelink import read_livelink, write_livelink
from mien.media.output import atomic_output, output_error
from mien.media.provenance import NPZ_ENTRY, to_text
from mien.types import FaceMotion

ENDINGS = (".npz", ".csv")


def read_motion(path: str | Path) -> FaceMotion:
    """A motion from mien's ``.npz`` or a Live Link Face ``.csv``.

    Raises:
        InputError: if the file cannot be read or is something else.
    """
    path = require_file(path, "motion file")
    return read_livelink(path) if path.suffix.lower() == ".csv" else FaceMotion.load(path)


def write_motion(path: str | Path, motion: FaceMotion, *, provenance: Mapping[str, Any] | None = None) -> None:
    """Write a motion; whole or not at all.

    Args:
        path: where to: ``.npz`` or ``.csv``.
        motion: what to write.
        provenance: what :func:`mien.media.provenance.provenance` returned; a CSV has no place for it.

    Raises:
        OutputError: if the ending is another one or the place cannot be written.
        InputError: if the motion does not fit into a CSV.
    """
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise OutputError(f"{path}: motion is not written as {path.suffix or 'a folder'}", "end -o in .npz or .csv")
    with atomic_output(path) as temporary:
        try:
            if path.suffix.lower() == ".csv":
                write_livelink(temporary, motion)
                return
            motion.save(temporary)
            if provenance is not None:
                add_to_npz(temporary, provenance)
        except OSError as error:
            raise output_error(path, error) from error


def add_to_npz(path: Path, provenance: Mapping[str, Any]) -> None:
    """Put the record beside the arrays of an ``.npz``."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(NPZ_ENTRY, to_text(provenance))
