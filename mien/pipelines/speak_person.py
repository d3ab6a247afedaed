"""``mien speak -p FOLDER``: a prepared person is the portrait, feels in their own way, and has their own renderer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from mien.direction import LABELS, Direction
from mien.errors import NoFaceError
from mien.pipelines.dsm import load_decoder
from mien.rotations import compose
from mien.spans import certainty
from mien.types import FaceMotion, Frame, Portrait

_CANDIDATES = 5


def person_portrait(folder: Path) -> Portrait:
    """The crop in which the person looks most at rest: calm, mouth and head straight, eyes open, sharp.

    Raises:
        InputError: if the folder is none of ``mien prepare``.
        NoFaceError: if no crop shows a face.
    """
    from mien.media.person_folder import load_person
    from mien.perception.tracking import track_image

    ranked = []
    for clip in load_person(folder).clips:
        motion = clip.motion
        unrest = np.hypot(*clip.va.T) + 2 * motion.column("jawOpen") + np.linalg.norm(motion.head_pose, axis=1)
        unrest += 2 * (motion.column("eyeBlinkLeft") + motion.column("eyeBlinkRight"))
        unrest -= clip.sharpness / max(float(np.median(clip.sharpness)), 1e-6)
        ranked += [(float(unrest[i]), clip, int(i)) for i in np.flatnonzero(clip.found)]
    for _, clip, index in sorted(ranked, key=lambda each: each[0])[:_CANDIDATES]:
        try:
            return track_image(clip.crop(index), name=f"{clip.name}, frame {index}")
        except NoFaceError:
            continue
    raise NoFaceError(f"{folder}: no crop shows a face", "prepare the person again")


def person_emotion(folder: Path, direction: Direction, n_frames: int, fps: float, rest: FaceMotion) -> FaceMotion:
    """The emotion lane as this person shows it, relative to the portrait; nothing where the direction is neutral.

    Raises:
        InputError: if the person has no decoder that can be used.
        MissingExtraError: if PyTorch is missing.
    """
    from mien.motion.dsm import EYES
    from mien.motion.emotion import expression_at
    from mien.perception.emotion import load_emotion_reader

    model = load_decoder(folder)
    wanted = direction.emotion_track(n_frames, fps).va
    own = load_emotion_reader()(rest).va
    felt = 1 - direction.emotion_curve(n_frames, fps)[:, LABELS.index("neutral")]
    change = certainty(felt)[:, None] * (model.face(wanted, expression_at) - model.face(own, expression_at))
    names = model.config.expression_names
    columns = {n: curve for n, curve in zip(names, change.T, strict=True) if not n.startswith(EYES)}
    return FaceMotion.zeros(n_frames, fps).with_columns(columns)


def person_frames(folder: Path, motion: FaceMotion, rest: FaceMotion, start: int = 0) -> Iterator[Frame]:
    """Pictures of the person by their trained renderer.

    Args:
        folder: the person's folder.
        motion: relative to ``rest``.
        rest: one frame, the portrait's.
        start: the first frame wanted.

    Raises:
        InputError: if the person has no renderer.
        MissingExtraError: if PyTorch is missing.
    """
    from mien.face.rig import retarget
    from mien.pipelines.person_renderer import load_window_renderer
    from mien.rendering.person import draw_motion

    renderer = load_window_renderer(folder)
    shown = replace(
        motion,
        expression=np.clip(motion.expression + rest.expression, 0, 1),
        head_pose=compose(np.repeat(rest.head_pose, len(motion), 0), motion.head_pose),
        eye_pose=motion.eye_pose + rest.eye_pose,
        translation=motion.translation + rest.translation,
    )
    return draw_motion(renderer, retarget(shown, renderer.rig)[0], start)
