"""DSM: valence and arousal become the expression of one person.

Paper: Solanki and Roussos, "Deep Semantic Manipulation of Facial Videos", 2021 (arXiv 2111.07902). This file is its
expression decoder and what is done with it; the labels, regions and the B-spline are in :mod:`mien.motion.va_path`,
training is in :mod:`mien.training.recipes.dsm`. No code or weights of the paper were published.

What the paper does. A network with six hidden layers, trained on one person, turns valence and arousal of a frame into
its 3D expression. Inside a stretch of a video the decoder's expression takes the place of the one that was filmed;
identity, head, camera and eyes stay.

What is done here beyond it, each for a reason:
    *Difference instead of replacement* (:meth:`Dsm.moved`): the decoder returns the mean face at a point, so replacing
    freezes the mouth. What is added instead is the decoder's face at the wanted point less its face at the point where
    the person is: what the two numbers do not explain (speech, habits) stays as it was filmed. Where the wanted point
    is the own one nothing changes at all. :meth:`Dsm.replaced` is the paper's way.
    *Doubt*: a network learns what happened by chance as well. With little film around a point its face counts for less
    and the mean face for more; how much film is needed is measured on the film itself (:attr:`Dsm.doubt`).
    *Coverage*: a network answers anywhere, also where the person was never seen. :meth:`Dsm.coverage` says how well a
    point is known; :meth:`Dsm.face` goes over to a generic face as that falls. Which generic face is the caller's
    choice: any function of valence and arousal.
    Gaze is the video's, and so are the lids in the paper's way: it takes the eyes from the source as well. In ours they
    go with the rest, for heavy lids are what calm looks like; blinks are kept with the speech.

Not established by the paper, chosen here: the loss (mean squared error) and dropout (none in the faithful recipe).

Convention: ``va`` is ``(T, 2)``, valence first, in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mien.errors import InputError
from mien.media.weights import part_of, save_weights, stored_weights
from mien.types import ARKIT_NAMES, Array, FaceMotion

DSM_FORMAT = 2
"""Version of the file that :func:`save_dsm` writes."""

PAPER_LAYERS = (4096, 2048, 1024, 512, 128, 64)
"""Width of the paper's hidden layers."""

GAZE = ("eyeLook",)
"""Beginnings of the expressions that always stay the video's."""

EYES = ("eyeBlink", *GAZE)
"""Those that stay the video's in the paper's way."""

REACH = 0.1
"""Standard deviation of the bell, on the disc of radius 1, with which a frame vouches for the points around it."""

ENOUGH = 1.0
"""Seconds of film that make a point half trusted."""

Generic = Callable[[Array], Array]
"""``(T, 2)`` valence and arousal to the ``(T, E)`` expression that anybody might show."""

_HEADER = "mien.dsm"
_CELL = 0.02  # the cloud is kept by squares of this side
_BLOCK = 4096  # rows at a time, so that memory stays flat


@dataclass(frozen=True)
class DsmConfig:
    """Sizes, and what the outputs mean.

    Attributes:
        expression_names: of the outputs; the paper has 30 (LSFM), its re-implementations 50 (FLAME).
        rig: whose expressions they are.
        hidden: width of each hidden layer.
        dropout: share of values that each hidden layer loses in training.
        estimator: who read valence and arousal of the frames that it was trained on.
    """

    expression_names: tuple[str, ...] = ARKIT_NAMES
    rig: str = "builtin"
    hidden: tuple[int, ...] = PAPER_LAYERS
    dropout: float = 0.0
    estimator: str = "own"


# ----------------------------------------------------------------------------------------------------------- network


