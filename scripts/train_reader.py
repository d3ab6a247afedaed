"""Train the expression reader, ``mien/perception/data/expression_reader.npz``, and write its card.

    ./run python scripts/train_reader.py --data ../shared/data

The teacher is MediaPipe's Face Landmarker (Apache-2.0). Four kinds of lessons, all from material that may be used so:

real    frames of permitted clips: landmarks as mien finds them, answers of the whole task on the same picture;
warped  permitted pictures bent by the rig to other people, expressions and poses, both models run on the result: what
        the two landmark models see differently (brows above all) can be learned from these only;
rig     random people, expressions and poses of the built-in rig, answers of the task's last network alone;
mixed   mixtures of landmark sets from the first two kinds, answers of the last network alone.

It takes some 25 minutes on one core, most of it for the warped pictures, which are kept in ``--cache``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

os.environ.setdefault("GLOG_minloglevel", "3")
sys.path.insert(0, str(Path(__file__).parent))

from landmarker import Landmarker
from rigbuild.teacher import Teacher

from mien.face.rig import load_rig
from mien.perception.geometry import project
from mien.perception.landmarks import MediapipeBackend, face_box
from mien.perception.reader import READER_FORMAT, upright
from mien.rotations import matrix_from_axis_angle
from mien.types import ARKIT_NAMES, FaceIdentity, Frame

Array = npt.NDArray[np.float32]
Generator = np.random.Generator

ROOT = Path(__file__).parents[1]
TASK = "weights/mediapipe/face_landmarker.task"
CLIPS = {"video/grid_s1/*.mpg": 1.0, "video/latentsync/*.mp4": 3.0}
"""Permitted clips (GRID: CC BY 4.0, LatentSync: Apache-2.0) and how much a frame of them counts."""
PICTURES = "portraits/anitalker_ai/*.png"
"""Permitted stills (AniTalker's AI-made faces: Apache-2.0); NASA's astronaut of scikit-image joins them."""

SIDE = 448
"""Side of the warped pictures, px."""
SHARES = {"real": 2.0, "warped": 6.0, "rig": 1.0, "mixed": 1.0}
"""How much one lesson of each kind counts."""
HIDDEN = (320, 160)
NOISE = 0.02
EPOCHS = 25

# The 146 points that the teacher's network looks at (found by moving one point after the other).
POINTS = np.array([
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80,
    81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153,
    154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251,
    263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318,
    321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386,
    387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477,
])  # fmt: skip


@dataclass
class Lessons:
    """Landmarks ``(N, 478, 2)``, answers ``(N, 52)`` by ``ARKIT_NAMES``, and how much each counts ``(N,)``."""

    landmarks: Array
    answers: Array
    weights: Array

    @classmethod
    def join(cls, parts: list[Lessons]) -> Lessons:
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))


def frames_of(path: Path, every: int) -> Iterator[Frame]:
    from mien.media.video import VideoReader

    return (frame for i, frame in enumerate(VideoReader(path)) if i % every == 0)


def seen_alike(frame: Frame, backend: MediapipeBackend, landmarker: Landmarker) -> tuple[Array, Array] | None:
    """Landmarks as mien finds them and the teacher's answer, if both see a face."""
    answer = landmarker(frame)
    faces = backend.detect(frame, patient=False)
    return None if answer is None or not faces else (faces[0], answer[1].astype(np.float32))


def real_lessons(data: Path, landmarker: Landmarker) -> Lessons:
    parts = []
    for pattern, weight in CLIPS.items():
        for path in sorted(data.glob(pattern)):
            backend, pairs, previous = MediapipeBackend(), [], None
            for frame in frames_of(path, every=1 if "grid" in pattern else 2):
                pair = seen_alike(frame, backend, landmarker)
                if pair is None:
                    previous = None
                    continue
                # As in tracking: the first picture is searched, the others are followed.
                followed = None if previous is None else backend.follow(frame, previous)
                previous = pair[0] if followed is None else followed
                pairs += [pair, (previous, pair[1])]
            parts.append(_lessons(pairs, weight * SHARES["real"]))
            print(f"real: {path.name}, {len(pairs)} lessons", flush=True)
    return Lessons.join(parts)


def _lessons(pairs: list[tuple[Array, Array]], weight: float) -> Lessons:
    landmarks = np.stack([landmarks[:, :2] for landmarks, _ in pairs])
    return Lessons(landmarks, np.stack([answer for _, answer in pairs]), np.full(len(pairs), weight, np.float32))


def warped_lessons(data: Path, landmarker: Landmarker, n: int, rng: Generator) -> Lessons:
    """Pictures bent to other faces; half of the teacher's answer comes from its last network on mien's landmarks.

    Not for brows and pucker, though: there the two landmark models differ, and the picture's answer is the better one.
    """
    from mien.perception.tracking import track_image

    backend = MediapipeBackend()
    portraits = []
    for picture in _permitted_pictures(data):
        faces = backend.detect(picture)
        if faces:
            portraits.append(track_image(_cropped(picture, faces[0]), backend=backend))
    pairs: list[tuple[Array, Array]] = []
    while len(pairs) < n:
        bent = _disturbed(_bent(portraits[rng.integers(len(portraits))], rng), rng)
        pair = seen_alike(bent, backend, landmarker)
        if pair is not None:
            pairs.append(pair)
            if len(pairs) % 500 == 0:
                print(f"warped: {len(pairs)} of {n}", flush=True)
    lessons = _lessons(pairs, SHARES["warped"])
    alone = _taught(data, lessons.landmarks, weight=0).answers
    both = [not (name.startswith("brow") or name == "mouthPucker") for name in ARKIT_NAMES]
    lessons.answers[:, both] = (lessons.answers[:, both] + alone[:, both]) / 2
    return lessons


def _permitted_pictures(data: Path) -> list[Frame]:
    import skimage.data

    from mien.media.image import read_image

    pictures = [read_image(path) for path in sorted(data.glob(PICTURES))] * 4 + [skimage.data.astronaut()[..., :3]] * 4
    for path in sorted(data.glob("video/latentsync/*.mp4")):
        pictures += list(frames_of(path, every=40))
    for path in sorted(data.glob("video/grid_s1/*.mpg"))[::2]:
        pictures += list(frames_of(path, every=60))
    return pictures


def _cropped(picture: Frame, landmarks: Array) -> Frame:
    import cv2

    box = face_box(landmarks)
    centre, half = (box[:2] + box[2:]) / 2, 1.1 * float((box[2:] - box[:2]).max())
    scale = SIDE / 2 / half
    crop_from_picture = np.array([[scale, 0, SIDE / 2 - centre[0] * scale], [0, scale, SIDE / 2 - centre[1] * scale]])
    crop = cv2.warpAffine(picture, crop_from_picture, (SIDE, SIDE), flags=cv2.INTER_AREA, borderMode=4)
    return np.asarray(crop, np.uint8)


def _bent(portrait: Any, rng: Generator) -> Frame:
    """A portrait's picture as another face: landmarks go where the rig takes them, the surroundings stay."""
    import cv2
    from scipy.interpolate import LinearNDInterpolator

    rig = load_rig()
    expression = np.clip(portrait.rest.expression + _picture_expression(rng), -0.6, 1.2)
    shape = np.tensordot(rng.normal(size=len(rig.identity_basis)) * rng.uniform(0, 0.9), rig.identity_basis, 1)
    identity = FaceIdentity(rig.name, portrait.identity.betas, portrait.identity.residual + shape)
    head = portrait.rest.head_pose + rng.normal(size=(1, 3)) * (0.06, 0.1, 0.03)
    motion = replace(portrait.rest, expression=expression, head_pose=head)
    source = portrait.landmarks[:468, :2]
    target = project(rig, identity, motion, portrait.camera[None])[0, :468, :2]
    target = target - (target - source)[[10, 152, 234, 454]].mean(axis=0)
    turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    ring = source.mean(axis=0) + 0.78 * np.ptp(source, axis=0) * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    edge = np.linspace(-20, SIDE + 20, 8)
    border = np.array([(x, y) for x in edge for y in edge if min(x, y) < 0 or max(x, y) > SIDE])
    fixed = np.concatenate([ring, border])
    moves = np.concatenate([source - target, np.zeros_like(fixed)])
    rows, columns = np.mgrid[0:SIDE:3, 0:SIDE:3]
    coarse = LinearNDInterpolator(np.concatenate([target, fixed]), moves, fill_value=0)(columns, rows)
    flow = cv2.GaussianBlur(cv2.resize(coarse.astype(np.float32), (SIDE, SIDE)), (0, 0), 2)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    bent = cv2.remap(portrait.image, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR, borderMode=4)
    return np.asarray(bent, np.uint8)


def _picture_expression(rng: Generator) -> Array:
    """What is added to a picture's expression; brows and eyes both ways, jaws not so wide that skin would tear."""
    index = {name: i for i, name in enumerate(ARKIT_NAMES)}
    change = random_expressions(1, rng)[0] * rng.uniform(0.2, 1)
    change[index["jawOpen"]] *= 0.6
    brows = [i for name, i in index.items() if name.startswith("brow")]
    if rng.random() < 0.5:
        change[brows] = rng.uniform(-0.8, 1, len(brows)) * rng.random()
    if rng.random() < 0.4:
        frown = rng.uniform(-0.8, 1)
        change[[index["browDownLeft"], index["browDownRight"]]] = frown
        change[index["browInnerUp"]] -= frown / 2
    if rng.random() < 0.3:
        change[index["mouthPucker"]] = rng.uniform(-0.3, 1)
    if rng.random() < 0.3:
        change[[index["eyeBlinkLeft"], index["eyeBlinkRight"]]] = rng.uniform(-0.4, 1)
    return np.asarray(change, np.float32)


def _disturbed(picture: Frame, rng: Generator) -> Frame:
    """Mirrored, turned, blurred, darkened and compressed at random."""
    import cv2

    if rng.random() < 0.5:
        picture = np.ascontiguousarray(picture[:, ::-1])
    turn = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), rng.normal() * 8, rng.uniform(0.6, 1.1))
    turn[:, 2] += rng.normal(size=2) * 15
    picture = cv2.warpAffine(picture, turn, (SIDE, SIDE), borderMode=4)
    if rng.random() < 0.5:
        small = round(SIDE * rng.uniform(0.35, 1))
        picture = cv2.resize(cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA), (SIDE, SIDE))
    light = 255 * (picture / 255.0) ** np.exp(rng.normal() * 0.25) * np.exp(rng.normal() * 0.15)
    picture = np.clip(light, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 95))])[1]
        picture = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    return np.asarray(picture, np.uint8)


