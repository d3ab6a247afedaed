"""Adam as TensorFlow 1 writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor


class TensorFlowAdam(torch.optim.Adam):
    """Adam (Kingma and Ba 2015) in the "epsilon hat" form of the paper's section 2.

    TensorFlow adds epsilon to the square root of the second moment before its bias is taken out, PyTorch after. For
    losses in square metres, whose gradients are tiny, one step differs by most of the learning rate. In PyTorch's form
    the same step needs ``epsilon / sqrt(1 - beta2^t)``.

    Args:
        parameters: what is trained.
        lr: learning rate.
        betas: decay of the two moments.
        epsilon: TensorFlow's epsilon.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__(parameters, lr=lr, betas=betas, eps=epsilon)
        self.epsilon = epsilon

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    def step(self, closure: Any = None) -> Any:
        """One step; see :class:`torch.optim.Adam`."""
        for group in self.param_groups:
            taken = next((int(self.state[p]["step"]) for p in group["params"] if p in self.state), 0)
            group["eps"] = self.epsilon / (1 - group["betas"][1] ** (taken + 1)) ** 0.5
        return super().step(closure)
