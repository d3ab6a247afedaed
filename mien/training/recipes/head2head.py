"""``mien train renderer --method head2head`` or ``ned``: head2head++ or NED's variant from a person's folder.

As in the official program: every epoch shows one clip out of each 50 frames; clips are 12 frames long and double every
5 epochs as far as 50 frames go; a step is 4 frames, each drawn from the two drawn before it without a gradient through
them; generator and discriminators (frame, mouth, and three frames in a row, 3 and 9 apart) take their steps at the same
time, Adam at 2e-4 with betas (0.5, 0.999), for 60 epochs, the last third with a rate that falls to zero, but for the
temporal discriminators.

NED's variant (Paraperas Papantoniou et al., CVPR 2022) is shown the shaded shape, too, and draws the face alone, black
elsewhere; the filmed frames that it is compared with are cut out likewise. It has neither flow nor temporal
discriminators. Published are 20 epochs at one rate for a network that knows other people already; for a start from
nothing 60 are suggested, which have head2head's falling rate here.

Differences: the flow is OpenCV's DIS (Kroeger et al., ECCV 2016) instead of FlowNet2; the geometry images are mien's;
the perceptual term is left out unless VGG-19's weights are given; there is no training on other people before. NED's
face is the mesh with a rim (:mod:`mien.rendering.neural_person`), not what a segmentation network finds; in training
it is the frame's and that of some other frame together, as in a film that is changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mien.errors import InputError
from mien.media.image import write_image
from mien.media.person_folder import NEURAL_FILE, RENDERER_RUN
from mien.media.sheet import contact_sheet
from mien.media.weights import load_state, load_tensors
from mien.progress import Progress
from mien.rendering.conditioning import Conditioner
from mien.rendering.neural import (
    FRAME_DISCRIMINATOR,
    NED_DISCRIMINATOR,
    TEMPORAL_DISCRIMINATOR,
    TEMPORAL_STEPS,
    VARIANTS,
    Discriminator,
    DiscriminatorConfig,
    Generator,
    NeuralConfig,
    NeuralLossWeights,
    NeuralRenderer,
    cut,
    discriminator_loss,
    feature_matching,
    flow_loss,
    generator_loss,
    temporal_groups,
    temporal_pictures,
    window_around,
    with_twins,
    without_twins,
)
from mien.rendering.neural_person import (
    NeuralPerson,
    NeuralWindowRenderer,
    neural_condition,
    save_neural_person,
)
from mien.rendering.vgg import Vgg19, perceptual_loss
from mien.training.datasets.person_frames import LEARN, STOP, PersonFrames, framing, open_frames
from mien.training.distributed import training_device, world
from mien.training.loop import Schedule, fit
from mien.training.options import TrainRendererOptions, TrainRendererResult
from mien.training.renderer_report import MOUTH_SHARE, finish, stopper
from mien.types import Array, Frame

_PART = 50  # frames, of which an epoch shows one clip
_CLIP, _DOUBLED_EVERY = 12, 5  # frames at first, epochs
_STEP = 4  # frames
_EPOCHS, _STEADY = 60, 2 / 3  # share of the epochs before the learning rate falls
_RATE, _BETAS = 2e-4, (0.5, 0.999)  # of Adam
_SHIFT, _SCALE = 0.01, 0.01  # how far conditions are moved and scaled at random
_TRIED, _SHOWN_EVERY = 16, 4  # frames of the validation, and how many of them stand for one of the preview
_PATIENCE = 1000  # epochs: adversarial training is not stopped by a distance of pixels


@dataclass(frozen=True)
class Variant:
    """What is trained.

    Attributes:
        generator: as published.
        discriminator: of frames and mouths, as published.
        temporal_steps: frames between those that each temporal discriminator sees; none, none.
        weights: of the losses.
    """

    generator: NeuralConfig
    discriminator: DiscriminatorConfig
    temporal_steps: tuple[int, ...]
    weights: NeuralLossWeights


HEAD2HEAD_TRAINING = Variant(VARIANTS["head2head"], FRAME_DISCRIMINATOR, TEMPORAL_STEPS, NeuralLossWeights())
NED_TRAINING = Variant(VARIANTS["ned"], NED_DISCRIMINATOR, (), NeuralLossWeights(flow=0.0))


def run(options: TrainRendererOptions, progress: Progress | None = None) -> TrainRendererResult:
    """Train, or go on training, and report.

    Raises:
        InputError: if the person or the numbers cannot be used, or the folder holds another run.
        FormatError: if data, checkpoints or VGG-19's weights are damaged.
    """
    if options.width < 1:
        raise InputError(f"--width {options.width}", "give 1 or more; 64 is the published size")
    if world()[1] > 1:
        raise InputError(
            f"{options.method} draws frame after frame and trains in one process", "start it without torchrun"
        )
    frames, device = open_frames(options.data), training_device()
    output = options.output or options.data / RENDERER_RUN
    output.mkdir(parents=True, exist_ok=True)
    n_epochs = options.epochs or _EPOCHS
    schedule = Schedule(
        n_epochs, 1, options.learning_rate or _RATE, checkpoint_every=1, keep=1, seed=options.seed
    )  # fmt: skip
    variant = NED_TRAINING if options.method == "ned" else HEAD2HEAD_TRAINING
    settings = {
        "method": options.method, "width": options.width, "loss": asdict(variant.weights), "frames": len(frames),
        "perceptual": options.perceptual is not None,
    }  # fmt: skip
    torch.manual_seed(options.seed)
    vgg = None if options.perceptual is None else read_vgg(options.perceptual).to(device)
    task = Head2HeadTask(frames, variant, options.width, vgg, output, device, options.seed, n_epochs)
    entries = fit(task, schedule, output, settings, progress, enough=stopper(options.minutes, _PATIENCE))
    person = task.person()
    save_neural_person(output / NEURAL_FILE, person)
    return finish(output / NEURAL_FILE, frames, NeuralWindowRenderer(person, device=str(device)), entries, progress)


def read_vgg(path: Path) -> Vgg19:
    """VGG-19 with the weights in a file: torchvision's own, or under the slices' names.

    Raises:
        InputError: if the file is missing.
        FormatError: if it holds something else.
    """
    network = Vgg19()
    tensors = load_tensors(path)
    wanted = {name.split(".", 1)[1]: name for name in network.state_dict()}  # slice3.7.weight is features.7.weight
    tensors = {wanted.get(name.removeprefix("features."), name): value for name, value in tensors.items()}
    load_state(network, {n: v for n, v in tensors.items() if not n.startswith("classifier.")}, path, "VGG-19")
    return network.eval()


class Networks(nn.Module):
    """Generator and discriminators, and how many epochs they have behind them."""

    n_epochs: Tensor

    def __init__(self, variant: Variant, width: int) -> None:
        super().__init__()
        temporal = replace(TEMPORAL_DISCRIMINATOR, width=width)
        self.G = Generator(replace(variant.generator, width=width))
        self.D = Discriminator(replace(variant.discriminator, width=width))
        self.Dm = Discriminator(replace(variant.discriminator, width=width))
        self.D_T = nn.ModuleList(Discriminator(temporal) for _ in variant.temporal_steps)
        self.register_buffer("n_epochs", torch.zeros((), dtype=torch.int64))

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Without the second names that residual blocks have for the same weights."""
        return without_twins(super().state_dict(*args, **kwargs))

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """What :meth:`state_dict` gave."""
        return super().load_state_dict(with_twins(state_dict), strict, assign)


