"""``mien assets``: official files that do not come with mien, where they are, and getting them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from mien.errors import InputError
from mien.progress import Progress, Silent, track


@dataclass(frozen=True)
class AssetsOptions:
    """Say which official files there are and where (list), or get one (fetch, add).

    fetch takes files from their publisher, or from the folder that MIEN_ASSETS_MIRROR names, and checks their SHA-256.
    add takes a file that you got in person. Both keep them in the folder that MIEN_CACHE names, or in this system's own
    place for such things.
    """

    action: tyro.conf.Positional[Literal["list", "fetch", "add"]] = "list"
    """What to do."""

    name: tyro.conf.Positional[str] = ""
    """Which asset, for fetch and add."""

    file: tyro.conf.Positional[Path | None] = None
    """The file to add."""

    accept_licence: bool = False
    """You have read the asset's terms and accept them."""

    landmarks: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """With add flame: landmark_embedding.npy to keep with the model."""

    masks: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """With add flame: FLAME_masks.pkl to keep with the model."""


@dataclass(frozen=True)
class AssetsResult:
    """What there is.

    Attributes:
        folder: where fetched and added assets are kept.
        mirror: the folder they are taken from instead of the network, or ``None``.
        assets: of each its file (``None`` if it is not here), licence, page and what it is.
    """

    folder: Path
    mirror: str | None
    assets: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"kept in {self.folder}" + (f", taken from {self.mirror}" if self.mirror else "")]
        for name, entry in self.assets.items():
            lines += [
                f"{name}: {entry['what']}",
                f"  licence  {entry['licence']}",
                f"  page     {entry['page']}",
                f"  file     {entry['file'] or 'not here; mien assets ' + str(entry['how'])}",
            ]
        return "\n".join(lines)


def assets(options: AssetsOptions, progress: Progress | None = None) -> AssetsResult:
    """List, fetch or add assets.

    Raises:
        AssetError: if there is no such asset, its terms are not accepted, or it cannot be had.
        InputError: if a name or a file is missing or the file is something else.
        OutputError: if the cache cannot be written.
    """
    from mien.assets import MIRROR_VARIABLE, cache_folder, find_asset, manifest

    if options.action != "list":
        if not options.name:
            raise InputError(f"mien assets {options.action}: no name", f"there are {', '.join(manifest())}")
        find_asset(options.name)
        if options.action == "fetch":
            _fetch(options, progress or Silent())
        else:
            _add(options)
    known = {name: asset for name, asset in manifest().items() if options.action == "list" or name == options.name}
    entries: dict[str, Mapping[str, str | None]] = {}
    for name, asset in known.items():
        path = cache_folder() / asset.result
        how = f"fetch {name}" + (" --accept-licence" if asset.consent else "") if asset.url else f"add {name} FILE"
        entries[name] = {
            "what": asset.what,
            "licence": asset.licence,
            "page": asset.page,
            "file": str(path) if path.exists() else None,
            "how": how,
        }
    return AssetsResult(cache_folder(), os.environ.get(MIRROR_VARIABLE), entries)


def _fetch(options: AssetsOptions, progress: Progress) -> None:
    from mien.assets import cache_folder, fetch, find_asset
    from mien.face.ict import write_ict_rig
    from mien.media.output import atomic_output

    asset = find_asset(options.name)
    files = track(fetch(options.name, accept_licence=options.accept_licence), progress, "fetch", len(asset.files or ()))
    with atomic_output(cache_folder() / asset.result) as temporary:
        if options.name == "ict":
            write_ict_rig(temporary, files)
        else:
            for _, content in files:
                temporary.write_bytes(content)


def _add(options: AssetsOptions) -> None:
    from mien.assets import cache_folder, find_asset
    from mien.face.flame import read_flame, read_landmarks, write_flame
    from mien.media.output import atomic_output

    if options.file is None:
        raise InputError(f"mien assets add {options.name}: no file", "name the file that you got")
    asset = find_asset(options.name)
    if options.name == "flame":
        model = read_flame(options.file, landmarks=options.landmarks, masks=options.masks)
        with atomic_output(cache_folder() / asset.result) as temporary:
            write_flame(temporary, model, asset.licence)
    elif options.name == "flame-landmarks":
        read_landmarks(options.file)
        with atomic_output(cache_folder() / asset.result) as temporary:
            temporary.write_bytes(options.file.read_bytes())
    else:
        raise InputError(f"mien assets add {options.name}: mien gets it by itself", f"mien assets fetch {options.name}")