def random_expressions(n: int, rng: Generator) -> Array:
    """``(n, 52)`` weights: a few shapes at a time, mostly the same on both sides, the common ones more often."""
    groups: dict[str, list[int]] = {}
    for i, name in enumerate(ARKIT_NAMES):
        one_sided = name in ("mouthLeft", "mouthRight", "jawLeft", "jawRight")
        groups.setdefault(name if one_sided else name.removesuffix("Left").removesuffix("Right"), []).append(i)
    weights = np.zeros((n, len(ARKIT_NAMES)), np.float32)
    for row in weights:
        for group in rng.choice(len(groups), rng.integers(0, 9), replace=False):
            strength = rng.beta(1, 1.3)
            for column in list(groups.values())[group]:
                alike = rng.random() < 0.75
                row[column] = np.clip(strength * (1 + 0.15 * rng.normal()), 0, 1) if alike else rng.beta(1, 2)
        for chance, names in ((0.35, ("eyeBlink",)), (0.4, ("jawOpen",)), (0.3, ("mouthSmile",)),
                              (0.2, ("browInnerUp",)), (0.2, ("browDown",))):  # fmt: skip
            if rng.random() < chance:
                row[groups[names[0]]] = rng.random()
    return weights


def rig_lessons(data: Path, n: int, rng: Generator) -> Lessons:
    """Random people of the rig, seen in perspective from 35 cm to 2 m."""
    rig = load_rig()
    betas = rng.normal(size=(n, len(rig.identity_basis))) * rng.uniform(0.3, 1.3, (n, 1))
    neutral = rig.template[:478] + np.tensordot(betas, rig.identity_basis[:, :478], 1)
    points = neutral + np.tensordot(random_expressions(n, rng), rig.expression_basis[:, :478], 1)
    gaze = np.zeros((n, 3))
    gaze[:, :2] = np.clip(rng.normal(size=(n, 2)) * (0.15, 0.2), -0.5, 0.5) * (rng.random((n, 1)) < 0.8)
    turn = matrix_from_axis_angle(gaze)
    for side in ("left", "right"):
        iris, rim = rig.parts[f"iris_{side}"], rig.contours[f"eye_{side}"]
        centre = rig.template[rig.parts[f"eyeball_{side}"]].mean(axis=0)
        centre = (centre + (neutral - rig.template[:478])[:, rim].mean(axis=1))[:, None]
        points[:, iris] = (points[:, iris] - centre) @ turn.transpose(0, 2, 1) + centre
    head = matrix_from_axis_angle(rng.normal(size=(n, 3)) * (0.17, 0.28, 0.1))
    points = points @ head.transpose(0, 2, 1)
    distance = rng.uniform(0.35, 2, (n, 1, 1))
    pixels = points[..., :2] * (1000, -1000) * distance / (distance - points[..., 2:])
    pixels += rng.normal(size=pixels.shape) * rng.uniform(0, 0.35, (n, 1, 1))
    return _taught(data, np.asarray(pixels, np.float32), SHARES["rig"])


