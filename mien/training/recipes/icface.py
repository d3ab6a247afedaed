"""``mien train icface``: ICface on clips of people, with action units from mien's own tracker.

No training code was ever released; this follows the files that an editor left in the release (see
:mod:`mien.rendering.icface`): two frames of one person, the second drives the first; a step of the discriminator, one
of the animator, one of the neutraliser; RMSprop at 2e-4 with alpha 0.99. Unlike there, cross entropy is taken of logits
and a face at rest looks ahead. The perceptual term needs VGG19's ImageNet weights, which do not come with mien, and is
left out.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mien.assets import load_npz
from mien.errors import InputError, NoFaceError
from mien.face.actions import units_from_motion
from mien.media.image import VIDEO_ENDINGS, write_image
from mien.media.output import atomic_output
from mien.media.sheet import contact_sheet
from mien.media.video import VideoReader
from mien.perception.tracking import track_video
from mien.progress import Progress, track
from mien.rendering.icface import (
    Discriminator,
    Icface,
    IcfaceConfig,
    LossWeights,
    animator_loss,
    as_tensor,
    controls_from,
    discriminator_loss,
    neutraliser_loss,
    save_icface,
)
from mien.rendering.paste import ICFACE_MARGIN, FaceSquare
from mien.training.loop import Schedule, fit
from mien.training.options import TrainIcfaceOptions, TrainIcfaceResult
from mien.types import Array, Frame

log = logging.getLogger(__name__)

WEIGHTS = "icface.safetensors"
"""Name of the finished networks in the folder of a run."""

_SHOWN = 6  # pairs of the preview


@dataclass(frozen=True, eq=False)
class FaceTrack:
    """Faces of one clip.

    Attributes:
        person: whose.
        faces: ``(T, S, S, 3)``.
        controls: ``(T, 20)`` of :func:`mien.rendering.icface.controls_from`.
    """

    person: str
    faces: npt.NDArray[np.uint8]
    controls: Array


def run(
    options: TrainIcfaceOptions, progress: Progress | None = None, config: IcfaceConfig | None = None
) -> TrainIcfaceResult:
    """Train, or go on training.

    Args:
        options: what and how long.
        progress: sees the stages ``"clips"`` and ``"train"``.
        config: the networks; the published ones, for as many people as there are, if ``None``.

    Raises:
        InputError: if the clips or the numbers cannot be used, or the folder holds another run.
        FormatError: if a clip or a checkpoint is damaged.
    """
    if options.batch_size < 2:
        raise InputError(f"--batch-size {options.batch_size}", "give at least 2")
    if not options.faces_per_second > 0:
        raise InputError(f"--faces-per-second {options.faces_per_second:g}", "give a number above 0")
    clips = open_clips(options.data)
    unknown = sorted(set(options.leave_out) - set(clips))
    if unknown:
        raise InputError(f"{options.data}: nobody is called {', '.join(unknown)}", f"there are {', '.join(clips)}")
    size = (config or IcfaceConfig()).size
    tracks = [
        found
        for person, path in track([(p, c) for p, some in clips.items() for c in some], progress, "clips")
        if (found := face_track(person, path, options.output / "faces", size, options.faces_per_second)) is not None
    ]
    training = [each for each in tracks if each.person not in options.leave_out]
    held_out = [each for each in tracks if each.person in options.leave_out]
    people = sorted({each.person for each in training})
    if not training:
        raise InputError(f"{options.data}: nobody is left to train on", "leave out fewer people")
    config = config or IcfaceConfig(n_identities=len(people))
    schedule = Schedule(
        options.epochs, options.batch_size, options.learning_rate, checkpoint_every=options.checkpoint_every, keep=2,
        seed=options.seed,
    )  # fmt: skip
    torch.manual_seed(options.seed)
    task = IcfaceTask(config, training, held_out, people, options.output / "previews")
    settings = {"model": asdict(config), "people": people, "leave_out": sorted(options.leave_out), "faces": len(task)}
    entries = fit(task, schedule, options.output, settings, progress)
    save_icface(options.output / WEIGHTS, task.icface)
    error = entries[-1]["validation"].get("error", float("nan"))
    still = entries[-1]["validation"].get("error_if_still", float("nan"))
    return TrainIcfaceResult(options.output / WEIGHTS, len(entries), len(task), len(people), error, still)


def open_clips(folder: Path) -> dict[str, list[Path]]:
    """Clips by person: a folder per person, or clips side by side, each of a person of its own.

    Raises:
        InputError: if there are none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder", "give a folder with clips, or with a folder of clips per person")
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in VIDEO_ENDINGS:
            person = path.relative_to(folder).parts[0] if path.parent != folder else path.stem
            found.setdefault(person, []).append(path)
    if not found:
        raise InputError(f"{folder}: holds no clips", "give .mp4, .mov, .mkv, .webm, .avi or .mpg files")
    return found


