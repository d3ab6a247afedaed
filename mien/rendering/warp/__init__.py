"""The photo itself moves: see :mod:`mien.rendering.warp.renderer` and docs/rendering.md."""

from mien.rendering.warp.renderer import WarpRenderer

__all__ = ["WarpRenderer"]
