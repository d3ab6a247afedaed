"""``mien bench renderer``: person renderers with the fast engine against plain float32, in one run.

Weights are random, which compute as long as trained ones; the person is the sample portrait, moved.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import MissingExtraError
from mien.pipelines.bench_row import BenchRow
from mien.progress import Progress, track

if TYPE_CHECKING:
    from mien.pipelines.bench import BenchOptions
    from mien.rendering.person import Wanted

_SIZE = 256
_FRAMES = 24
_MEMORY = 8


@dataclass(frozen=True)
class EngineRow:
    """One renderer with both engines on 256 x 256 px.

    Attributes:
        name: what ran.
        engine: what was chosen on this machine.
        float32_fps: frames per second in float32.
        fps: frames per second of the chosen engine.
        spread: (slowest - fastest) / middle run of the chosen engine.
        psnr: dB between the pictures of the two.
    """

    name: str
    engine: str
    float32_fps: float
    fps: float
    spread: float
    psnr: float


@dataclass(frozen=True)
class RendererBench:
    """What was measured, and on how many processor cores."""

    threads: int
    renderers: list[EngineRow]

    @property
    def rows(self) -> list[BenchRow]:
        """Its lines of the table of everything."""
        return [
            BenchRow(r.name, f"{r.engine}, {self.threads} cores", r.fps, r.spread, {"float32": r.float32_fps / r.fps})
            for r in self.renderers
        ]

    def __str__(self) -> str:
        lines = ["| renderer | engine | cores | float32, fps | engine, fps | ratio | PSNR to float32, dB |"]
        lines += ["|---|---|---|---|---|---|---|"]
        lines += [
            f"| {r.name} | {r.engine} | {self.threads} | {r.float32_fps:.2f} | {r.fps:.2f} "
            f"| {r.fps / r.float32_fps:.1f} | {r.psnr:.1f} |"
            for r in self.renderers
        ]
        return "\n".join(lines)


def bench_renderer(options: BenchOptions, progress: Progress) -> RendererBench:
    """Time the fast renderer, all of it, and head2head's generator of official size.

    Raises:
        MissingExtraError: if PyTorch is missing.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtraError("person renderers need PyTorch", "pip install 'mien[networks]'") from error
    torch.manual_seed(0)
    jobs = [("fast renderer", _FRAMES, _fast(options)), ("head2head++ generator", 1, _head2head())]
    rows = []
    for name, n_frames, (plain, quick, engine) in track(jobs, progress, "renderer", len(jobs)):
        truth, drawn = plain(), quick()  # warms up; not counted
        squares = float(np.mean((truth - drawn) ** 2))
        seconds: list[list[float]] = [[], []]
        for _ in range(options.repeats):
            for job, times in zip((plain, quick), seconds, strict=True):
                start = time.perf_counter()
                job()
                times.append(time.perf_counter() - start)
        slow, middle = (statistics.median(times) for times in seconds)
        rows.append(
            EngineRow(
                name=name,
                engine=engine,
                float32_fps=n_frames / slow,
                fps=n_frames / middle,
                spread=(max(seconds[1]) - min(seconds[1])) / middle,
                psnr=float(10 * np.log10(1 / max(squares, 1e-12))),
            )
        )
    return RendererBench(torch.get_num_threads(), rows)


Drawing = tuple[Callable[[], Any], Callable[[], Any], str]
"""What draws in float32 and by the engine, pictures in [0, 1]; the engine's name."""


def _fast(options: BenchOptions) -> Drawing:
    import torch

    from mien.engine import engine_of, fast
    from mien.rendering.fast import FastConfig, FastNetwork, FastPerson, FastRenderer
    from mien.rendering.memory import FaceMemory
    from mien.rendering.person import Framing

    pictures, wanted, portrait = _moved_portrait(options)
    network = FastNetwork(FastConfig(_SIZE))
    torch.nn.init.normal_(network.out.weight, std=0.02)
    memory = FaceMemory(
        pictures[:_MEMORY],
        np.stack([each.points for each in wanted[:_MEMORY]]),
        np.stack([each.points for each in wanted[:_MEMORY]]),
        _stacked([each.keys for each in wanted[:_MEMORY]]),
    )
    framing = Framing(0.3, np.zeros(3, np.float32), portrait.camera)
    person = FastPerson(network.eval(), memory, portrait.identity, framing, {})
    renderers = [FastRenderer(person, "float32"), FastRenderer(person)]

    def drawing(renderer: FastRenderer) -> Callable[[], Any]:
        return lambda: np.stack(list(renderer.windows(wanted))) / 255

    return drawing(renderers[0]), drawing(renderers[1]), engine_of(fast(network))


def _head2head() -> Drawing:
    import torch

    from mien.engine import engine_of, fast
    from mien.rendering.neural import Generator

    network = Generator().eval()
    quick = fast(network)
    condition, previous = torch.rand(1, 18, _SIZE, _SIZE), torch.rand(1, 6, _SIZE, _SIZE) * 2 - 1

    def drawing(module: torch.nn.Module) -> Callable[[], Any]:
        def draw() -> Any:
            with torch.inference_mode():
                return module(condition, previous).numpy() / 2 + 0.5

        return draw

    return drawing(network), drawing(quick), engine_of(quick)


def _moved_portrait(options: BenchOptions) -> tuple[Any, list[Wanted], Any]:
    """The sample portrait's pictures in some motion, the same as windows that are wanted, and itself."""
    from matplotlib import cbook

    from mien.face.rig import load_rig
    from mien.media.image import read_image
    from mien.media.person_folder import cut_crop
    from mien.perception.tracking import track_image
    from mien.rendering.conditioning import screen_points
    from mien.rendering.memory import N_POINTS, face_keys
    from mien.rendering.person import Wanted
    from mien.rendering.warp import WarpRenderer
    from mien.types import FaceMotion

    path = options.portrait or str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    whole = track_image(read_image(path))
    low, high = whole.landmarks[:, :2].min(0), whole.landmarks[:, :2].max(0)
    side = 2 * float((high - low)[1])
    box = np.array([*((low + high) / 2 - side / 2), side])
    portrait = track_image(cut_crop(whole.image, box, _SIZE))
    curve = np.linspace(0, 0.6, _FRAMES)
    motion = FaceMotion.zeros(_FRAMES, 25.0).with_columns({"jawOpen": curve, "eyeBlinkLeft": curve[::-1]})
    cameras = np.repeat(portrait.camera[None], _FRAMES, 0)
    points = screen_points(load_rig(), portrait.identity, motion, cameras)[:, :N_POINTS]
    keys = face_keys(load_rig(), motion)
    wanted = [Wanted(points[i], keys[[i]], modelled=True) for i in range(_FRAMES)]
    return np.stack(list(WarpRenderer(portrait).render(motion))), wanted, portrait


def _stacked(keys: Sequence[Any]) -> Any:
    from mien.rendering.memory import FaceKeys

    return FaceKeys(np.concatenate([k.mouth for k in keys]), np.concatenate([k.eyes for k in keys]))
