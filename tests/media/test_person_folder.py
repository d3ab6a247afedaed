"""A person's folder: what is written is read back; what is damaged is refused in one line."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mien.errors import FormatError, InputError
from mien.media.person_folder import (
    PersonClip,
    clip_name,
    clip_path,
    crop_from_image,
    crop_path,
    cut_crop,
    load_person,
    write_clip,
    write_crop,
    write_manifest,
)
from mien.types import ActionUnits, Emotion, EmotionTrack, FaceIdentity, FaceMotion


def some_clip(folder, name="take", n=7) -> PersonClip:
    rng = np.random.default_rng(0)
    motion = FaceMotion.zeros(n, 25.0).with_columns({"jawOpen": np.linspace(0, 0.5, n)})
    boxes = np.tile(np.array([10.5, 20, 200], np.float32), (n, 1))
    return PersonClip(
        folder=folder,
        name=name,
        source=f"{name}.mp4",
        sha256="0" * 64,
        size=(480, 640),
        motion=motion,
        identity=FaceIdentity("builtin", np.arange(5), np.zeros((478, 3))),
        cameras=rng.normal(size=(n, 3)).astype(np.float32),
        landmarks=rng.normal(size=(n, 478, 3)).astype(np.float32),
        found=np.arange(n) != 3,
        emotion=EmotionTrack(rng.uniform(-1, 1, (n, 2)), 25.0, tuple(Emotion), rng.dirichlet(np.ones(8), n)),
        units=ActionUnits(rng.uniform(size=(n, 2)), ("AU1", "AU12"), 25.0),
        boxes=boxes,
        sharpness=rng.uniform(size=n).astype(np.float32),
        shots=(0, 4),
        blinks=np.array([[0.04, 0.12]], np.float32),
        quality={"sharpness": 0.5},
    )


def some_person(folder):
    (folder / "clips" / "take").mkdir(parents=True)
    clip = some_clip(folder)
    write_clip(clip)
    picture = np.kron(np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20, np.ones((32, 32, 1), np.uint8))
    write_crop(crop_path(folder, "take", 2), picture)
    write_manifest(folder, 64, {"crop_size": 64}, [clip], "0.1.0")
    return clip, picture


def test_round_trip(tmp_path):
    clip, picture = some_person(tmp_path)
    person = load_person(tmp_path)
    (read,) = person.clips
    assert (person.made_with, person.crop_size) == ("0.1.0", 64) and person.settings == {"crop_size": 64}
    for name in ("cameras", "landmarks", "found", "boxes", "sharpness", "blinks", "va", "shot"):
        np.testing.assert_array_equal(getattr(read, name), getattr(clip, name))
    np.testing.assert_array_equal(read.motion.expression, clip.motion.expression)
    np.testing.assert_array_equal(read.identity.betas, clip.identity.betas)
    np.testing.assert_array_equal(read.units.values, clip.units.values)
    assert read.emotion.best() == clip.emotion.best() and read.units.names == ("AU1", "AU12")
    assert (read.shots, read.size, read.source, read.quality) == ((0, 4), (480, 640), "take.mp4", {"sharpness": 0.5})
    assert list(read.shot) == [0, 0, 0, 0, 1, 1, 1]
    assert np.abs(read.crop(2).astype(int) - picture).mean() < 2
    assert read.sound is None


def test_crop_map():
    matrix = crop_from_image((10, 20, 200), 100)
    np.testing.assert_allclose(matrix @ (10, 20, 1), (0, 0))
    np.testing.assert_allclose(matrix @ (210, 120, 1), (100, 50))


@pytest.mark.parametrize("side", [30.0, 64.0, 100.0, 210.0])
def test_a_crop_shows_what_the_map_says(side):
    y, x = np.mgrid[:300, :400].astype(np.float64)
    frame = np.stack([x / 2, y / 2, 128 + 0 * x], 2).round().astype(np.uint8)  # colours are places
    left, top = 63.3, 41.8
    crop = cut_crop(frame, (left, top, side), 64)
    inside = (np.arange(64) + 0.5) * side / 64 - 0.5
    np.testing.assert_allclose(crop[..., 0], np.tile((left + inside) / 2, (64, 1)), atol=1)
    np.testing.assert_allclose(crop[..., 1], np.tile((top + inside)[:, None] / 2, (1, 64)), atol=1)


def test_beyond_the_picture_its_edge_is_repeated():
    frame = np.zeros((80, 100, 3), np.uint8)
    frame[:, -4:] = 200
    crop = cut_crop(frame, (60, 20, 80), 40)
    assert crop[:, 25:].min() > 190 and crop[:, :15].max() == 0
    assert cut_crop(frame, (-500, 900, 80), 40).shape == (40, 40, 3)  # nowhere near it


def test_names_of_clips(tmp_path):
    assert clip_name(tmp_path / "My take, nº 1.mp4") == "My_take_nº_1"
    assert clip_name(tmp_path / "..mp4") == "clip"


@pytest.mark.parametrize("damage", ["no manifest", "manifest", "format", "newer", "clip gone", "clip", "rows", "array"])
def test_damage_is_refused(tmp_path, damage):
    clip, _ = some_person(tmp_path)
    manifest, rows = tmp_path / "manifest.json", clip_path(tmp_path, "take")
    content = json.loads(manifest.read_text())
    match damage:
        case "no manifest":
            manifest.unlink()
        case "manifest":
            manifest.write_text("{")
        case "format":
            manifest.write_text(json.dumps({**content, "format": "something"}))
        case "newer":
            manifest.write_text(json.dumps({**content, "version": 99}))
        case "clip gone":
            rows.unlink()
        case "clip":
            rows.write_bytes(rows.read_bytes()[:1000])
        case "rows":
            content["clips"][0]["n_frames"] = 8
            manifest.write_text(json.dumps(content))
        case "array":
            write_clip(replace(clip, boxes=clip.boxes[:3]))
    with pytest.raises(FormatError):
        load_person(tmp_path)


def test_a_missing_crop_is_named(tmp_path):
    some_person(tmp_path)
    with pytest.raises(FormatError, match=r"000003\.jpg"):
        load_person(tmp_path).clips[0].crop(3)


def test_no_folder(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        load_person(tmp_path / "nobody")