class ExpressionDecoder(nn.Module):
    """Fully connected layers with ReLU, and a linear one."""

    def __init__(self, config: DsmConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 2
        for wider in config.hidden:
            layers += [nn.Linear(width, wider), nn.ReLU()]
            if config.dropout:
                layers.append(nn.Dropout(config.dropout))
            width = wider
        self.hidden = nn.Sequential(*layers)
        self.output = nn.Linear(width, len(config.expression_names))

    def forward(self, va: Tensor) -> Tensor:
        """``(B, 2)`` to ``(B, E)``."""
        expression: Tensor = self.output(self.hidden(va))
        return expression


# ----------------------------------------------------------------------------------------------------------- adapter


@dataclass(frozen=True, eq=False)
class Dsm:
    """A person's decoder.

    Attributes:
        config: sizes and names.
        network: in eval mode.
        cloud: ``(M, 3)`` valence, arousal and seconds for every small square of the disc that the person was seen in.
        own: ``(E,)`` what the person's faces have on average over the generic ones: their resting face.
        mean: ``(E,)`` the person's mean face.
        doubt: seconds of film around a point that weigh as much as the mean face; 0 is the paper's way.
    """

    config: DsmConfig
    network: ExpressionDecoder
    cloud: Array
    own: Array
    mean: Array = field(default_factory=lambda: np.zeros(1, np.float32))
    doubt: float = 0.0

    def decode(self, va: Array) -> Array:
        """``(T, E)`` the person's faces: the network's, and the nearer to the mean face the less film there is."""
        trust = self._share_known(va, self.doubt)[:, None] if self.doubt else np.float32(1)
        return np.asarray(self.mean + trust * (self.network_faces(va) - self.mean), np.float32)

    def network_faces(self, va: Array) -> Array:
        """``(T, E)`` as the network gives them."""
        with torch.no_grad():
            parts = [self.network(torch.from_numpy(np.array(va[i : i + _BLOCK], np.float32)))
                     for i in range(0, len(va), _BLOCK)]  # fmt: skip
        empty = np.zeros((0, len(self.config.expression_names)), np.float32)
        return np.concatenate([empty, *(part.numpy() for part in parts)])

    def coverage(self, va: Array) -> Array:
        """``(T,)`` in [0, 1) how well each point is known: ``n / (n + ENOUGH)``.

        ``n`` is the number of seconds that the person was seen around the point (:data:`REACH`).
        """
        return self._share_known(va, ENOUGH)

    def _share_known(self, va: Array, enough: float) -> Array:
        """``n / (n + enough)``."""
        known = np.zeros(len(va), np.float32)
        for i in range(0, len(va), _BLOCK):
            apart = np.square(np.asarray(va)[i : i + _BLOCK, None] - self.cloud[None, :, :2]).sum(2)
            known[i : i + _BLOCK] = np.exp(-apart / (2 * REACH**2)) @ self.cloud[:, 2]
        return known / (known + np.float32(enough))

    def face(self, va: Array, generic: Generic) -> Array:
        """``(T, E)`` in [0, 1] the network's face where it is known, else the generic one moved by :attr:`own`.

        Where the film says little about the person's moods (:attr:`doubt`), more seconds are needed to know a point.
        """
        known = self._share_known(va, max(ENOUGH, self.doubt))[:, None]
        mixed = known * self.network_faces(va) + (1 - known) * (self.own + generic(va))
        return np.asarray(np.clip(mixed, 0, 1), np.float32)

    def moved(self, motion: FaceMotion, own: Array, wanted: Array, generic: Generic) -> FaceMotion:
        """A motion taken from one way over the disc to another; what valence and arousal do not explain stays.

        Args:
            motion: as it was tracked, absolute.
            own: ``(T, 2)`` where the person is, as the estimator that the decoder was trained with reads it.
            wanted: ``(T, 2)`` where they shall be.
            generic: the face where the person is not known.

        Returns:
            The same frames with other expressions in [0, 1]; exactly the motion's where ``wanted`` is ``own``.

        Raises:
            InputError: if the motion is of another rig than the decoder.
        """
        change = self.face(wanted, generic) - self.face(own, generic)
        return self._with(motion, np.clip(self._expression(motion) + change, 0, 1), GAZE)

    def replaced(self, motion: FaceMotion, wanted: Array) -> FaceMotion:
        """The paper's way: the decoder's expressions in the place of the motion's.

        Raises:
            InputError: if the motion is of another rig than the decoder.
        """
        self._expression(motion)
        return self._with(motion, np.clip(self.decode(wanted), 0, 1), EYES)

    def _expression(self, motion: FaceMotion) -> Array:
        """``(T, E)`` of the motion in the decoder's order."""
        if motion.rig != self.config.rig or not set(self.config.expression_names) <= set(motion.expression_names):
            raise InputError(
                f"the motion is of rig {motion.rig!r}, the decoder of {self.config.rig!r}", "retarget the motion first"
            )
        return np.stack([motion.column(name) for name in self.config.expression_names], 1)

    def _with(self, motion: FaceMotion, expression: Array, stay: tuple[str, ...]) -> FaceMotion:
        """The motion with these expressions, but for those that begin like one that shall stay."""
        names = self.config.expression_names
        return motion.with_columns({n: c for n, c in zip(names, expression.T, strict=True) if not n.startswith(stay)})


def cloud_of(va: Array, seconds: Array) -> Array:
    """``(M, 3)`` where frames ``(T, 2)`` that last ``(T,)`` lie on the disc, as :attr:`Dsm.cloud` keeps it."""
    cells, which = np.unique(np.round(np.asarray(va, np.float64) / _CELL), axis=0, return_inverse=True)
    lasting = np.bincount(which.ravel(), seconds, len(cells))
    return np.concatenate([cells * _CELL, lasting[:, None]], 1).astype(np.float32)


# -------------------------------------------------------------------------------------------------------------- files


def save_dsm(path: str | Path, model: Dsm) -> None:
    """Write ``.safetensors``: weights, cloud, resting and mean face, and the configuration in the header."""
    tensors = {f"network.{name}": value for name, value in model.network.state_dict().items()}
    tensors |= {name: torch.from_numpy(np.array(getattr(model, name))) for name in ("cloud", "own", "mean")}
    save_weights(path, tensors, _HEADER, {"version": DSM_FORMAT, "config": asdict(model.config), "doubt": model.doubt})


def load_dsm(path: str | Path) -> Dsm:
    """Read what :func:`save_dsm` wrote.

    Raises:
        InputError: if there is no such file.
        FormatError: if it is something else, damaged, or of a newer format.
    """
    with stored_weights(
        path, _HEADER, DSM_FORMAT, what="a decoder of `mien train dsm`", remedy="train one with `mien train dsm`"
    ) as (header, tensors):
        config = _config(header["config"])
        network = ExpressionDecoder(config)
        network.load_state_dict(part_of(tensors, "network."))
        arrays = {name: tensors[name].numpy() for name in ("cloud", "own", "mean") if name in tensors}
        return Dsm(config, network.eval(), **arrays, doubt=float(header.get("doubt", 0.0)))  # version 1 knew no doubt


def _config(content: Mapping[str, Any]) -> DsmConfig:
    config = DsmConfig(**content)
    return replace(config, expression_names=tuple(config.expression_names), hidden=tuple(config.hidden))
