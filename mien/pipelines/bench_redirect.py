"""``mien bench redirect``: how fast NED translates, and how fast the warp renderer redraws a filmed face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from mien.pipelines.bench_row import BenchRow, table, timed
from mien.progress import Progress, track
from mien.types import FaceMotion

if TYPE_CHECKING:
    from mien.pipelines.bench import BenchOptions

_TRANSLATED, _DRAWN = 3000, 24  # frames


@dataclass(frozen=True)
class BenchRedirectResult:
    """Speeds.

    Attributes:
        rows: NED's networks that ship, NED's at the published size, and rendering at every size.
    """

    rows: list[BenchRow]

    def __str__(self) -> str:
        return table(self.rows)


def bench_redirect(options: BenchOptions, progress: Progress | None = None) -> BenchRedirectResult:
    """Measure translation and rendering.

    Raises:
        InputError: if the portrait cannot be used.
    """
    from mien.media.image import read_image
    from mien.motion.ned_reversible import style_of, translate
    from mien.perception.tracking import track_image
    from mien.pipelines.samples import sample_portrait
    from mien.rendering.video import WarpVideoRenderer

    rows = []
    rng = np.random.default_rng(0)
    motion = FaceMotion.zeros(_TRANSLATED, 25.0)
    motion = replace(motion, expression=rng.uniform(0, 0.3, motion.expression.shape).astype(np.float32))
    style = style_of(motion.with_columns({"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8}))
    rows.append(_row("translation, default", _TRANSLATED, lambda: translate(motion, style), options.repeats))
    for size in track(options.sizes, progress, "bench", len(options.sizes)):
        portrait = track_image(read_image(options.portrait or sample_portrait(), max_side=size))
        smile = portrait.rest.with_columns({"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8, "browInnerUp": 0.6})
        wanted = reduce(FaceMotion.concat, [smile] * _DRAWN)
        rows.append(
            _row(
                f"warp, {size} px",
                _DRAWN,
                lambda: list(WarpVideoRenderer().render([portrait] * _DRAWN, wanted)),  # noqa: B023  (run at once)
                options.repeats,
            )
        )
    return BenchRedirectResult(rows)


def _row(setting: str, n_frames: int, run: Callable[[], object], repeats: int) -> BenchRow:
    run()  # compiles and warms; not counted
    return BenchRow.of("redirect", setting, n_frames, [timed(run) for _ in range(repeats)])
