"""A face and a voice to try things with."""

from __future__ import annotations

from pathlib import Path

from mien.errors import InputError

_PACKAGE = Path(__file__).parents[1]
_VOICES = _PACKAGE.parent / "examples" / "speech.flac", _PACKAGE / "studio" / "examples" / "speech.flac"
"""Where it lies in a checkout, and in an installed package."""


def sample_portrait() -> Path:
    """A public-domain photo that comes with matplotlib."""
    from matplotlib import cbook

    return Path(str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))


def sample_speech() -> Path:
    """A recording of a few sentences; what is said in it stands beside it in a ``.txt``.

    Raises:
        InputError: if it is not there.
    """
    for path in _VOICES:
        if path.exists():
            return path
    raise InputError("no speech given and examples/speech.flac is not here", "give a sound file with -s")
