"""Results are written whole or not at all.

A result grows under a temporary name beside its place (``.name.part-<pid>.ending``) and takes its own name in one step
at the end. A failed or interrupted run removes the temporary; after a ``kill -9`` the next run of the same output does.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mien.errors import OutputError

log = logging.getLogger(__name__)

FRAME_NAME = "frame_{:06d}.png"
"""Names of the pictures in a folder of frames, counted from 0."""

_FRAME_PATTERN = re.compile(r"frame_\d{6,}\.(png|obj|ply)")
_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space or choose another folder with -o"),
    errno.EDQUOT: ("the disk quota is used up", "free some space or choose another folder with -o"),
    errno.EFBIG: ("the file grows larger than allowed", "choose another disk with -o"),
    errno.EROFS: ("the folder is read-only", "choose another folder with -o"),
    errno.EACCES: ("no permission to write there", "choose another folder with -o"),
    errno.EPERM: ("no permission to write there", "choose another folder with -o"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "check the path"),
    errno.EEXIST: ("a part of the path is a file, not a folder", "check the path"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
}


def output_error(path: str | Path, error: Exception) -> OutputError:
    """What an ``OSError`` or FFmpeg error means for the result at ``path``, in words a user can act on."""
    why, remedy = _REASONS.get(getattr(error, "errno", None) or 0, (reason(error), "check the path given with -o"))
    return OutputError(f"{path}: cannot be written, {why}", remedy)


def reason(error: Exception) -> str:
    """What an ``OSError`` or FFmpeg error says, without its number and its paths."""
    return getattr(error, "strerror", None) or str(error)


def check_output(path: str | Path, *, folder: bool = False, inputs: Iterable[Path | None] = ()) -> Path:
    """Make sure, before long work starts, that a result can be written; missing parent folders are made.

    Args:
        path: where the result shall stand; links are followed.
        folder: the result is a folder of frames instead of a file.
        inputs: files that are read for it and must not be replaced by it; ``None`` is left out.

    Returns:
        The path with links resolved.

    Raises:
        OutputError: if it cannot be written, or something stands there that must not be replaced.
    """
    path = Path(path)
    if str(path) == "-":
        raise OutputError("-: results are written to files, not to a pipe", "name a file with -o")
    if folder and (not path.name or path.name.startswith(".")):
        raise OutputError(f"{path}: names neither a file nor a folder of its own", "write it as in out.mp4 or frames/")
    try:
        target = path.resolve()
        if any(source is not None and source.resolve() == target for source in inputs):
            raise OutputError(f"{path}: is the input itself", "give the result another name with -o")
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
        _check_replaceable(target, folder)
        probe = temporary_path(target)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise output_error(path, error) from error
    return target


@contextmanager
def atomic_output(path: str | Path, *, folder: bool = False) -> Iterator[Path]:
    """The temporary path to write to; it takes the place of ``path`` when the block ends without an error.

    Args:
        path: where the result shall stand.
        folder: the result is a folder of frames; the temporary folder exists on entry.

    Raises:
        OutputError: if the place cannot be written. ``OSError`` raised inside the block passes through unchanged, for
            only the writer knows whether reading or writing failed.
    """
    target = check_output(path, folder=folder)
    temporary = temporary_path(target)
    try:
        if folder:
            temporary.mkdir()
        yield temporary
        try:
            _move_into_place(temporary, target)
        except OSError as error:
            raise output_error(path, error) from error
    finally:
        remove(temporary)


def temporary_path(target: Path, kind: str = "part") -> Path:
    """A place beside ``target`` for this process alone; what is left there by a killed one, the next run removes."""
    return target.with_name(f".{target.stem}.{kind}-{os.getpid()}{target.suffix}")


def _check_replaceable(target: Path, folder: bool) -> None:
    if not target.exists():
        return
    mode = target.stat().st_mode
    if not folder and stat.S_ISDIR(mode):
        raise OutputError(f"{target}: is a folder", "name a file in it, such as out.mp4")
    if not folder and not stat.S_ISREG(mode):
        raise OutputError(f"{target}: is not an ordinary file", "name one that may be replaced")
    if folder and not stat.S_ISDIR(mode):
        raise OutputError(
            f"{target}: a file stands where a folder of frames is wanted",
            "give -o an ending (.mp4, .webm, .gif) or another name",
        )
    if folder and any(not _FRAME_PATTERN.fullmatch(entry.name) for entry in target.iterdir()):
        raise OutputError(f"{target}: the folder holds other things than frames", "name a new or empty folder")
    if not os.access(target, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(errno.EACCES, "write-protected", str(target))


def _move_into_place(temporary: Path, target: Path) -> None:
    if not target.is_dir():
        temporary.replace(target)
        return
    old = temporary_path(target, "old")  # a folder that is not empty cannot be replaced in one step
    target.rename(old)
    temporary.rename(target)
    remove(old)


def _remove_leftovers(target: Path) -> None:
    """Remove what killed runs left, and put a folder back that was moved aside in the very last step."""
    pattern = re.compile(rf"\.{re.escape(target.stem)}\.(part|old|kept)-(\d+){re.escape(target.suffix)}")
    for entry in list(target.parent.iterdir()):
        match = pattern.fullmatch(entry.name)
        if match is None or _is_running(int(match[2])) or (match[1] == "kept" and int(match[2]) == os.getpid()):
            continue
        if match[1] == "old" and not target.exists():
            entry.rename(target)
            continue
        log.info("removing %s, left by an interrupted run", entry)
        remove(entry)


def _is_running(pid: int) -> bool:
    if sys.platform == "win32":  # there this call would end the process
        return pid != os.getpid()
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid != os.getpid()


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
