"""What an interrupted run leaves for the next one: finished stretches of a video, and whatever else was slow to make.

While ``out.mp4`` is made, the folder ``.out.mp4.part`` beside it holds a fingerprint of everything that decides the
result and what is finished so far. A run with the same fingerprint goes on from there, one with another removes it. The
operating system takes a killed run's lock on the folder away, so two runs never share one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mien.errors import InputError
from mien.media.output import output_error, remove, temporary_path
from mien.media.provenance import to_text

log = logging.getLogger(__name__)

GROWING = "growing.mp4"
"""What is being written and not yet worth keeping."""

PACKAGE = Path(__file__).parent.parent
"""mien itself; another mien may draw other frames."""

_STATE, _LOCK = "state.json", "lock"


def segment_name(number: int) -> str:
    """Of a finished stretch of the video, counted from 0."""
    return f"segment_{number:05d}.mp4"


class Unfinished:
    """The folder of one output that is being made.

    Args:
        folder: an existing folder that this run has for itself.

    Attributes:
        folder: where anything else may be kept that is slow to make, each file moved there when it is whole.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def segments(self) -> list[Path]:
        """Finished stretches of the video, in order."""
        return sorted(self.folder.glob("segment_*.mp4"))

    @property
    def frames(self) -> Path:
        """Folder of pictures, the last of which may be cut off."""
        return self.folder / "frames"

    def keep(self, file: Path, name: str) -> None:
        """A file of the folder is whole and shall be there for the next run, under this name."""
        with file.open("rb") as content:
            os.fsync(content)
        file.replace(self.folder / name)

    @property
    def is_empty(self) -> bool:
        """Whether nothing in it is worth keeping."""
        return {entry.name for entry in self.folder.iterdir()} <= {_STATE, _LOCK, GROWING}


@contextmanager
def unfinished(path: str | Path, record: Mapping[str, Any]) -> Iterator[Unfinished]:
    """The folder of one output while it is made; it is gone when the block ends, and stays if the run is stopped.

    An error on which the folder stays carries a note that says so.

    Args:
        path: the output.
        record: what :func:`mien.media.provenance.provenance` returned: how the output is made, and from what.

    Raises:
        OutputError: if the place cannot be written.
    """
    fingerprint = fingerprint_of(record)
    try:
        target = Path(path).resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        folder, lock = _own_folder(target)
    except OSError as error:
        raise output_error(path, error) from error
    work = Unfinished(folder)
    try:
        try:
            _begin(work, fingerprint, path)
        except OSError as error:
            raise output_error(path, error) from error
        yield work
    except InputError:
        remove(folder)
        raise
    except BaseException as error:
        if work.is_empty:
            remove(folder)
        else:
            error.add_note("what is done so far is kept, and the same command goes on from there")
        raise
    else:
        remove(folder)
    finally:
        os.close(lock)


def fingerprint_of(record: Mapping[str, Any]) -> str:
    """Equal for runs that make the same: settings, contents of the inputs, files in the settings, and mien itself."""
    lasting = {key: value for key, value in record.items() if key != "created"}
    stamps = [_stamps(path) for path in (PACKAGE, *_paths(record.get("settings")))]
    return hashlib.sha256(json.dumps([to_text(lasting), stamps]).encode()).hexdigest()


def _paths(value: Any) -> Iterator[Path]:
    """Whatever may be a path in the settings, but the output."""
    if isinstance(value, Mapping):
        value = [value[key] for key in sorted(value) if key != "output"]
    if isinstance(value, list | tuple):
        for each in value:
            yield from _paths(each)
    elif isinstance(value, Path) or (isinstance(value, str) and _is_file(value)):
        yield Path(value)


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # words may be too long for a name
        return False


def _stamps(path: Path) -> list[tuple[str, int, int]]:
    """Sizes and times of a file, or of the files in a folder, hidden and cached ones left out."""
    files = [file for file in sorted(path.rglob("*")) if not _is_passing(file, path)] if path.is_dir() else [path]
    return [(file.name, stat.st_size, stat.st_mtime_ns) for file in files if (stat := file.stat())]


def _is_passing(file: Path, folder: Path) -> bool:
    return file.is_dir() or any(part.startswith((".", "__pycache__")) for part in file.relative_to(folder).parts)


def _own_folder(target: Path) -> tuple[Path, int]:
    """A folder that no other run works in, and the lock on it; one for this run alone if another has the usual one."""
    folder = target.with_name(f".{target.name}.part")
    folder.mkdir(exist_ok=True)
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT)
    try:
        _take(lock)
        if os.path.samestat(os.fstat(lock), (folder / _LOCK).stat()):  # not removed by the run that had it before
            return folder, lock
    except OSError:  # taken, or a disk that knows no locks
        log.info("%s: another run works on it; this one cannot be resumed", target)
    folder = temporary_path(target, "kept")
    remove(folder)
    folder.mkdir()
    return folder, lock


def _take(lock: int) -> None:
    """Lock an open file for this process, or raise ``OSError`` if another has it."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(lock, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _begin(work: Unfinished, fingerprint: str, path: str | Path) -> None:
    """Keep what an earlier run has left if it made the same, else remove it."""
    state = work.folder / _STATE
    try:
        is_same = json.loads(state.read_text(encoding="utf-8"))["fingerprint"] == fingerprint
    except (OSError, ValueError, KeyError, TypeError):
        is_same = False
    if not is_same:
        if not work.is_empty:
            log.warning("%s: what a run with other settings or inputs left unfinished is removed", path)
        for entry in work.folder.iterdir():
            if entry.name != _LOCK:
                remove(entry)
        state.write_text(json.dumps({"fingerprint": fingerprint}), encoding="utf-8")
    elif not work.is_empty:
        log.warning("%s: goes on where an earlier run was stopped", path)
