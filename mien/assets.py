"""Files mien works with: that they are what they should be, and reading them without unpickling anything."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import as_file
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.npyio import NpzFile

from mien.errors import AssetError, FormatError, InputError

log = logging.getLogger(__name__)

CACHE_VARIABLE, MIRROR_VARIABLE = "MIEN_CACHE", "MIEN_ASSETS_MIRROR"
"""Environment variables: where fetched files are kept, and a folder to take them from instead of the network."""


@dataclass(frozen=True)
class Asset:
    """Something that does not come with mien.

    Attributes:
        what: what it is, in a few words.
        licence: its terms, in a few words.
        page: where its terms and its origin are told.
        result: the name of the file that mien keeps of it.
        consent: whether the user has to accept the terms first.
        url: where the files are, or empty if everyone has to get them in person.
        files: SHA-256 by path below ``url``.
        packs: archives in which a mirror may keep the files.
    """

    what: str
    licence: str
    page: str
    result: str
    consent: bool = False
    url: str = ""
    files: Mapping[str, str] | None = None
    packs: tuple[str, ...] = ()


def _checksums(name: str) -> dict[str, str]:
    """SHA-256 by path from a list as ``sha256sum`` writes it."""
    text = (resources("mien.face") / "data" / name).read_text(encoding="ascii")
    return {path: digest for digest, path in (line.split() for line in text.splitlines())}


def manifest() -> dict[str, Asset]:
    """Every asset by name."""
    return {
        "ict": Asset(
            what="ICT-FaceKit Light: a head of 26,719 vertices, 53 expressions, 100 identities",
            licence="MIT, (c) 2020 USC Institute for Creative Technologies",
            page="https://github.com/ICT-VGL/ICT-FaceKit",
            result="ict.npz",
            url="https://github.com/ICT-VGL/ICT-FaceKit/raw/da5f95a/",
            files=_checksums("ict_facekit.sha256"),
            packs=("ict_expressions.tar.xz", "ict_identities.tar.xz"),
        ),
        "flame": Asset(
            what="FLAME head model (5,023 vertices), any year",
            licence="by registration; terms differ by year, FLAME 2023 Open is CC-BY 4.0",
            page="https://flame.is.tue.mpg.de",
            result="flame.npz",
        ),
        "flame-landmarks": Asset(
            what="where the 68 landmarks are on FLAME",
            licence="DECA: non-commercial research, education or art only",
            page="https://github.com/yfeng95/DECA/blob/master/LICENSE",
            result="landmark_embedding.npy",
            consent=True,
            url="https://github.com/georgeretsi/smirk/raw/c7de404c4389f073906a6db1adabf62efcea3f35/assets/",
            files={
                "landmark_embedding.npy": "8095348eeafce5a02f6bd8765146307f9567a3f03b316d788a2e47336d667954",
            },
        ),
    }


def cache_folder() -> Path:
    """Where fetched assets are kept: ``$MIEN_CACHE``, or the place this system has for such things."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    import pooch

    return Path(pooch.os_cache("mien"))


def asset_file(name: str) -> Path:
    """The file that mien keeps of an asset.

    Raises:
        AssetError: if there is no asset of that name, or it has not been fetched or added yet; says how to.
    """
    asset = find_asset(name)
    path = cache_folder() / asset.result
    if not path.exists():
        verb = f"mien assets fetch {name}" if asset.url else f"mien assets add {name} FILE"
        raise AssetError(f"{name}: not here yet ({asset.what})", f"run `{verb}`; see {asset.page}")
    return path


def find_asset(name: str) -> Asset:
    """An asset of the manifest.

    Raises:
        AssetError: if there is none of that name; the message lists the names.
    """
    known = manifest()
    if name not in known:
        raise AssetError(f"{name}: no such asset", f"there are {', '.join(known)}")
    return known[name]


def fetch(name: str, *, accept_licence: bool = False) -> Iterator[tuple[str, bytes]]:
    """The files of an asset, each checked against its SHA-256: from the mirror if there is one, else from the network.

    Yields:
        path and content, in no particular order.

    Raises:
        AssetError: if its terms are not accepted, it cannot be had, or a file is not what it should be.
    """
    asset = find_asset(name)
    if not asset.url or asset.files is None:
        raise AssetError(
            f"{name}: cannot be fetched ({asset.licence})",
            f"get it at {asset.page}, then run `mien assets add {name} FILE`",
        )
    if asset.consent and not accept_licence:
        raise AssetError(
            f"{name}: {asset.licence}", f"read the terms at {asset.page}; if you accept them, add --accept-licence"
        )
    mirror = os.environ.get(MIRROR_VARIABLE)
    source = _from_mirror(asset, Path(mirror)) if mirror else _from_network(name, asset)
    missing = set(asset.files)
    for path, content in source:
        if hashlib.sha256(content).hexdigest() != asset.files[path]:
            raise AssetError(f"{name}: {path} has been altered or damaged", "remove it and fetch again")
        missing.discard(path)
        yield path, content
    if missing:
        raise AssetError(
            f"{mirror}: without {min(missing)} of {name}", f"complete the mirror, or unset {MIRROR_VARIABLE}"
        )


def _from_mirror(asset: Asset, mirror: Path) -> Iterator[tuple[str, bytes]]:
    if not mirror.is_dir():
        raise AssetError(f"{mirror}: the mirror is no folder", f"correct {MIRROR_VARIABLE}, or unset it")
    at_hand = {path.name: path for path in sorted(mirror.rglob("*")) if path.is_file()}
    wanted = set(asset.files or ())
    for pack in asset.packs:
        if pack not in at_hand:
            continue
        try:
            with tarfile.open(at_hand[pack]) as archive:
                for member in archive:
                    stream = archive.extractfile(member) if member.name in wanted else None
                    if stream is not None:
                        wanted.discard(member.name)
                        yield member.name, stream.read()
        except (OSError, tarfile.TarError, EOFError) as error:
            raise AssetError(f"{at_hand[pack]}: damaged ({error})", "copy the mirror again") from error
    for path in sorted(wanted):
        if Path(path).name in at_hand:
            yield path, at_hand[Path(path).name].read_bytes()


def _from_network(name: str, asset: Asset) -> Iterator[tuple[str, bytes]]:
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    for path, digest in (asset.files or {}).items():
        try:
            local = pooch.retrieve(
                asset.url + path,
                f"sha256:{digest}",
                fname=path.replace("/", "_"),
                path=cache_folder() / "downloads" / name,
            )
        except (OSError, ValueError) as error:  # no network, not found, or another SHA-256
            reason = (str(error).splitlines() or ["no answer"])[0]
            raise AssetError(
                f"{asset.url}{path}: cannot be fetched ({reason})",
                f"try again later, or set {MIRROR_VARIABLE} to a folder that holds it",
            ) from error
        yield path, Path(local).read_bytes()


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


def load_shipped(
    package: str, name: str, kind: str, version: int
) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Header and arrays of an ``.npz`` that comes with mien.

    Args:
        package: in whose folder ``data`` it is.
        name: of the file.
        kind: what its header must say that it is.
        version: and of which format.

    Raises:
        AssetError: if it is missing, damaged or something else.
    """
    try:
        with as_file(resources(package) / "data" / name) as path:
            header, arrays = load_npz(path)
        if (header.get("format"), header.get("version")) != (kind, version):
            raise FormatError(f"is {header.get('format')} {header.get('version')}, not {kind} {version}")
    except (OSError, InputError) as error:
        raise AssetError(f"{name}: cannot be read ({error})", "install mien again") from error
    return header, arrays