def mixed_lessons(data: Path, sources: Lessons, n: int, rng: Generator) -> Lessons:
    """Two faces in one: the upper half mixed from two, the lower half likewise, then stretched a little."""
    faces = upright(sources.landmarks)
    height = faces[:, :, 1].mean(axis=0)
    lower = 1 / (1 + np.exp(-12 * (height - np.median(height[[4, 5, 195]]))))[None, :, None]
    first, second = rng.integers(0, len(faces), (2, n))
    top = rng.uniform(-0.25, 1.25, (n, 1, 1))
    bottom = np.where(rng.random((n, 1, 1)) < 0.5, top, rng.uniform(-0.25, 1.25, (n, 1, 1)))
    share = top * (1 - lower) + bottom * lower
    mixed = faces[first] * share + faces[second] * (1 - share)
    stretch = np.eye(2) + rng.normal(size=(n, 2, 2)) * ((0.04, 0.03), (0.03, 0.04))
    mixed = mixed @ stretch.transpose(0, 2, 1) + rng.normal(size=mixed.shape) * rng.uniform(0, 0.006, (n, 1, 1))
    return _taught(data, np.asarray(mixed, np.float32), SHARES["mixed"])


def _taught(data: Path, landmarks: Array, weight: float) -> Lessons:
    teacher = Teacher(data / TASK)
    blocks = np.array_split(landmarks, max(1, len(landmarks) // 2000))  # the teacher queues all it is given
    answers = np.concatenate([teacher(_upwards(block)) for block in blocks])
    return Lessons(landmarks, np.asarray(answers, np.float32), np.full(len(landmarks), weight, np.float32))


def _upwards(landmarks: Array) -> Array:
    """Landmarks ``(N, 478, 2)`` with y up and a depth of zero, which the teacher's network does not look at."""
    return np.concatenate([landmarks * (1, -1), np.zeros((*landmarks.shape[:2], 1))], axis=2)


def features(landmarks: Array) -> Array:
    return upright(landmarks)[:, POINTS].reshape(len(landmarks), -1)


def mirrored(inputs: Array, answers: Array) -> tuple[Array, Array]:
    """The same lessons in a mirror."""
    template = load_rig().template[:478]
    opposite = np.linalg.norm(template[:, None] - template * (-1, 1, 1), axis=2).argmin(axis=1)
    place = {int(point): i for i, point in enumerate(POINTS)}
    points = inputs.reshape(len(inputs), -1, 2)[:, [place[int(opposite[point])] for point in POINTS]]
    swap = {"Left": "Right", "Right": "Left"}
    names = [
        next((name.removesuffix(a) + b for a, b in swap.items() if name.endswith(a)), name) for name in ARKIT_NAMES
    ]
    return (points * np.array((-1, 1), np.float32)).reshape(len(inputs), -1), answers[
        :, [ARKIT_NAMES.index(n) for n in names]
    ]


def train(lessons: Lessons, seed: int) -> dict[str, Array]:
    """The network's arrays as ``expression_reader.npz`` holds them."""
    import torch

    torch.manual_seed(seed)
    inputs = features(lessons.landmarks)
    mirror = mirrored(inputs, lessons.answers)
    inputs, answers = np.concatenate([inputs, mirror[0]]), np.concatenate([lessons.answers, mirror[1]])
    mean, scale = inputs.mean(axis=0), np.full(inputs.shape[1], inputs.std(axis=0).mean(), np.float32)
    layers: list[Any] = []
    sizes = (inputs.shape[1], *HIDDEN, len(ARKIT_NAMES))
    for n_in, n_out in pairwise(sizes):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers[:-1])
    x, y = torch.tensor((inputs - mean) / scale), torch.tensor(answers)
    batch, n_steps = 512, EPOCHS * len(inputs) // 512
    chance = torch.tensor(np.tile(lessons.weights, 2) / lessons.weights.sum())
    order = torch.multinomial(chance, n_steps * batch, replacement=True).view(n_steps, batch)
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, n_steps + 1)
    for step, rows in enumerate(order):
        noisy = x[rows] + NOISE * torch.randn(batch, x.shape[1])
        loss = ((torch.sigmoid(network(noisy)) - y[rows]) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 1000 == 0:
            print(f"step {step} of {n_steps}: squared error {loss.item():.5f}", flush=True)
    linear = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    header = {
        "format": "mien.ExpressionReader",
        "version": READER_FORMAT,
        "names": ARKIT_NAMES,
        "n_layers": len(linear),
    }
    arrays = {
        "header": np.frombuffer(json.dumps(header).encode(), np.uint8),
        "points": POINTS.astype(np.int32),
        "mean": mean.astype(np.float32),
        "scale": scale,
    }
    for i, layer in enumerate(linear):
        arrays[f"weight_{i}"] = layer.weight.detach().numpy().T.astype(np.float16)
        arrays[f"bias_{i}"] = layer.bias.detach().numpy()
    return arrays


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=ROOT / "../shared/data", help="folder with portraits, video, weights"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "mien/perception/data/expression_reader.npz")
    parser.add_argument(
        "--cache", type=Path, default=ROOT / ".cache/reader", help="lessons from pictures are kept here"
    )
    parser.add_argument("--warped", type=int, default=4000)
    parser.add_argument("--rig", type=int, default=40000)
    parser.add_argument("--mixed", type=int, default=40000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not (options.data / TASK).exists():
        raise SystemExit(f"train_reader: no {TASK} in {options.data}; name the data folder with --data")
    rng = np.random.default_rng(options.seed)
    landmarker = Landmarker(options.data / TASK)
    pictures = [
        _kept(options.cache / "real.npz", lambda: real_lessons(options.data, landmarker)),
        _kept(options.cache / "warped.npz", lambda: warped_lessons(options.data, landmarker, options.warped, rng)),
    ]
    from_pictures = Lessons.join(pictures)
    rig = rig_lessons(options.data, options.rig, rng)
    mixed = mixed_lessons(options.data, from_pictures, options.mixed, rng)
    np.savez_compressed(options.out, **train(Lessons.join([from_pictures, rig, mixed]), options.seed))
    print(f"wrote {options.out}; judge it with scripts/check_tracking.py")


def _kept(path: Path, make: Any) -> Lessons:
    if not path.exists():
        lessons = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **vars(lessons))
    with np.load(path) as file:
        return Lessons(file["landmarks"], file["answers"], file["weights"])


if __name__ == "__main__":
    main()
