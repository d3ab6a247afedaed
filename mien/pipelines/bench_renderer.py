"""``mien bench renderer``: person renderers in each engine, in one run.

Weights are random, which compute as long as trained ones; the person is the sample portrait, moved.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import needs_torch
from mien.pipelines.bench_engines import EngineBench, compare, psnr
from mien.progress import Progress

if TYPE_CHECKING:
    from mien.engine import Engine
    from mien.pipelines.bench import BenchOptions
    from mien.rendering.memory import FaceKeys
    from mien.types import Array, Frame, Portrait

_SIZE = 256
_FRAMES = 24
_MEMORY = 8


def bench_renderer(options: BenchOptions, progress: Progress) -> EngineBench:
    """Time the fast renderer, all of it, and head2head's generator of official size.

    Raises:
        MissingExtraError: if PyTorch is missing.
    """
    with needs_torch("a person renderer"):
        import torch
    torch.manual_seed(0)
    rows = compare("fast renderer", _fast(options), psnr, options.repeats, progress, _FRAMES, int8=False)
    rows += compare("head2head++ generator", _head2head(), psnr, options.repeats, progress)
    return EngineBench(torch.get_num_threads(), rows)


Maker = Callable[["Engine"], Callable[[int], Any]]
"""What draws in an engine, pictures in [0, 1]."""


def _fast(options: BenchOptions) -> Maker:
    import torch

    from mien.rendering.fast import FastConfig, FastNetwork, FastPerson, FastRenderer
    from mien.rendering.memory import FaceMemory
    from mien.rendering.person import Framing, Wanted

    pictures, points, keys, portrait = _moved_portrait(options)
    network = FastNetwork(FastConfig(_SIZE))
    torch.nn.init.normal_(network.out.weight, std=0.02)
    memory = FaceMemory(pictures[:_MEMORY], points[:_MEMORY], points[:_MEMORY], keys[list(range(_MEMORY))])
    wanted = [Wanted(points[i], keys[[i]], modelled=True) for i in range(_FRAMES)]
    framing = Framing(0.3, np.zeros(3, np.float32), portrait.camera)
    person = FastPerson(network.eval(), memory, portrait.identity, framing, {})

    def make(engine: Engine) -> Callable[[int], Any]:
        renderer = FastRenderer(person, engine)
        return lambda run: np.stack(list(renderer.windows(wanted))) / 255

    return make


def _head2head() -> Maker:
    import torch

    from mien.engine import fast
    from mien.rendering.neural import Generator

    network = Generator().eval()
    condition, previous = torch.rand(1, 18, _SIZE, _SIZE), torch.rand(1, 6, _SIZE, _SIZE) * 2 - 1

    def make(engine: Engine) -> Callable[[int], Any]:
        quick = fast(network, engine)

        @torch.inference_mode()
        def draw(run: int) -> Any:
            return quick(condition, previous).numpy() / 2 + 0.5

        return draw

    return make


def _moved_portrait(options: BenchOptions) -> tuple[Frame, Array, FaceKeys, Portrait]:
    """The sample portrait's pictures in some motion, landmarks and keys of the same, and itself."""
    from mien.face.rig import load_rig
    from mien.media.image import read_image
    from mien.media.person_folder import cut_crop
    from mien.perception.tracking import track_image
    from mien.pipelines.samples import sample_portrait
    from mien.rendering.conditioning import screen_points
    from mien.rendering.memory import N_POINTS, face_keys
    from mien.rendering.warp import WarpRenderer
    from mien.types import FaceMotion

    whole = track_image(read_image(options.portrait or sample_portrait()))
    low, high = whole.landmarks[:, :2].min(0), whole.landmarks[:, :2].max(0)
    side = 2 * float((high - low)[1])
    box = np.array([*((low + high) / 2 - side / 2), side])
    portrait = track_image(cut_crop(whole.image, box, _SIZE))
    curve = np.linspace(0, 0.6, _FRAMES)
    motion = FaceMotion.zeros(_FRAMES, 25.0).with_columns({"jawOpen": curve, "eyeBlinkLeft": curve[::-1]})
    cameras = np.repeat(portrait.camera[None], _FRAMES, 0)
    points = screen_points(load_rig(), portrait.identity, motion, cameras)[:, :N_POINTS]
    return np.stack(list(WarpRenderer(portrait).render(motion))), points, face_keys(load_rig(), motion), portrait
