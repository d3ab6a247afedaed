"""``mien train renderer``: a person's folder becomes a renderer that draws that person, method ``fast``.

Each example is a pair of neighbouring frames. What the memory shows of them is made without the frames around them
(half a second each way), for a frame that is to be drawn later is not in the memory either. Half of the pairs go by the
landmarks seen, half by the motion alone, for both are asked of the renderer: to change a video, and to draw a motion.
Squares of 128 px are learned from, most of them on mouth and eyes, so that a step is quick. The weights that are kept
are the running mean of those that are trained; that replaces a schedule, so training can stop at any minute.
"""

from __future__ import annotations

import copy
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mien.engine import has_fast_bfloat16
from mien.media.image import write_image
from mien.media.person_folder import FAST_FILE, RENDERER_RUN
from mien.media.sheet import contact_sheet
from mien.progress import Progress
from mien.rendering.fast import (
    FastConfig,
    FastLossWeights,
    FastNetwork,
    FastPerson,
    FastRenderer,
    attention,
    losses,
    planes_of,
    save_person,
)
from mien.rendering.memory import FaceMemory, Recalled, Recaller, spread_out
from mien.training.datasets.person_frames import LEARN, STOP, PersonFrames, framing, open_frames
from mien.training.distributed import joined, share, shared, training_device, world
from mien.training.loop import Schedule, fit
from mien.training.options import TrainRendererOptions, TrainRendererResult
from mien.training.renderer_report import finish, stopper
from mien.types import Array, Frame

_MEMORY = 192  # frames remembered
_APART = 0.5  # seconds between a frame and those it is recalled from, in training
_LEFT = 8  # frames that it may always be recalled from
_WINDOW = 128  # px learned from at a time
_PER_EPOCH = 256  # pairs
_BATCH = 4  # pairs
_LEARNING_RATE = 2e-3
_MOST_EPOCHS = 1000
_PATIENCE = 20  # epochs without a better validation
_SHOWN = 4  # frames of the preview
_TRIED = 16  # frames of the validation
_SLOWEST = 0.995  # of the running mean


def run(options: TrainRendererOptions, progress: Progress | None = None) -> TrainRendererResult:
    """Train, or go on training, and report.

    Raises:
        InputError: if the person or the numbers cannot be used, or the folder holds another run.
        FormatError: if data or checkpoints are damaged.
    """
    frames, device = open_frames(options.data), training_device()
    output = options.output or options.data / RENDERER_RUN
    output.mkdir(parents=True, exist_ok=True)
    schedule = Schedule(
        options.epochs or _MOST_EPOCHS, _BATCH, options.learning_rate or _LEARNING_RATE, checkpoint_every=1, keep=2,
        seed=options.seed,
    )  # fmt: skip
    config, weights = FastConfig(frames.size), FastLossWeights()
    settings = {"method": "fast", "config": asdict(config), "loss": asdict(weights), "frames": len(frames)}
    with joined(device):
        torch.manual_seed(options.seed)
        task = PersonTask(frames, config, weights, output, device, options.seed)
        entries = fit(task, schedule, output, settings, progress, enough=stopper(options.minutes, _PATIENCE))
    person = task.person()
    if world()[0] == 0:
        save_person(output / FAST_FILE, person)
    return finish(output / FAST_FILE, frames, FastRenderer(person, device=str(device)), entries, progress)


