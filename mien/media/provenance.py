"""Who made a file, with what: metadata that says a picture is synthetic, written into every output and read back.

The record is JSON. Where it stands: the ``comment`` of MP4 and WebM, the text chunk ``mien`` of PNG, the comment of
JPEG and GIF, the entry ``provenance.json`` of ``.npz``. MP4, PNG and JPEG carry an XMP packet as well, so that other
programs find IPTC's digital source type (https://cv.iptc.org/newscodes/digitalsourcetype/) where they look for it.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.assets import sha256_of

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeSynthetic"
"""A picture made of captured and of generated elements."""

MARK = "mien"
"""The key under which a record names the software, and the PNG chunk it stands in."""

NPZ_ENTRY = "provenance.json"
"""Where the record stands in an ``.npz``."""


def provenance(
    verb: str,
    *,
    inputs: Mapping[str, str | Path | None],
    settings: object = None,
    seed: int | None = None,
    synthetic: bool = True,
) -> dict[str, Any]:
    """The record of one output.

    Args:
        verb: the job, such as ``"speak"``.
        inputs: role → file; each is named without its folder and by its SHA-256. ``None`` is left out.
        settings: the options it was made with: a dataclass or a mapping.
        seed: of everything random in it.
        synthetic: whether it shows or holds what never happened; ``False`` for measurements of a real recording.
    """
    if is_dataclass(settings) and not isinstance(settings, type):
        settings = asdict(settings)
    record: dict[str, Any] = {
        "software": f"{MARK} {version(MARK)}",
        "synthetic": synthetic,
        **({"digital_source_type": SOURCE_TYPE} if synthetic else {}),
        "verb": verb,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": {
            role: {"name": Path(path).name, "sha256": sha256_of(path)}
            for role, path in inputs.items()
            if path is not None
        },
    }
    if seed is not None:
        record["seed"] = seed
    if settings:
        record["settings"] = settings
    return record


def to_text(record: Mapping[str, Any]) -> str:
    """The record as one line of JSON; paths inside settings lose their folders, which are nobody's business."""

    def plain(value: object) -> object:
        if isinstance(value, Path):
            return value.name
        if isinstance(value, Enum):
            return value.value
        if is_dataclass(value) and not isinstance(value, type):
            return asdict(value)
        return str(value)

    return json.dumps(record, ensure_ascii=False, default=plain)


def from_text(text: str | bytes | None) -> dict[str, Any] | None:
    """The record in a comment, or ``None`` if the comment is something else."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    try:
        record = json.loads(text or "")
    except ValueError:
        return None
    is_ours = isinstance(record, dict) and str(record.get("software", "")).startswith(MARK)
    return record if is_ours else None


def to_xmp(record: Mapping[str, Any]) -> bytes:
    """What photo programs and platforms look for: IPTC's digital source type as an XMP packet.

    Source: IPTC Photo Metadata Standard 2023.2, property ``Iptc4xmpExt:DigitalSourceType``.
    """
    source = record.get("digital_source_type")
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        f' xmp:CreatorTool="{record["software"]}"'
        + (f' Iptc4xmpExt:DigitalSourceType="{source}"' if source else "")
        + '/></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()


def append_xmp(path: Path, record: Mapping[str, Any]) -> None:
    """Add the XMP packet to an MP4, in the box that XMP's specification (part 3, 1.1.5) gives it."""
    box = b"uuid" + bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + to_xmp(record)
    with path.open("ab") as file:
        file.write((len(box) + 4).to_bytes(4, "big") + box)


def png_info(record: Mapping[str, Any] | None) -> PngInfo | None:
    """The text chunks of a PNG."""
    from PIL.PngImagePlugin import PngInfo

    if record is None:
        return None
    info = PngInfo()
    info.add_itxt(MARK, to_text(record))
    info.add_itxt("XML:com.adobe.xmp", to_xmp(record).decode())
    return info


def jpeg_fields(record: Mapping[str, Any] | None) -> dict[str, bytes]:
    """What Pillow is to write into a JPEG beside the picture."""
    return {} if record is None else {"comment": to_text(record).encode(), "xmp": to_xmp(record)}


def read_provenance(path: str | Path) -> dict[str, Any] | None:
    """What mien wrote about a picture, video or motion it made, or ``None`` if there is nothing of the kind."""
    path = Path(path)
    if path.is_dir():
        first = next(iter(sorted(path.glob("frame_*.png"))), None)
        return None if first is None else read_provenance(first)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return from_text(archive.read(NPZ_ENTRY)) if NPZ_ENTRY in archive.namelist() else None
    return _from_scene(path) or _from_picture(path) or _from_video(path)


def is_synthetic(path: str | Path) -> bool:
    """Whether mien's record in a file says that it shows what never happened; nor did then what is measured in it."""
    return bool((read_provenance(path) or {}).get("synthetic"))


def _from_scene(path: Path) -> dict[str, Any] | None:
    from mien.media.gltf import read_glb_document

    document = (read_glb_document(path) if path.is_file() else None) or {}
    record = document.get("asset", {}).get("extras", {}).get(MARK)
    return record if isinstance(record, dict) else None


def _from_picture(path: Path) -> dict[str, Any] | None:
    from PIL import Image

    from mien.media.image import open_picture

    try:
        with open_picture(path) as picture:
            return from_text(picture.info.get(MARK)) or from_text(picture.info.get("comment"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _from_video(path: Path) -> dict[str, Any] | None:
    import av

    try:
        with av.open(path) as container:
            tags = {key.lower(): value for key, value in container.metadata.items()}
    except (av.FFmpegError, OSError):
        return None
    return from_text(tags.get("comment"))