@dataclass
class _Clip:
    """The clip that is being shown: its frames, and what of them has been drawn."""

    rows: npt.NDArray[np.int64]
    rng: np.random.Generator
    conditions: list[Tensor]
    real: list[Tensor]
    drawn: list[Tensor]


class Head2HeadTask:
    """Networks, clips and losses for :func:`mien.training.loop.fit`; an example is a step of 4 frames.

    Args:
        frames: of the person.
        variant: what to train.
        width: of the networks.
        vgg: of the perceptual loss, or ``None``.
        folder: of the run; the preview is written there.
        device: to train on.
        seed: of the clips.
        n_epochs: in all, for the falling rate.
    """

    def __init__(
        self,
        frames: PersonFrames,
        variant: Variant,
        width: int,
        vgg: Vgg19 | None,
        folder: Path,
        device: torch.device,
        seed: int,
        n_epochs: int,
    ) -> None:
        self.network = Networks(variant, width).to(device)
        network = self.network
        falling = [*network.G.parameters(), *network.D.parameters(), *network.Dm.parameters()]
        self.optimiser = torch.optim.Adam(
            [{"params": falling}, {"params": list(network.D_T.parameters())}], lr=_RATE, betas=_BETAS
        )
        self._frames, self._variant, self._weights = frames, variant, variant.weights
        self._vgg, self._folder = vgg, folder
        self._device, self._seed, self._last = device, seed, n_epochs
        self._conditioner = Conditioner(frames.rig, frames.size)
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]
        self._parts, self._trained = _parts_of(frames), frames.rows(LEARN)
        tried = frames.rows(STOP)
        self._tried = tried[: min(_TRIED, len(tried))]
        self._steps: Iterator[tuple[_Clip, list[int]]] = iter(())
        self._epoch = -1

    def __len__(self) -> int:
        """Steps of the coming epoch."""
        return sum(len(clip) // _STEP for clip in self._clips())

    def _clips(self) -> list[npt.NDArray[np.int64]]:
        """The clips of the epoch: from each part one, at random."""
        epoch = int(self.network.n_epochs)
        rng = np.random.default_rng((self._seed, epoch))
        longest = _CLIP * 2 ** (epoch // _DOUBLED_EVERY)
        clips = []
        for part in self._parts:
            length = min(longest, len(part)) // _STEP * _STEP
            start = int(rng.integers(len(part) - length + 1))
            clips.append(part[start : start + length])
        return [clips[i] for i in rng.permutation(len(clips))]

    def _walk(self) -> Iterator[tuple[_Clip, list[int]]]:
        for number, rows in enumerate(self._clips()):
            rng = np.random.default_rng((self._seed, int(self.network.n_epochs), number))
            clip = _Clip(rows, rng, [], [], [])
            for start in range(0, len(rows), _STEP):
                yield clip, list(range(start, start + _STEP))

    def loss(self, indices: npt.NDArray[np.int64]) -> dict[str, Tensor]:
        """The terms of the next step of the walk through the epoch's clips; in which order is the method's own."""
        epoch = int(self.network.n_epochs)
        if epoch != self._epoch:
            self._epoch, self._steps = epoch, self._walk()
            # The loop has just set the rate of all; that of the temporal discriminators stays as it is.
            falling = (self._last - epoch) / max((1 - _STEADY) * self._last, 1)
            self.optimiser.param_groups[0]["lr"] *= min(1.0, falling)
        clip, numbers = next(self._steps)
        terms: dict[str, Tensor] = {}
        for number in numbers:
            self._draw_frame(clip, number)
            self._add(terms, self._frame_terms(clip, number))
        terms = {name: value / _STEP for name, value in terms.items()}
        for which, step in enumerate(self._variant.temporal_steps):
            self._add(terms, self._temporal_terms(clip, numbers, which, step))
        clip.drawn = [picture.detach() for picture in clip.drawn]
        terms["total"] = sum(terms.values(), torch.zeros((), device=self._device))
        return terms

    @staticmethod
    def _add(terms: dict[str, Tensor], more: dict[str, Tensor]) -> None:
        for name, value in more.items():
            terms[name] = terms[name] + value if name in terms else value

    def _draw_frame(self, clip: _Clip, number: int) -> None:
        row = int(clip.rows[number])
        masked = self._variant.generator.masked
        condition = self._condition(row, self._frames.points[clip.rng.choice(self._trained)] if masked else None)
        clip.real.append(self._tensor(self._filmed(row, condition)) / 127.5 - 1)
        clip.conditions.append(self._tensor(self._jittered(condition, clip.rng)))
        seen = clip.conditions[max(0, number - 2) :]
        seen = [seen[0]] * (3 - len(seen)) + seen
        before = [picture.detach() for picture in clip.drawn[-2:]]
        previous = torch.cat([torch.zeros_like(p) for p in before[: 2 - len(before)]] + before, 1) if before else None
        clip.drawn.append(self.network.G(torch.cat(seen, 1), previous))

    def _frame_terms(self, clip: _Clip, number: int) -> dict[str, Tensor]:
        network, weights = self.network, self._weights
        condition, real, drawn = clip.conditions[number], clip.real[number], clip.drawn[number]
        terms = _judged(network.D, torch.cat([condition, real], 1), torch.cat([condition, drawn], 1), weights)
        lips = self._frames.points[clip.rows[number], self._frames.rig.contours["lips_outer"], :2]
        size = self._frames.size
        side = round(MOUTH_SHARE * size)
        corner = [window_around(lips, side, (size, size))]
        mouths = [cut(torch.cat([condition, picture], 1), corner, side) for picture in (real, drawn)]
        mouth = _judged(network.Dm, mouths[0], mouths[1], weights)
        terms |= {f"mouth_{name}": value for name, value in mouth.items()}
        if self._vgg is not None:
            terms["perceptual"] = weights.perceptual * perceptual_loss(self._vgg, drawn, real)
        if number and weights.flow:
            flow = self._flow_between(clip.real[number], clip.real[number - 1])
            before = clip.drawn[number - 1].detach()
            terms["flow"] = weights.flow * flow_loss(drawn, before, real, clip.real[number - 1], flow)
        return terms

    def _temporal_terms(self, clip: _Clip, numbers: list[int], which: int, step: int) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        for group in temporal_groups(numbers[-1] + 1, len(numbers), step):
            pairs = [(group[1], group[0]), (group[2], group[1])]
            flows = torch.stack([self._flow_between(clip.real[a], clip.real[b])[0] for a, b in pairs])[None]
            seen = [
                temporal_pictures(torch.stack([of[i][0] for i in group])[None], flows) for of in (clip.real, clip.drawn)
            ]
            judged = _judged(self.network.D_T[which], seen[0], seen[1], self._weights)
            self._add(terms, {f"temporal_{name}": value for name, value in judged.items()})
        return terms

    def _flow_between(self, picture: Tensor, before: Tensor) -> Tensor:
        """``(1, 2, S, S)`` px from each pixel of a picture to the same point in the one before."""
        grey = [
            cv2.cvtColor(((p[0].permute(1, 2, 0).cpu().numpy() + 1) * 127.5).astype(np.uint8), cv2.COLOR_RGB2GRAY)
            for p in (picture, before)
        ]
        return self._tensor(self._flow.calc(grey[0], grey[1], None))

    def _condition(self, row: int, own: Array | None = None) -> Array:
        return neural_condition(self._conditioner, self._variant.generator, self._frames.points[row], own)

    def _jittered(self, condition: Array, rng: np.random.Generator) -> Array:
        """Positions, eyes and shape each moved a little; the mask stays, for the filmed frame is cut out by it."""
        *pictures, mask = np.split(condition, range(3, self._variant.generator.condition_planes + 1, 3), -1)
        return np.concatenate([*(_moved(picture, rng) for picture in pictures), mask], -1)

    def _filmed(self, row: int, condition: Array) -> Frame:
        """What the generator should draw: the crop, black where it draws nothing."""
        crop = self._frames.crop(row)
        return crop * (condition[..., -1:] > 0) if self._variant.generator.masked else crop

    def _tensor(self, picture: Array | Frame) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(picture, np.float32)).to(self._device).permute(2, 0, 1)[None]

    def validate(self) -> dict[str, float]:
        """Distance to frames that are not trained on, drawn one after the other; the preview is written on the way."""
        self.network.n_epochs += 1
        conditions = [self._condition(int(row)) for row in self._tried]
        drawn = NeuralRenderer(self.network.G).render(conditions)
        total, psnr = [], []
        shown: list[Frame] = []
        for number, (row, condition, picture) in enumerate(zip(self._tried, conditions, drawn, strict=True)):
            filmed, positions = self._filmed(int(row), condition), condition[..., :3]
            face = self._conditioner.draw(self._frames.points[row]).mask > 0
            error = (filmed.astype(np.float32) - picture) / 255
            total.append(float(np.abs(error).mean()))
            psnr.append(float(-10 * np.log10((error[face] ** 2).mean())))
            if (number + 1) % _SHOWN_EVERY == 0:
                shown += [filmed, (positions * 255).astype(np.uint8), picture]
        if shown:
            sheet = contact_sheet(shown, ["filmed", "positions", "drawn"] * len(shown), columns=3, width=256)
            write_image(self._folder / "preview.png", sheet)
        return {"total": float(np.mean(total)), "face_psnr": float(np.mean(psnr))}

    def person(self) -> NeuralPerson:
        """The person as learned so far."""
        clip = max(self._frames.person.clips, key=len)
        return NeuralPerson(self.network.G.cpu().eval(), self._frames.size, clip.identity, framing(self._frames))


def _judged(discriminator: nn.Module, real: Tensor, drawn: Tensor, weights: NeuralLossWeights) -> dict[str, Tensor]:
    """What the discriminator and the generator each want less of; neither's gradient reaches the other's weights."""
    said_real = discriminator(real)
    d_real, d_drawn = discriminator_loss(said_real, discriminator(drawn.detach()))
    discriminator.requires_grad_(False)
    said_drawn = discriminator(drawn)
    discriminator.requires_grad_(True)
    return {
        "discriminator": (d_real + d_drawn) / 2,
        "adversarial": generator_loss(said_drawn),
        "feature_matching": weights.feature_matching * feature_matching(said_real, said_drawn),
    }


def _parts_of(frames: PersonFrames) -> list[npt.NDArray[np.int64]]:
    """Stretches of at most 50 frames to train on, each of one shot.

    Raises:
        InputError: if no stretch is long enough for a step.
    """
    rows = frames.rows(LEARN)
    breaks = np.flatnonzero(~frames.goes_on[rows[:-1]]) + 1
    stretches = np.split(rows, breaks)
    parts = [part for stretch in stretches for part in np.split(stretch, range(_PART, len(stretch), _PART))]
    parts = [part for part in parts if len(part) >= _STEP]
    if not parts:
        raise InputError(f"{frames.person.folder}: no {_STEP} frames in a row to train on", "prepare longer clips")
    return parts


def _moved(picture: Array, rng: np.random.Generator) -> Array:
    size = len(picture)
    scale = 1 + rng.uniform(-_SCALE, _SCALE)
    shift = rng.uniform(-_SHIFT, _SHIFT, 2) * size + (1 - scale) * size / 2
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return np.asarray(cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR), np.float32)
