"""Files mien works with: that they are what they should be, and reading them without unpickling anything."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.errors import FormatError, InputError


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_npz(path: str | Path) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """The JSON header (empty if there is none) and the arrays of an ``.npz``; nothing is unpickled.

    Raises:
        InputError: if the file is missing.
        FormatError: if it is damaged, no ``.npz``, or holds Python objects.
    """
    try:
        with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: array for name in file.files if isinstance(array := file[name], np.ndarray)}
        header = json.loads(arrays.pop("header").tobytes()) if "header" in arrays else {}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", "check the path") from None
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path}: not an .npz of plain arrays ({error})", "make or download it again") from error
    return header if isinstance(header, dict) else {}, arrays
