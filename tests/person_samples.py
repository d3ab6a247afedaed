"""A person made by code: a photo that moves in every way, filmed for as long as one likes, with the motion known."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from mien.media.person_folder import PersonClip, crop_path, cut_crop, write_clip, write_crop, write_manifest
from mien.perception.tracking import track_image
from mien.rendering.warp import WarpRenderer
from mien.rotations import compose
from mien.types import ActionUnits, Emotion, EmotionTrack, FaceMotion, Frame, Portrait

_WAYS = {"jawOpen": 0.6, "mouthSmileLeft": 0.7, "mouthSmileRight": 0.7, "mouthPucker": 0.5, "browInnerUp": 0.6,
         "eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}  # fmt: skip


def small_portrait(path: Path, side: int = 160) -> Portrait:
    """The face of a photo with little around it."""
    import cv2

    from mien.media.image import read_image

    whole = track_image(read_image(path))
    low, high = whole.landmarks[:, :2].min(0), whole.landmarks[:, :2].max(0)
    reach = 0.95 * float((high - low)[1])
    left, top = np.rint((low + high) / 2 - reach).astype(int)
    picture = whole.image[top : top + round(2 * reach), left : left + round(2 * reach)]
    return track_image(np.ascontiguousarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)))


def some_motion(n_frames: int, seed: int = 0) -> FaceMotion:
    """Slow and irregular, relative to a portrait."""
    rng = np.random.default_rng(seed)
    time = np.arange(n_frames) / 25

    def way() -> np.ndarray:
        return sum(np.sin(2 * np.pi * (rng.uniform(0.3, 1.6) * time + rng.random())) for _ in range(3)) / 3

    eyes = np.clip(way(), 0, 1)
    curves = {name: most * np.clip(way(), 0, 1) for name, most in _WAYS.items()}
    curves |= {"eyeBlinkLeft": eyes, "eyeBlinkRight": eyes}
    head = np.stack([0.08 * way(), 0.12 * way(), 0.05 * way()], 1).astype(np.float32)
    return replace(FaceMotion.zeros(n_frames, 25.0).with_columns(curves), head_pose=head)


def absolute(motion: FaceMotion, portrait: Portrait) -> FaceMotion:
    """The motion as tracking would give it."""
    rest = portrait.rest
    return replace(
        motion,
        expression=np.clip(motion.expression + rest.expression, 0, 1),
        head_pose=compose(np.repeat(rest.head_pose, len(motion), 0), motion.head_pose),
        eye_pose=motion.eye_pose + rest.eye_pose,
        translation=motion.translation + rest.translation,
    )


def filmed(portrait: Portrait, motion: FaceMotion) -> tuple[list[Frame], np.ndarray]:
    """The frames of a motion, and the landmarks ``(T, 478, 3)`` px in them."""
    from mien.face.rig import load_rig
    from mien.rendering.conditioning import screen_points

    wanted = absolute(motion, portrait)
    points = screen_points(load_rig(), portrait.identity, wanted, np.repeat(portrait.camera[None], len(motion), 0))
    landmarks = points[:, :478] * np.array([1, 1, -1], np.float32)
    return list(WarpRenderer(portrait).render(motion)), landmarks


def make_person(folder: Path, portrait: Portrait, n_frames: int = 160, size: int = 96, seed: int = 0) -> Path:
    """A folder as ``mien prepare`` makes it, with one clip."""
    motion = some_motion(n_frames, seed)
    frames, landmarks = filmed(portrait, motion)
    side = portrait.image.shape[0]
    boxes = np.tile(np.array([0, 0, side], np.float32), (n_frames, 1))
    clip = PersonClip(
        folder=folder,
        name="film",
        source="film.mp4",
        sha256="0" * 64,
        size=(side, side),
        motion=absolute(motion, portrait),
        identity=portrait.identity,
        cameras=np.repeat(portrait.camera[None], n_frames, 0),
        landmarks=landmarks,
        found=np.ones(n_frames, np.bool_),
        emotion=EmotionTrack(np.zeros((n_frames, 2)), 25.0, tuple(Emotion), np.full((n_frames, 8), 1 / 8)),
        units=ActionUnits(np.zeros((n_frames, 1)), ("AU1",), 25.0),
        boxes=boxes,
        sharpness=np.ones(n_frames, np.float32),
        shots=(0,),
        blinks=np.zeros((0, 2), np.float32),
        quality={},
    )
    (folder / "clips" / "film").mkdir(parents=True)
    write_clip(clip)
    for index, frame in enumerate(frames):
        write_crop(crop_path(folder, "film", index), cut_crop(frame, boxes[index], size))
    write_manifest(folder, size, {"crop_size": size}, [clip], "0")
    return folder
