"""What the report says about a person's material."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from PIL import Image

from mien.media.person_folder import PersonClip, crop_path, sound_path, write_crop
from mien.pipelines.prepare_report import clip_quality, contact_sheet, covered, fields, warnings_of, write_report
from mien.types import ActionUnits, Emotion, EmotionTrack, FaceIdentity, FaceMotion

N = 250


def some_clip(folder, **changes) -> PersonClip:
    """Ten seconds of a mouth that opens and closes at random, 300 px high."""
    rng = np.random.default_rng(0)
    jaw = np.convolve(rng.uniform(size=N + 2), np.ones(3) / 3, "valid").astype(np.float32)
    va = np.tile(np.array([[0.8, 0.1]], np.float32), (N, 1))
    landmarks = np.tile(np.linspace(0, 300, 478, dtype=np.float32)[None, :, None], (N, 1, 3))
    clip = PersonClip(
        folder=folder, name="take", source="take.mp4", sha256="", size=(720, 1280),
        motion=FaceMotion.zeros(N, 25).with_columns({"jawOpen": jaw}),
        identity=FaceIdentity("builtin", np.zeros(2), np.zeros((478, 3))), cameras=np.ones((N, 3), np.float32),
        landmarks=landmarks, found=np.ones(N, bool), emotion=EmotionTrack(va, 25, tuple(Emotion), np.eye(8)[[1] * N]),
        units=ActionUnits(np.zeros((N, 1)), ("AU1",), 25), boxes=np.full((N, 3), 600, np.float32),
        sharpness=np.full(N, 0.3, np.float32), shots=(0,), blinks=np.zeros((0, 2), np.float32), quality={},
    )  # fmt: skip
    return replace(clip, **changes)


def with_sound(clip: PersonClip, late: int) -> PersonClip:
    """A buzz as loud as the jaw is open, ``late`` frames after it."""
    sound_path(clip.folder, clip.name).parent.mkdir(parents=True, exist_ok=True)
    level = np.repeat(np.roll(clip.motion.column("jawOpen"), late), 640)
    buzz = np.random.default_rng(1).normal(size=len(level)) * level**2 / 4
    soundfile.write(sound_path(clip.folder, clip.name), np.clip(buzz, -1, 1), 16_000)
    return clip


@pytest.mark.parametrize(("late", "lag"), [(0, 0.0), (5, -0.2)])
def test_sound_that_comes_late_is_noticed(tmp_path, late, lag):
    clip = with_sound(some_clip(tmp_path), late)
    quality = clip_quality(clip, 256)
    assert quality["lag"] == pytest.approx(lag, abs=0.081 if late else 0)  # two frames on either side are heard
    said = warnings_of([replace(clip, quality=quality)])
    assert any("before the sound" in line for line in said) == (late == 5)


def test_figures_of_a_clip(tmp_path):
    quality = clip_quality(some_clip(tmp_path, found=np.arange(N) % 10 > 0), 1000)
    assert (quality["without_face"], quality["face_px"], quality["enlarged"]) == (0.1, 300, 1)
    assert quality["labels"] == {"happy": 1} and quality["coverage"] == pytest.approx(1 / 17, abs=1e-4)
    assert "lag" not in quality
    clip = some_clip(tmp_path, quality=quality)
    said = "\n".join(warnings_of([clip]))
    for line in ("no face in 10%", "only 300 px high", "has no sound", "6% of the emotion disc", "10 s are little"):
        assert line in said


def test_fields_of_the_disc():
    va = np.array([[0, 0], [0.3, 0], [0.9, 0], [0, 0.3], [-0.9, -0.01], [0.1, 0.1]])
    assert list(fields(va)) == [0, 1, 9, 3, 13, 0]
    assert covered(np.repeat(va, 10, 0), 10).sum() == 5


def test_report_and_picture(tmp_path):
    clip = some_clip(tmp_path)
    crop_path(tmp_path, "take", 0).parent.mkdir(parents=True)
    for i in range(N):
        write_crop(crop_path(tmp_path, "take", i), np.full((64, 64, 3), i, np.uint8))
    clip = replace(clip, quality=clip_quality(clip, 64))
    sheet = contact_sheet([clip])
    assert sheet.shape == (4 * 128, 12 * 128, 3) and sheet[0, 0, 0] < 5 and sheet[-1, -1, 0] > 240
    write_report(tmp_path, [clip], {"other": "no face"})
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["n_frames"] == N and report["left_out"] == {"other": "no face"} and "take" in report["clips"]
    with Image.open(tmp_path / "report.png") as picture:
        assert min(picture.size) > 500
