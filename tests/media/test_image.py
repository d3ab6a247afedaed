from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from media_samples import scene
from PIL import Image, ImageCms

from mien.errors import FormatError, InputError, OutputError
from mien.media.image import BACKDROP, MAX_SIDE, read_image, write_image
from mien.media.provenance import SOURCE_TYPE, provenance, read_provenance, to_xmp


def test_png_comes_back_unchanged(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", scene())
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), scene())


@pytest.mark.parametrize("ending", ["jpg", "webp", "bmp", "tiff", "gif"])
def test_common_formats_are_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    Image.fromarray(scene()).save(path)
    assert np.abs(read_image(path).astype(int) - scene()).mean() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    # How a camera that was held so stores the upright scene: the inverse of what the tag asks the reader to do.
    stored = {
        1: scene(),
        2: scene()[:, ::-1],
        3: scene()[::-1, ::-1],
        4: scene()[::-1],
        5: scene().transpose(1, 0, 2),
        6: np.rot90(scene(), 1),
        7: scene()[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(scene(), -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), scene())


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "LAB", "I", "F"])
def test_other_colour_models_become_rgb(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(scene())
    if mode == "LAB":
        from PIL import ImageCms

        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        picture = ImageCms.profileToProfile(picture, srgb, lab, outputMode="LAB")
    else:
        picture = picture.convert(mode)
    picture.save(tmp_path / "a.tiff")
    frame = read_image(tmp_path / "a.tiff")
    assert frame.shape == scene().shape and frame.dtype == np.uint8
    if mode != "1":
        assert abs(float(frame.mean()) - float(scene().mean())) < 6


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 96 * 128).reshape(96, 128)
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_image(tmp_path / "a.png")[..., 0], values / 257, atol=1)


def test_colour_profile_is_applied(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # A profile whose red and green primaries are swapped: read with it, the colours come out swapped.
    swapped = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = swapped.index(b"rXYZ"), swapped.index(b"gXYZ")
    swapped[red : red + 4], swapped[green : green + 4] = b"gXYZ", b"rXYZ"
    for name in (b"s\0R\0G\0B", b"sRGB"):
        swapped = swapped.replace(name, b"x" + name[1:])
    Image.fromarray(scene()).save(tmp_path / "a.png", icc_profile=bytes(swapped))
    assert np.abs(read_image(tmp_path / "a.png").astype(int) - scene()[..., [1, 0, 2]]).max() <= 2
    Image.fromarray(scene()).save(tmp_path / "b.png", icc_profile=b"not a profile")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), scene())
    assert "colour profile" in caplog.text
    caplog.clear()
    grey = scene().mean(-1).astype(np.uint8)
    Image.fromarray(grey).save(
        tmp_path / "c.png", icc_profile=bytes(swapped)
    )  # as programs keep it that take colour out
    assert np.abs(read_image(tmp_path / "c.png") - grey[..., None].astype(int)).max() <= 2
    assert not caplog.text


def test_what_is_no_picture_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    for head, says in (
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x18ftypisom", "looks like a video"),
        (b"hi", "PNG, JPEG"),
    ):
        path.write_bytes(head)
        with pytest.raises(FormatError, match=says):
            read_image(path)
    with pytest.raises(InputError, match="pipe"):
        read_image("-")


def test_transparent_pixels_show_mid_grey(tmp_path: Path) -> None:
    rgba = np.dstack([scene(), np.full(scene().shape[:2], 255, np.uint8)])
    rgba[:, :64, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "a.png")
    frame = read_image(tmp_path / "a.png")
    assert (frame[:, :64] == BACKDROP).all()
    np.testing.assert_array_equal(frame[:, 64:], scene()[:, 64:])


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_huge_picture_is_reduced_and_said_so(tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture) -> None:
    Image.new("RGB", (12000, 1801), (90, 120, 150)).save(tmp_path / f"a.{ending}")
    with caplog.at_level("INFO"):
        frame = read_image(tmp_path / f"a.{ending}")
    assert frame.shape == (324, MAX_SIDE, 3)
    assert "12000 × 1801" in caplog.text and "2160 × 324" in caplog.text


def test_names_may_hold_spaces_and_any_letters(tmp_path: Path) -> None:
    path = tmp_path / "mein Bild – 写真 🙂.png"
    write_image(path, scene())
    np.testing.assert_array_equal(read_image(path), scene())


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_written_picture_says_it_is_synthetic(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    write_image(path, scene(), provenance=provenance("speak", inputs={}, seed=7))
    record = read_provenance(path)
    assert record is not None and record["synthetic"] is True and record["seed"] == 7
    assert to_xmp(record) in path.read_bytes()
    ElementTree.fromstring(to_xmp(record))
    assert f'DigitalSourceType="{SOURCE_TYPE}"' in to_xmp(record).decode()


def test_provenance_names_inputs_without_their_folders(tmp_path: Path, wav: Path) -> None:
    write_image(tmp_path / "a.png", scene(), provenance=provenance("speak", inputs={"speech": wav, "text": None}))
    record = read_provenance(tmp_path / "a.png")
    assert record is not None and list(record["inputs"]) == ["speech"]
    assert record["inputs"]["speech"]["name"] == "speech.wav"
    assert str(tmp_path) not in str(record)


def test_other_peoples_pictures_have_no_provenance(tmp_path: Path) -> None:
    Image.fromarray(scene()).save(tmp_path / "a.jpg", comment=b'{"software": "something else"}')
    assert read_provenance(tmp_path / "a.jpg") is None


def test_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.png or \.jpg"):
        write_image(tmp_path / "a.xyz", scene())


def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path) -> None:
    Image.new("1", (15000, 15000)).save(tmp_path / "bomb.png")
    with pytest.raises(InputError, match="more than 150 million pixels"):
        read_image(tmp_path / "bomb.png")
