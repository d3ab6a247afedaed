"""How mien's inner loops are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

_F = TypeVar("_F", bound=Callable[..., Any])


def compiled(function: _F) -> _F:
    """``numba.njit`` with its cache on disk and the interpreter lock released, typed as what it wraps."""
    compiled: _F = njit(cache=True, nogil=True, error_model="numpy")(function)
    return compiled
