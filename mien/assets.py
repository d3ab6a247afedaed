"""Files mien works with: that they are what they should be, and reading them without unpickling anything."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numpy.lib.npyio import NpzFile

from mien.errors import FormatError, InputError

if TYPE_CHECKING:
    from torch import Tensor, nn


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
        with Path(path).open("rb") as opened, NpzFile(opened) as file:
            arrays = {name: array for name in file.files if isinstance(array := file[name], np.ndarray)}
        header = json.loads(arrays.pop("header").tobytes()) if "header" in arrays else {}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", "check the path") from None
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path}: not an .npz of plain arrays ({error})", "make or download it again") from error
    return header if isinstance(header, dict) else {}, arrays


def load_tensors(path: str | Path, part: str | None = None) -> dict[str, Tensor]:
    """A state dict from ``.safetensors`` or from a PyTorch checkpoint, on the CPU; nothing foreign is unpickled.

    Args:
        path: the checkpoint.
        part: the entry that holds the state dict, for checkpoints with several networks.

    Raises:
        InputError: if the file is missing.
        FormatError: if it is damaged or holds anything but tensors by name.
    """
    import pickle

    import torch

    try:
        if Path(path).suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", "check the path") from None
    except Exception as error:  # both readers raise whatever a damaged file makes them stumble over
        refused = isinstance(error, pickle.UnpicklingError) and "weights_only" in str(error).lower()
        why = "it holds Python objects, which could run code" if refused else (str(error).splitlines() or ["empty"])[0]
        raise FormatError(f"{path}: not a checkpoint of plain tensors ({why})", "use the official file") from error
    if part is not None:
        content = content.get(part) if isinstance(content, dict) else None
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise FormatError(f"{path}: holds no state dict{f' named {part}' if part else ''}", "use the official file")
    return content


def load_state(module: nn.Module, tensors: Mapping[str, Tensor], path: str | Path, what: str) -> None:
    """Fill a network from a state dict, strictly; the prefix ``module.`` of several GPUs is taken off.

    Raises:
        FormatError: if names or shapes differ; the message says which.
    """
    own = module.state_dict()
    given = {key.removeprefix("module."): value for key, value in tensors.items()}
    missing, strange = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
    bent = sorted(key for key in own.keys() & given.keys() if own[key].shape != given[key].shape)
    kinds = (("lacks", missing), ("has the unknown", strange), ("has another shape of", bent))
    found = [f"{kind} {keys[0]}" + (f" and {len(keys) - 1} more" if keys[1:] else "") for kind, keys in kinds if keys]
    if found:
        raise FormatError(f"{path}: is no {what} checkpoint, it {'; it '.join(found)}", "use the official file")
    module.load_state_dict(given, strict=True)