class Averaged(nn.Module):
    """A network and the running mean of its weights."""

    def __init__(self, live: FastNetwork) -> None:
        super().__init__()
        self.live = live
        self.mean = copy.deepcopy(live).requires_grad_(False)

    @property
    def n_steps(self) -> int:
        """Steps that batch norm has seen; part of the weights, so a resumed run knows it."""
        return int(self.live.head[1].num_batches_tracked)  # type: ignore[arg-type]

    @torch.no_grad()
    def follow(self) -> None:
        """Move the mean towards the weights as they are now."""
        n = self.n_steps
        keep = min(_SLOWEST, (1 + n) / (10 + n))
        for mean, live in zip(self.mean.state_dict().values(), self.live.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(live, 1 - keep)
            else:
                mean.copy_(live)


class PersonTask:
    """Network, frames and losses for :func:`mien.training.loop.fit`.

    Args:
        frames: of the person.
        config: of the network.
        weights: of the losses.
        folder: of the run; the preview is written there.
        device: to train on.
        seed: of what is learned when.
    """

    def __init__(
        self,
        frames: PersonFrames,
        config: FastConfig,
        weights: FastLossWeights,
        folder: Path,
        device: torch.device,
        seed: int,
    ) -> None:
        self.network = Averaged(FastNetwork(config)).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.Adam(self.network.live.parameters(), betas=(0.9, 0.99))
        self.optimiser.register_step_post_hook(lambda *_: self.network.follow())
        self._shared = shared(self.network.live)
        self._frames, self._weights, self._folder, self._device, self._seed = frames, weights, folder, device, seed
        self._recaller = Recaller(frames.rig, frames.size)
        rows = frames.rows(LEARN)
        self._remembered = rows[spread_out(frames.keys[rows], _MEMORY)]
        self.memory = remember(frames, self._remembered)
        self._pairs = np.random.default_rng(seed).permutation(rows[frames.goes_on[rows]])
        tried = frames.rows(STOP)
        self._tried = tried[np.linspace(0, len(tried) - 1, min(_TRIED, len(tried))).astype(np.int64)]

    def __len__(self) -> int:
        """Pairs of an epoch, which is a stretch of the way through all of them."""
        return _PER_EPOCH

    def loss(self, indices: npt.NDArray[np.int64]) -> dict[str, Tensor]:
        """The terms of some pairs."""
        step = self.network.n_steps
        begun = step // (_PER_EPOCH // _BATCH) * _PER_EPOCH
        planes: list[Array] = []
        real: list[Array] = []
        counts: list[Array] = []
        for index in share(indices):
            rng = np.random.default_rng((self._seed, begun, int(index)))
            row = int(self._pairs[(begun + index) % len(self._pairs)])
            for parts, example in zip((planes, real, counts), self._pair(row, rng), strict=True):
                parts += example
        batch = [self._tensor(np.stack(parts)) for parts in (planes, real, counts)]
        with torch.autocast(self._device.type, torch.bfloat16, enabled=has_fast_bfloat16(self._device)):
            drawn = self._shared(batch[0])
        return losses(drawn.float(), batch[1], batch[2], self._weights)

    def _pair(self, row: int, rng: np.random.Generator) -> tuple[list[Array], list[Array], list[Array]]:
        """The same square of two neighbouring frames: planes, picture, attention."""
        modelled = bool(rng.integers(2))
        recalled = [self._recalled(r, modelled=modelled) for r in (row, row + 1)]
        points = self._points(row, modelled=modelled)
        counts = attention(self._frames.rig, points, recalled[0].condition.mask, self._weights)
        top, left = _somewhere(counts[0], rng)
        window = (slice(None), slice(top, top + _WINDOW), slice(left, left + _WINDOW))
        planes = [planes_of(each)[window] for each in recalled]
        real = [_planes(self._frames.crop(r))[window] for r in (row, row + 1)]
        return planes, real, [counts[window]] * 2

    def _points(self, row: int, *, modelled: bool) -> Array:
        points: Array = (self._frames.modelled if modelled else self._frames.points)[row]
        return points

    def _recalled(self, row: int, *, modelled: bool) -> Recalled:
        frames, keys = self._frames, self._frames.keys
        apart = np.abs(frames.index[self._remembered] - frames.index[row]).astype(np.float64)
        apart[frames.clip[self._remembered] != frames.clip[row]] = np.inf
        gap = min(_APART * frames.person.clips[frames.clip[row]].fps, np.sort(apart)[-_LEFT] - 1)
        choice = self.memory.choose(keys.mouth[row], keys.eyes[row], apart > gap)
        return self._recaller.recall(self.memory, choice, self._points(row, modelled=modelled), modelled=modelled)

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(array).to(self._device, memory_format=torch.channels_last)

    def person(self) -> FastPerson:
        """The person as learned so far."""
        frames = self._frames
        clip = max(frames.person.clips, key=len)
        record = {"clips": [{"name": c.name, "sha256": c.sha256} for c in frames.person.clips]}
        network = copy.deepcopy(self.network.mean).to("cpu").eval()
        return FastPerson(network, self.memory, clip.identity, framing(frames), record)

    def validate(self) -> dict[str, float]:
        """Loss and faithfulness on the frames that say when to stop; the preview is written on the way."""
        self.network.mean.eval()
        sums: dict[str, list[float]] = {}
        shown: list[Frame] = []
        for number, row in enumerate(self._tried):
            recalled = self._recalled(int(row), modelled=False)
            crop = self._frames.crop(int(row))
            counts = attention(self._frames.rig, self._frames.points[row], recalled.condition.mask, self._weights)
            with torch.autocast(self._device.type, torch.bfloat16, enabled=has_fast_bfloat16(self._device)):
                drawn = self.network.mean(self._tensor(planes_of(recalled)[None])).float()
            real = self._tensor(_planes(crop)[None])
            error = (drawn.clamp(0, 1) - real).square().mean(1)[0]
            face = torch.from_numpy(recalled.condition.mask).to(self._device) > 0
            distance = torch.sqrt((drawn - real).square() + 1e-4) * self._tensor(counts[None])
            sums.setdefault("total", []).append(float(distance.mean()))
            sums.setdefault("face_psnr", []).append(float(-10 * torch.log10(error[face].mean())))
            if number % -(-len(self._tried) // _SHOWN) == 0:
                picture = drawn[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
                shown += [crop, (recalled.mixed * 255).astype(np.uint8), np.ascontiguousarray(picture)]
        captions = ["filmed", "from memory", "drawn"] * _SHOWN
        if world()[0] == 0:
            write_image(self._folder / "preview.png", contact_sheet(shown, captions, columns=3, width=256))
        return {name: float(np.mean(values)) for name, values in sums.items()}


def _planes(picture: Frame) -> Array:
    """``(3, S, S)`` in [0, 1]."""
    return np.asarray(picture.transpose(2, 0, 1), np.float32) / np.float32(255)


def remember(frames: PersonFrames, rows: npt.NDArray[np.int64]) -> FaceMemory:
    """A memory of some frames."""
    pictures = np.stack([frames.crop(int(row)) for row in rows])
    return FaceMemory(pictures, frames.points[rows], frames.modelled[rows], frames.keys[rows])


def _somewhere(counts: Array, rng: np.random.Generator) -> tuple[int, int]:
    """Top and left of a square to learn from; pixels that count more are more likely in it."""
    size = len(counts)
    if size <= _WINDOW:
        return 0, 0
    chances = np.cumsum(counts.reshape(-1), dtype=np.float64)
    place = int(np.searchsorted(chances, rng.random() * chances[-1]))
    shift = rng.integers(-_WINDOW // 3, _WINDOW // 3 + 1, 2)
    corner = np.clip(np.array(divmod(place, size)) + shift - _WINDOW // 2, 0, size - _WINDOW)
    top, left = (corner // 2 * 2).tolist()  # the network works on blocks of 2 x 2
    return top, left