def face_track(person: str, clip: Path, folder: Path, size: int, per_second: float) -> FaceTrack | None:
    """The faces of a clip, made once and kept in a folder; ``None`` if it shows none."""
    kept = folder / person / f"{clip.stem}_{size}_{per_second:g}.npz"
    if kept.exists():
        _, arrays = load_npz(kept)
        return FaceTrack(person, arrays["faces"], arrays["controls"])
    reader = VideoReader(clip)
    try:
        seen = track_video(clip)
    except NoFaceError as error:
        log.warning("%s; left out", error)
        return None
    controls = controls_from(units_from_motion(seen.motion), seen.motion.head_pose)
    step = max(1, round(reader.fps / per_second))
    faces, rows = [], []
    for i, frame in enumerate(reader):
        if i % step == 0 and i < len(seen.found) and seen.found[i]:
            faces.append(_sized(FaceSquare.around(seen.landmarks[i], ICFACE_MARGIN, upright=False).cut(frame), size))
            rows.append(i)
    with atomic_output(kept) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, faces=np.stack(faces), controls=controls[rows])
    return FaceTrack(person, np.stack(faces), controls[rows])


class IcfaceTask:
    """Networks, faces and losses for the training loop: an example is a driving frame."""

    def __init__(
        self, config: IcfaceConfig, tracks: Sequence[FaceTrack], held_out: Sequence[FaceTrack], people: Sequence[str],
        previews: Path,
    ) -> None:  # fmt: skip
        self.icface, self._discriminator = Icface(config), Discriminator(config)
        self.network = nn.ModuleDict({"icface": self.icface, "discriminator": self._discriminator})
        self.optimiser = torch.optim.RMSprop(self.network.parameters(), lr=2e-4, alpha=0.99, eps=1e-8)
        self._looked_at, self._has_held_out = held_out or tracks[:1], bool(held_out)
        self._people, self._previews = people, previews
        self._frames = [(each, i) for each in tracks for i in range(len(each.faces))]
        self._weights = LossWeights()

    def __len__(self) -> int:
        """Driving frames."""
        return len(self._frames)

    def loss(self, indices: npt.NDArray[np.int64]) -> Mapping[str, Tensor]:
        """A step of the discriminator and one of the animator, taken here; then the loss of the neutraliser."""
        rng = np.random.default_rng((*indices.tolist(), 1))
        torch.manual_seed(int(rng.integers(2**31)))  # of dropout; by the frames alone, so a resumed run draws the same
        drivers = [self._frames[i] for i in np.resize(indices, max(len(indices), 2))]
        driven = [(each, int(rng.integers(len(each.faces)))) for each, _ in drivers]
        pictures, own = _stacked(driven)
        driving, controls = _stacked(drivers)
        identity = torch.tensor([self._people.index(each.person) for each, _ in drivers])

        self._learning(self._discriminator)
        with torch.no_grad():
            neutral = self.icface.neutral(pictures)
            reenacted = self.icface.animate(neutral, controls)
        loss, parts = discriminator_loss(
            self._discriminator, pictures, own, identity, reenacted, neutral, self._weights
        )
        terms = self._step("discriminator", loss, parts)

        self._learning(self.icface.animator)
        reenacted = self.icface.animate(neutral, controls)
        said = self._discriminator(reenacted)
        loss, parts = animator_loss(said, reenacted, driving, controls, identity, self._weights)
        terms |= self._step("animator", loss, parts)

        self._learning(self.icface.neutraliser)
        neutral = self.icface.neutral(pictures)
        loss, parts = neutraliser_loss(
            self._discriminator(neutral), neutral, driving, controls, identity, self.icface.animate, None, self._weights
        )
        return {"total": loss, **{f"neutraliser_{name}": value.detach() for name, value in parts.items()}, **terms}

    def _learning(self, part: nn.Module) -> None:
        """Only this part gets gradients; those of the others stay none, so the optimiser leaves them alone."""
        self.optimiser.zero_grad()
        self.network.requires_grad_(False)
        part.requires_grad_(True)

    def _step(self, name: str, loss: Tensor, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return {f"{name}_{key}": value.detach() for key, value in parts.items()}

    def validate(self) -> Mapping[str, float]:
        """On people left out: mean difference from the driving frame in grey levels, and that of a face kept still."""
        self.icface.eval()
        pairs, errors, still = [], [], []
        for each in self._looked_at:
            picked = np.linspace(0, len(each.faces) - 1, _SHOWN).astype(int)
            neutral = self.icface.neutral(as_tensor(each.faces[:1])).expand(len(picked), -1, -1, -1)
            moved = self.icface.animate(neutral, torch.from_numpy(each.controls[picked]))
            made = moved.add(1).mul(127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
            truth = each.faces[picked].astype(np.float32)
            errors.append(np.abs(made - truth).mean())
            still.append(np.abs(each.faces[:1] - truth).mean())
            pairs += [*each.faces[picked], *made]
        self._previews.mkdir(parents=True, exist_ok=True)
        write_image(self._previews / "latest.png", contact_sheet(pairs[: 8 * _SHOWN], columns=_SHOWN, width=128))
        if not self._has_held_out:
            return {}
        return {"error": float(np.mean(errors)), "error_if_still": float(np.mean(still))}


def _stacked(frames: Sequence[tuple[FaceTrack, int]]) -> tuple[Tensor, Tensor]:
    """Some frames ``(N, 3, S, S)`` as the networks see them, and their controls ``(N, 20)``."""
    faces, controls = zip(*((each.faces[i], each.controls[i]) for each, i in frames), strict=True)
    return as_tensor(np.stack(faces)), torch.from_numpy(np.stack(controls))


def _sized(face: Frame, size: int) -> Frame:
    import cv2

    return np.asarray(cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
