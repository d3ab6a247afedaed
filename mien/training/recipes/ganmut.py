"""``mien train ganmut``: GANmut on any folder of labelled faces.

As in the released program: Adam at 1e-4 with betas 0.5 and 0.999, five steps of the discriminator for one of the
generator, batches of 16, gradient penalty of weight 10, pictures turned by up to 7.5 degrees, shifted by up to 7.5 px,
enlarged by 7.5 to 15 % and mirrored. Unlike there, ``--space gaussian`` trains the plane (the official flag builds the
three-dimensional space), and pictures are cropped the way `mien restyle` will crop them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mien.errors import InputError
from mien.media.image import write_image
from mien.media.sheet import contact_sheet
from mien.progress import Progress
from mien.rendering.ganmut import (
    GAUSSIAN_WEIGHTS,
    LABELS,
    Discriminator,
    GanmutConfig,
    GanmutEditor,
    GaussianGenerator,
    LinearGenerator,
    LossWeights,
    as_tensor,
    discriminator_loss,
    gaussian_generator_loss,
    gradient_penalty,
    linear_generator_loss,
    save_ganmut,
    strengths_seen,
)
from mien.rendering.paste import GANMUT_MARGIN, FaceSquare
from mien.training.datasets.emotion_pictures import FaceCrops, LabelledPicture, open_pictures
from mien.training.loop import Schedule, fit
from mien.training.options import TrainGanmutOptions, TrainGanmutResult
from mien.types import Array, Frame

WEIGHTS = "ganmut.safetensors"
"""Name of the finished generator in the folder of a run."""

_STEPS = 5  # of the discriminator for one of the generator
_TURN, _SHIFT, _ZOOM = 7.5, 7.5, (1.075, 1.15)  # degrees, px of 128, factor
_SHOWN = 4  # faces of the preview


class UprightFaces(FaceCrops):
    """Crops as GANmut edits them: square, upright, in its own size."""

    SIDE = 128

    def _cut(self, picture: Frame, landmarks: Array) -> Frame:
        return _sized(FaceSquare.around(landmarks, GANMUT_MARGIN, upright=True).cut(picture), self.SIDE)


def run(
    options: TrainGanmutOptions, progress: Progress | None = None, config: GanmutConfig | None = None
) -> TrainGanmutResult:
    """Train, or go on training.

    Args:
        options: what and how long.
        progress: sees the stages ``"faces"`` and ``"train"``.
        config: the networks; the published ones of the space asked for if ``None``.

    Raises:
        InputError: if the pictures or the numbers cannot be used, or the folder holds another run.
        FormatError: if the table or checkpoints are damaged.
    """
    if not 0 <= options.held_out < 1:
        raise InputError(f"--held-out {options.held_out:g}", "give a share from 0 to less than 1")
    least = len(LABELS) if options.space == "gaussian" else 2
    if options.batch_size < least:
        raise InputError(f"--batch-size {options.batch_size}", f"give at least {least}")
    schedule = Schedule(
        options.epochs, _STEPS * options.batch_size, options.learning_rate, checkpoint_every=options.checkpoint_every,
        keep=2, seed=options.seed,
    )  # fmt: skip
    listed = [picture for picture in open_pictures(options.data) if picture.label in LABELS]
    missing = [label.value for label in LABELS if label not in {picture.label for picture in listed}]
    if missing:
        raise InputError(f"{options.data}: no pictures of {', '.join(missing)}", "GANmut learns from all seven labels")
    crops = UprightFaces(options.output / "faces", listed, progress)
    config = config or GanmutConfig(space=options.space)
    torch.manual_seed(options.seed)
    training, held_out = split(crops.pictures, options.held_out)
    weights = LossWeights(strength=options.strength_weight) if config.space == "linear" else GAUSSIAN_WEIGHTS
    task = GanmutTask(config, crops, training, held_out, weights, options.batch_size, options.output / "previews")
    settings = {"model": asdict(config), "loss": asdict(weights), "training": len(training), "held_out": len(held_out)}
    entries = fit(task, schedule, options.output, settings, progress)
    save_ganmut(options.output / WEIGHTS, task.generator)
    accuracy = entries[-1]["validation"].get("asked_label_seen", float("nan"))
    return TrainGanmutResult(options.output / WEIGHTS, len(entries), len(training), len(held_out), accuracy)


def split(pictures: Sequence[LabelledPicture], share: float) -> tuple[list[int], list[int]]:
    """Indices to train on, and the last share of every label, by name, to look at: names mostly begin with a person."""
    training, held_out = [], []
    for label in LABELS:
        some = [i for i, picture in enumerate(pictures) if picture.label == label]
        kept = len(some) - (round(share * len(some)) if len(some) > 1 else 0)
        training += some[:kept]
        held_out += some[kept:]
    return training, held_out


class GanmutTask:
    """Both networks, faces and losses for the training loop: an example is a face the discriminator sees once."""

    def __init__(
        self,
        config: GanmutConfig,
        crops: FaceCrops,
        training: Sequence[int],
        held_out: Sequence[int],
        weights: LossWeights,
        batch_size: int,
        previews: Path,
    ) -> None:
        self.generator = LinearGenerator(config) if config.space == "linear" else GaussianGenerator(config)
        for module in self.generator.modules():
            if isinstance(module, nn.InstanceNorm2d):
                module.momentum = 0.0  # nothing reads stored statistics, and looking at results must leave no trace
        self._discriminator = Discriminator(config)
        self.network = nn.ModuleDict({"generator": self.generator, "discriminator": self._discriminator})
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=1e-4, betas=(0.5, 0.999))
        self._crops, self._config, self._weights = crops, config, weights
        self._training, self._held_out, self._batch_size = training, held_out, batch_size
        self._previews = previews

    def __len__(self) -> int:
        """Faces trained on."""
        return len(self._training)

    def loss(self, indices: npt.NDArray[np.int64]) -> Mapping[str, Tensor]:
        """Up to five steps of the discriminator, taken here; then the generator's loss, on which the loop steps.

        What is drawn at random depends on the faces alone, so a resumed run draws what it would have.
        """
        rng = np.random.default_rng((*indices.tolist(), 1))
        random = torch.Generator().manual_seed(int(rng.integers(2**31)))
        terms: dict[str, Tensor] = {}
        self._discriminator.requires_grad_(True)
        for start in range(0, len(indices), self._batch_size):
            some = indices[start : start + self._batch_size]
            if start and len(some) < self._batch_size:
                break  # a last batch too small for all labels
            faces, labels = self._batch(some, rng)
            codes, wanted, strengths = self._asked(labels, random)
            with torch.no_grad():
                made = self.generator(faces, codes)
            share = torch.rand(len(faces), 1, 1, 1, generator=random)
            penalty = gradient_penalty(self._discriminator, share * faces + (1 - share) * made)
            real, fake = self._discriminator(faces), self._discriminator(made)
            loss, parts = discriminator_loss(real, fake, labels, codes, penalty, self._weights)
            self.optimiser.zero_grad()  # the generator's gradients stay none, so only the discriminator moves
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            terms = {f"discriminator_{name}": value.detach() for name, value in parts.items()}
        self._discriminator.requires_grad_(False)
        codes, wanted, strengths = self._asked(labels, random)
        made = self.generator(faces, codes)
        fake = self._discriminator(made)
        with torch.no_grad():
            seen = self._discriminator(faces)
        if isinstance(self.generator, LinearGenerator):
            back = self.generator.codes(labels, strengths_seen(seen.logits))
            n_random = min(self._config.n_random, len(faces) - 1)
            loss, parts = linear_generator_loss(
                fake, faces, self.generator(made, back), wanted, codes, strengths, self._weights, n_random
            )
        else:
            cycled = self.generator(made, seen.codes)
            distances = self.generator.distances(codes)
            loss, parts = gaussian_generator_loss(fake, faces, cycled, distances, self._weights)
        return {"total": loss, **{f"generator_{name}": value.detach() for name, value in parts.items()}, **terms}

    def _asked(self, labels: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Codes to ask for, their labels and strengths: those of the same faces in another order, as published."""
        if isinstance(self.generator, LinearGenerator):
            wanted = labels[torch.randperm(len(labels), generator=random)]
            codes, strengths = self.generator.training_codes(wanted, random)
            return codes, wanted, strengths
        return self.generator.training_codes(len(labels), random), labels, torch.ones(len(labels))

    def _batch(self, indices: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Faces ``(N, 3, S, S)`` BGR in [-1, 1] and labels ``(N,)``; at least as many as there are labels."""
        if self._config.space == "gaussian":
            indices = np.resize(indices, max(len(indices), len(LABELS)))
        chosen = [self._training[i] for i in np.resize(indices, max(len(indices), 2)).tolist()]
        faces = np.stack([changed(self._crops[i], self._config.size, rng) for i in chosen])
        labels = [LABELS.index(self._crops.pictures[i].label) for i in chosen]
        return as_tensor(faces), torch.tensor(labels)

    def validate(self) -> Mapping[str, float]:
        """On faces not trained on: how often the discriminator names a real face's label, and the label asked for."""
        if not self._held_out:
            return {}
        crops = [_sized(self._crops[i], self._config.size) for i in self._held_out]
        truth = torch.tensor([LABELS.index(self._crops.pictures[i].label) for i in self._held_out])
        editor = GanmutEditor(self.generator, "float32")
        codes = [editor.emotions[label] for label in LABELS]
        edits = np.stack([editor.restyle_batch(crop[None], np.stack(codes)) for crop in crops])
        named = self._discriminator(as_tensor(np.stack(crops))).logits.argmax(1)
        asked = self._discriminator(as_tensor(edits.reshape(-1, *edits.shape[2:]))).logits.argmax(1)
        self._preview(crops, edits)
        right = asked.reshape(len(crops), -1) == torch.arange(len(LABELS))
        return {"label_seen": (named == truth).float().mean().item(), "asked_label_seen": right.float().mean().item()}

    def _preview(self, crops: Sequence[Frame], edits: npt.NDArray[np.uint8]) -> None:
        """The latest pictures: some faces not trained on, each beside all seven emotions."""
        some = np.linspace(0, len(crops) - 1, min(_SHOWN, len(crops))).astype(int).tolist()
        rows = [picture for i in some for picture in (crops[i], *edits[i])]
        captions = ["", *LABELS]
        self._previews.mkdir(parents=True, exist_ok=True)
        sheet = contact_sheet(rows, captions * len(some), columns=1 + len(LABELS), width=128)
        write_image(self._previews / "latest.png", sheet)


def changed(face: Frame, size: int, rng: np.random.Generator) -> Frame:
    """A face turned, shifted, enlarged and perhaps mirrored."""
    import cv2

    side = len(face)
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(-_TURN, _TURN), rng.uniform(*_ZOOM))
    matrix[:, 2] += rng.uniform(-_SHIFT, _SHIFT, 2) * side / 128
    moved = cv2.warpAffine(face, matrix, (side, side), flags=cv2.INTER_AREA)
    return _sized(np.asarray(moved[:, ::-1] if rng.random() < 0.5 else moved, np.uint8), size)


def _sized(face: Frame, size: int) -> Frame:
    import cv2

    return face if len(face) == size else np.asarray(cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA))
