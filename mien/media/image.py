"""Pictures: read anything common as upright RGB, write PNG and JPEG."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import FormatError, InputError, OutputError
from mien.media.output import atomic_output, output_error
from mien.types import Frame

if TYPE_CHECKING:
    import PIL.Image

log = logging.getLogger(__name__)

MIN_SIDE = 64
"""Shortest side in pixels on which a face can be found."""

MAX_SIDE = 2160
"""Longest side in pixels that is worked on; larger pictures are reduced to it."""

MAX_PIXELS = 150_000_000
"""Pictures beyond this are refused: they are decompression bombs more often than portraits."""

BACKDROP = (128, 128, 128)
"""What shows through transparent pixels: mid-grey favours neither dark nor bright hair."""

VIDEO_ENDINGS = frozenset((".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg"))


def read_image(path: str | Path, *, max_side: int = MAX_SIDE) -> Frame:
    """A picture file as upright RGB.

    The EXIF orientation and the colour profile are applied; grey, palette, 16-bit and CMYK pictures are converted;
    transparent pixels are laid over mid-grey; of an animation the first picture is taken.

    Args:
        path: PNG, JPEG, WebP, TIFF, BMP, GIF or whatever else Pillow reads.
        max_side: a longer side is reduced to this many pixels (said in the log), both sides even then.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        FormatError: if the file is no picture, or is damaged.
        InputError: if it is missing, unreadable, smaller than ``MIN_SIDE`` or larger than ``MAX_PIXELS``.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    path = require_file(path, "picture")
    try:
        with open_picture(path) as opened:
            size = opened.size
            _check_size(path, size)
            if opened.format == "JPEG":
                opened.draft("RGB", (max_side, max_side))  # decodes at 1/2, 1/4 or 1/8 where that is still larger
            picture = _as_rgb(ImageOps.exif_transpose(opened))
    except Image.DecompressionBombError:
        raise _too_large(path, "") from None
    except UnidentifiedImageError:
        raise _no_picture(path) from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise FormatError(f"{path}: the picture is damaged ({error})", "save or download it again") from error
    if max(picture.size) > max_side:
        scale = max_side / max(picture.size)
        width, height = (max(2, round(side * scale / 2) * 2) for side in picture.size)
        log.info("%s: %d × %d pixels, worked on at %d × %d", path, *size, width, height)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    return np.array(picture, np.uint8)


def open_picture(path: Path) -> PIL.Image.Image:
    """Pillow's picture of a file, without its warning about large ones: :data:`MAX_PIXELS` decides instead."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path)


def write_image(path: str | Path, frame: Frame, *, provenance: Mapping[str, Any] | None = None) -> None:
    """Write one picture as PNG or JPEG (quality 95), by the ending.

    Args:
        path: where to; written whole or not at all.
        frame: ``(H, W, 3)`` uint8 RGB.
        provenance: what :func:`mien.media.provenance.provenance` returned, or ``None``.

    Raises:
        OutputError: if the ending is another one or the file cannot be written.
    """
    from PIL import Image

    from mien.media.provenance import jpeg_fields, png_info

    path = Path(path)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise OutputError(f"{path}: pictures are written as .png or .jpg", "choose one of these endings")
    picture = Image.fromarray(frame)
    with atomic_output(path) as temporary:
        try:
            if path.suffix.lower() == ".png":
                picture.save(temporary, "PNG", pnginfo=png_info(provenance))
            else:
                picture.save(temporary, "JPEG", quality=95, subsampling=0, **jpeg_fields(provenance))
        except OSError as error:
            raise output_error(path, error) from error


def jpeg(frame: Frame, quality: int = 90) -> bytes:
    """``(H, W, 3)`` uint8 RGB as the bytes of a JPEG file, to be looked at and thrown away."""
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(frame).save(data, "JPEG", quality=quality)
    return data.getvalue()


def require_file(path: str | Path, kind: str) -> Path:
    """``path`` if it is a readable file that is not empty.

    Args:
        path: what the user gave.
        kind: what is wanted, for the message: ``"picture"``, ``"video"``, ``"sound file"``.

    Raises:
        InputError: if it is missing, a folder, unreadable or empty.
    """
    path = Path(path)
    try:
        if str(path) == "-":
            raise InputError(f"-: a {kind} is read from a file, not from a pipe", "save it and name the file")
        if path.is_dir():
            raise InputError(f"{path}: is a folder, not a {kind}", "name the file itself")
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError(f"{path}: the file is empty", f"give a {kind} with something in it")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", "check the path") from None
    except PermissionError:
        raise InputError(f"{path}: no permission to read it", "change the file's permissions") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", "check the path") from error
    except ValueError:
        raise InputError(f"{str(path)!r}: not a path", "remove the zero character") from None
    return path


def _check_size(path: Path, size: tuple[int, int]) -> None:
    width, height = size
    if min(size) < MIN_SIDE:
        raise InputError(
            f"{path}: the picture is {width} × {height} pixels", f"give one of at least {MIN_SIDE} px on each side"
        )
    if width * height > MAX_PIXELS:
        raise _too_large(path, f" ({width} × {height} pixels)")


def _too_large(path: Path, size: str) -> InputError:
    return InputError(
        f"{path}: the picture has more than {MAX_PIXELS // 1_000_000} million pixels{size}", "reduce it first"
    )


def _as_rgb(picture: Any) -> Any:
    from PIL import Image

    if picture.mode.startswith(("I", "F")):  # grey in 16 or 32 bits, which Pillow would clip instead of scale
        values = np.nan_to_num(np.asarray(picture, np.float64))
        whites = {"I": (255, 65535), "F": (1, 255, 65535)}.get(picture.mode, (65535,))
        white = next((white for white in whites if values.max() <= white), values.max())
        return Image.fromarray(np.clip(values * (255 / white), 0, 255).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, (*BACKDROP, 255)), rgba).convert("RGB")
    return _in_srgb(picture).convert("RGB")


def _in_srgb(picture: Any) -> Any:
    """The picture with its colour profile applied: phones store wider colours, printers' files other ones."""
    from PIL import ImageCms

    profile = picture.info.get("icc_profile")
    if not profile or picture.mode not in ("RGB", "CMYK", "L"):
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return picture
        if source.profile.xcolor_space.strip() == "RGB":
            picture = picture.convert("RGB")  # a grey picture that kept the profile it had in colour
        return ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        log.warning("colour profile of the picture cannot be used (%s); colours may be a little off", error)
        return picture


def _no_picture(path: Path) -> FormatError:
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp" and head[8:] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"):
        return FormatError(f"{path}: pictures in HEIC, as iPhones keep them, are not read", "save it as JPEG first")
    if path.suffix.lower() in VIDEO_ENDINGS or head[4:8] == b"ftyp":
        remedy = "it looks like a video; save one of its frames as a picture first"
    else:
        remedy = "give a PNG, JPEG, WebP, TIFF or BMP file"
    return FormatError(f"{path}: not a picture", remedy)
