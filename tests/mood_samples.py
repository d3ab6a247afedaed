"""A person made by code who goes through moods in their own way, and talks."""

from pathlib import Path

import numpy as np

from mien.media.person_folder import PersonClip, write_clip, write_manifest
from mien.motion.emotion import expression_at
from mien.perception.emotion import load_emotion_reader
from mien.types import ARKIT_NAMES, ActionUnits, FaceIdentity, FaceMotion

FPS = 25.0


def moods(n_frames: int, seed: int = 0) -> np.ndarray:
    """``(n_frames, 2)`` a slow way over the upper half of the disc."""
    rng = np.random.default_rng(seed)
    time = np.arange(n_frames) / FPS
    phase = rng.uniform(0, 2 * np.pi, 2)
    valence = 0.7 * np.sin(2 * np.pi * time / 7 + phase[0])
    arousal = 0.35 + 0.35 * np.sin(2 * np.pi * time / 4.5 + phase[1])
    return np.stack([valence, arousal], 1).astype(np.float32)


def mood_motion(n_frames: int, seed: int = 0) -> FaceMotion:
    """This person shows moods by half as much mouth and twice as much squint as others, and talks all the time."""
    expression = expression_at(moods(n_frames, seed))
    own = np.array([0.5 if n.startswith("mouth") else 2.0 if "Squint" in n else 1.0 for n in ARKIT_NAMES], np.float32)
    expression = np.clip(expression * own, 0, 1)
    time = np.arange(n_frames) / FPS
    talk = 0.15 * (1 + np.sin(2 * np.pi * 3.1 * time + seed)).astype(np.float32)
    blink = (np.arange(n_frames) % 60 < 4).astype(np.float32)
    motion = FaceMotion.zeros(n_frames, FPS)
    columns = dict(zip(ARKIT_NAMES, expression.T, strict=True))
    columns["jawOpen"] = np.clip(columns["jawOpen"] + talk, 0, 1)
    columns |= {"eyeBlinkLeft": blink, "eyeBlinkRight": blink}
    return motion.with_columns(columns)


def mood_person(folder: Path, n_clips: int = 2, n_frames: int = 500, estimator: str = "own") -> Path:
    """A folder as ``mien prepare`` leaves it, without pictures."""
    (folder / "clips").mkdir(parents=True)
    clips = []
    for number in range(n_clips):
        motion = mood_motion(n_frames, number)
        n = len(motion)
        clip = PersonClip(
            folder=folder, name=f"take{number}", source=f"take{number}.mp4", sha256=f"{number:064d}", size=(256, 256),
            motion=motion, identity=FaceIdentity("builtin", np.zeros(5), np.zeros((478, 3))),
            cameras=np.zeros((n, 3), np.float32), landmarks=np.zeros((n, 478, 3), np.float32),
            found=np.arange(n) % 50 != 7, emotion=load_emotion_reader()(motion),
            units=ActionUnits(np.zeros((n, 1)), ("AU12",), FPS), boxes=np.zeros((n, 3), np.float32),
            sharpness=np.zeros(n, np.float32), shots=(0,), blinks=np.zeros((0, 2), np.float32), quality={},
        )  # fmt: skip
        write_clip(clip)
        clips.append(clip)
    write_manifest(folder, 256, {"estimator": estimator}, clips, "0.1.0")
    return folder
