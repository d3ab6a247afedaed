"""Everything that can go wrong in a way the user can mend.

    MienError                 base; the command line prints it as one line and exits with 2
    ├── InputError            a file or value the user gave cannot be used (what, where, remedy)
    │   ├── NoFaceError       a picture or clip shows no usable face
    │   ├── DirectionError    a direction is malformed (names the line or the part)
    │   └── FormatError       a file is not of the kind its name or header promises
    ├── AssetError            a model or data file is missing, has the wrong hash, or its licence is not accepted
    ├── OutputError           the result could not be written (folder missing, read-only, disk full)
    └── MissingExtraError     an optional package is needed; names what to install

An error says what was found, where, and what to do. Programming mistakes stay ``TypeError``, ``ValueError`` and so on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class MienError(Exception):
    """Base of all errors a user can mend.

    Args:
        what: what is wrong, with the offending value and its place.
        remedy: what to do about it, or empty when ``what`` already says it.
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what}; {remedy}" if remedy else what)


class InputError(MienError):
    """A file or value that the user gave cannot be used."""


class NoFaceError(InputError):
    """A picture or clip shows no usable face."""


class DirectionError(InputError):
    """A direction is malformed or out of range."""


class FormatError(InputError):
    """A file is not of the kind its name or header promises."""


class AssetError(MienError):
    """A model or data file is missing, altered, or not licensed for this use."""


class OutputError(MienError):
    """The result could not be written."""


class MissingExtraError(MienError):
    """An optional package is needed."""


@contextmanager
def needs_torch(what: str) -> Iterator[None]:
    """Around imports of PyTorch, or of modules that import it: one clear line where it is not installed.

    Args:
        what: that needs it.

    Raises:
        MissingExtraError: if PyTorch is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError(f"{what} needs PyTorch", "pip install torch") from error
