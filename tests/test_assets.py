"""Assets: what is fetched is what it should be, wherever it comes from."""

from __future__ import annotations

import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flame_files import write_flame_pickle

import mien.assets
from mien.assets import Asset, asset_file, cache_folder, fetch, load_shipped, manifest
from mien.cli import main
from mien.errors import AssetError
from mien.face.rig import load_rig

CONTENT = {"deep/a.txt": b"alpha", "b.bin": bytes(range(256))}


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MIEN_ASSETS_MIRROR", str(tmp_path / "mirror"))
    (tmp_path / "mirror").mkdir()
    load_rig.cache_clear()


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Asset:
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in CONTENT.items()}
    asset = Asset(
        "two files", "free", "http://page", "toy.bin", url="http://127.0.0.1:1/", files=digests, packs=("p.tar",)
    )
    known = manifest() | {"toy": asset}
    monkeypatch.setattr(mien.assets, "manifest", lambda: known)
    return asset


def in_mirror(folder: Path, *, pack: bool, content: dict[str, bytes] = CONTENT) -> None:
    if not pack:
        for path, data in content.items():
            (folder / "mirror" / Path(path).name).write_bytes(data)
        return
    with tarfile.open(folder / "mirror" / "p.tar", "w") as archive:
        for path, data in content.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


@pytest.mark.parametrize("pack", [False, True])
def test_a_mirror_serves_files_loose_or_packed(tmp_path: Path, toy: Asset, pack: bool) -> None:
    in_mirror(tmp_path, pack=pack)
    assert dict(fetch("toy")) == CONTENT


@pytest.mark.parametrize("pack", [False, True])
def test_altered_files_are_refused(tmp_path: Path, toy: Asset, pack: bool) -> None:
    in_mirror(tmp_path, pack=pack, content=CONTENT | {"deep/a.txt": b"beta"})
    with pytest.raises(AssetError, match=r"toy: deep/a\.txt has been altered"):
        dict(fetch("toy"))


def test_a_mirror_must_be_whole(tmp_path: Path, toy: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    in_mirror(tmp_path, pack=False, content={"b.bin": CONTENT["b.bin"]})
    with pytest.raises(AssetError, match=r"without deep/a\.txt of toy; complete the mirror"):
        dict(fetch("toy"))
    (tmp_path / "mirror" / "p.tar").write_bytes(b"no archive")
    with pytest.raises(AssetError, match=r"p\.tar: damaged"):
        dict(fetch("toy"))
    monkeypatch.setenv("MIEN_ASSETS_MIRROR", str(tmp_path / "nowhere"))
    with pytest.raises(AssetError, match="the mirror is no folder"):
        dict(fetch("toy"))


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, bytes]]]:
    served: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = served.get(self.path.lstrip("/"))
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/", served
        running.shutdown()
        thread.join()


def test_the_network_serves_and_is_checked(
    toy: Asset, server: tuple[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MIEN_ASSETS_MIRROR")
    url, served = server
    known = manifest() | {"toy": replace(toy, url=url)}
    monkeypatch.setattr(mien.assets, "manifest", lambda: known)
    with pytest.raises(AssetError, match=r"cannot be fetched .*404"):
        dict(fetch("toy"))
    served.update({"deep/a.txt": b"beta", "b.bin": CONTENT["b.bin"]})
    with pytest.raises(AssetError, match=r"deep/a\.txt: cannot be fetched .*hash"):
        dict(fetch("toy"))
    served.update(CONTENT)
    assert dict(fetch("toy")) == CONTENT
    served.clear()
    assert dict(fetch("toy")) == CONTENT  # from the cache


def test_no_network_is_one_clear_line(toy: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIEN_ASSETS_MIRROR")
    with pytest.raises(AssetError, match=r":1/deep/a\.txt: cannot be fetched .*MIEN_ASSETS_MIRROR") as caught:
        dict(fetch("toy"))
    assert "\n" not in str(caught.value)


def test_terms_have_to_be_accepted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["assets", "fetch", "flame-landmarks"]) == 2
    error = capsys.readouterr().err
    assert "non-commercial" in error and "--accept-licence" in error and error.count("\n") == 1
    (tmp_path / "mirror" / "landmark_embedding.npy").write_bytes(b"other numbers")
    assert main(["assets", "fetch", "flame-landmarks", "--accept-licence"]) == 2
    assert "altered" in capsys.readouterr().err
    assert not list(cache_folder().glob("*"))


def test_what_is_not_here_says_how_to_get_it() -> None:
    with pytest.raises(AssetError, match=r"run `mien assets fetch ict`"):
        asset_file("ict")
    with pytest.raises(AssetError, match=r"run `mien assets add flame FILE`; see https://flame"):
        load_rig("flame")
    with pytest.raises(AssetError, match=r"elf: no such asset; there are ict, flame"):
        asset_file("elf")


def test_flame_is_added_and_then_a_rig(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_flame_pickle(tmp_path / "generic_model.pkl")
    assert main(["assets"]) == 0
    assert "not here; mien assets add flame FILE" in capsys.readouterr().out
    assert main(["assets", "add", "flame", str(model)]) == 0
    assert str(cache_folder() / "flame.npz") in capsys.readouterr().out
    np.testing.assert_array_equal(load_rig("flame").template, load_rig(model).template)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["fetch"], "no name; there are ict, flame"),
        (["fetch", "elf"], "no such asset"),
        (["fetch", "flame"], "by registration"),
        (["add", "flame"], "no file"),
        (["add", "flame", "missing.pkl"], "no such file"),
        (["add", "ict", "a.obj"], "mien gets it by itself"),
    ],
)
def test_bad_commands(arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["assets", *arguments]) == 2
    error = capsys.readouterr().err
    assert word in error and error.count("\n") == 1


def test_what_comes_with_mien_is_read_and_nothing_else() -> None:
    header, arrays = load_shipped("mien.perception", "emotion_reader.npz", "mien.EmotionReader", 1)
    assert header["labels"] and arrays["mean"].ndim == 1
    with pytest.raises(AssetError, match=r"not mien\.Other 1.*install mien again"):
        load_shipped("mien.perception", "emotion_reader.npz", "mien.Other", 1)
    with pytest.raises(AssetError, match="install mien again"):
        load_shipped("mien.perception", "absent.npz", "mien.EmotionReader", 1)
