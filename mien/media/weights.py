"""Weights of networks as files: ``.safetensors``, with a header where mien wrote them, and checkpoints of others.

Nothing foreign is unpickled: of PyTorch's own checkpoints only plain tensors are read.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from mien.errors import FormatError, InputError, MienError
from mien.media.output import atomic_output, output_error


def save_weights(path: str | Path, tensors: Mapping[str, Tensor], kind: str, header: Mapping[str, Any]) -> None:
    """Write ``.safetensors``, whole or not at all.

    Args:
        path: the file.
        tensors: what it holds, by name.
        kind: the name under which the header stands, such as ``"mien.dsm"``.
        header: what JSON can hold. ``"version"`` in it is what :func:`stored_weights` checks.

    Raises:
        OutputError: if the place cannot be written.
    """
    # A single entry, for the order of several would differ from run to run.
    write_tensors(path, tensors, {kind: json.dumps(header)})


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write ``.safetensors`` as they are, whole or not at all.

    Raises:
        OutputError: if the place cannot be written.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_output(path) as temporary:
        try:
            # What save_file writes can be read by nobody but its owner.
            temporary.write_bytes(save(plain, metadata=metadata))
        except OSError as error:
            raise output_error(path, error) from error


@contextmanager
def stored_weights(
    path: str | Path, kind: str, version: int, *, what: str, remedy: str
) -> Iterator[tuple[dict[str, Any], dict[str, Tensor]]]:
    """The header and the tensors that :func:`save_weights` wrote, for a block that builds the model from them.

    Args:
        path: the file.
        kind: under which name the header stands.
        version: the newest that the block can read.
        what: that the file should be, as "a trained person of mien".
        remedy: what to do if it is not.

    Raises:
        InputError: if there is no such file.
        FormatError: if it is something else, damaged or newer, whether found here or by the block.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file", remedy)
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})[kind])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
        if header["version"] > version:
            raise ValueError(f"version {header['version']}, this mien reads up to {version}")
        yield header, tensors
    except MienError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise FormatError(f"{path}: not {what}, or damaged ({error})", remedy) from error


def load_header(path: str | Path, kind: str) -> dict[str, Any]:
    """The header that :func:`save_weights` wrote under a name; empty for files of others.

    Raises:
        FormatError: if it is damaged.
    """
    if Path(path).suffix.lower() != ".safetensors":
        return {}
    try:
        with safe_open(path, "pt") as file:
            return dict(json.loads((file.metadata() or {}).get(kind, "{}")))
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise FormatError(f"{path}: its header is damaged ({error})", "copy or download it again") from error


def load_tensors(path: str | Path, part: str | None = None) -> dict[str, Tensor]:
    """A state dict from ``.safetensors`` or from a PyTorch checkpoint, on the CPU; nothing foreign is unpickled.

    The prefix ``module.``, which training on several GPUs leaves, is taken off the names.

    Args:
        path: the checkpoint.
        part: the entry that holds the state dict, for checkpoints with several networks.

    Raises:
        InputError: if the file is missing.
        FormatError: if it is damaged or holds anything but tensors by name.
    """
    try:
        if Path(path).suffix.lower() == ".safetensors":
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
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise FormatError(f"{path}: holds no state dict{f' named {part}' if part else ''}", "use the official file")
    return {name.removeprefix("module."): value for name, value in content.items()}


def load_state(module: nn.Module, tensors: Mapping[str, Tensor], path: str | Path, what: str) -> None:
    """Fill a network from a state dict, strictly.

    Raises:
        FormatError: if names or shapes differ; the message says which.
    """
    own = module.state_dict()
    missing, strange = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    bent = sorted(key for key in own.keys() & tensors.keys() if own[key].shape != tensors[key].shape)
    kinds = (("lacks", missing), ("has the unknown", strange), ("has another shape of", bent))
    found = [f"{kind} {keys[0]}" + (f" and {len(keys) - 1} more" if keys[1:] else "") for kind, keys in kinds if keys]
    if found:
        raise FormatError(f"{path}: is no {what} checkpoint, it {'; it '.join(found)}", "use the official file")
    module.load_state_dict(tensors, strict=True)


def part_of(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
