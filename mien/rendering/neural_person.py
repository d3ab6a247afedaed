"""A person whom head2head, or NED's variant of it, was trained on: generator, whose face, how it lies in the windows.

NED's variant draws the face alone and needs to be told where: in the mesh's outline, and :data:`RIM` beyond it, where
a film's frame has the face and where it is wanted. So an opened jaw is not cut off, and nothing of the old chin shows
under a raised one. (The published program draws where the film has the face, which it looks for with a network.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from mien.engine import Engine, fast
from mien.face.rig import load_rig
from mien.media.weights import save_weights, stored_weights
from mien.rendering.conditioning import Conditioner
from mien.rendering.neural import VARIANTS, Generator, NeuralConfig, NeuralRenderer, with_twins, without_twins
from mien.rendering.person import Framing, Wanted
from mien.types import Array, FaceIdentity, Frame

NEURAL_FORMAT = 2  # 1 had head2head alone
_HEADER = "mien.Head2HeadPerson"

RIM = 1 / 16
"""Of the window's side: how far NED's variant draws beyond the face's outline."""


@dataclass(frozen=True, eq=False)
class NeuralPerson:
    """A trained person.

    Attributes:
        generator: in eval mode.
        size: side of its pictures, px.
        identity: the person's neutral face.
        framing: of the windows.
    """

    generator: Generator
    size: int
    identity: FaceIdentity
    framing: Framing


def save_neural_person(path: str | Path, person: NeuralPerson) -> None:
    """Write ``.safetensors`` with the official names, so that ``load_generator`` reads one of official size too."""
    identity, framing, config = person.identity, person.framing, person.generator.config
    header = {
        "version": NEURAL_FORMAT,
        "variant": "ned" if config.masked else "head2head",
        "width": config.width,
        "size": person.size,
        "rig": identity.rig,
        "betas": identity.betas.tolist(),
        "residual": np.round(identity.residual, 7).tolist(),
        "side": framing.side,
        "middle": framing.middle.tolist(),
        "camera": framing.camera.tolist(),
    }
    save_weights(path, without_twins(person.generator.state_dict()), _HEADER, header)


def load_neural_person(path: str | Path) -> NeuralPerson:
    """Read what :func:`save_neural_person` wrote.

    Raises:
        InputError: if there is no such file.
        FormatError: if it is damaged, something else, or newer.
    """
    with stored_weights(
        path,
        _HEADER,
        NEURAL_FORMAT,
        what="a head2head person of mien",
        remedy="train one with `mien train renderer --method head2head`",
    ) as (header, tensors):
        variant = VARIANTS[header.get("variant", "head2head")]
        generator = Generator(replace(variant, width=int(header["width"])))
        generator.load_state_dict(with_twins(tensors))
        identity = FaceIdentity(header["rig"], np.array(header["betas"]), np.array(header["residual"]))
        framing = Framing(
            float(header["side"]), np.array(header["middle"], np.float32), np.array(header["camera"], np.float32)
        )
        return NeuralPerson(generator.eval(), int(header["size"]), identity, framing)


def neural_condition(conditioner: Conditioner, config: NeuralConfig, points: Array, own: Array | None = None) -> Array:
    """``(S, S, config.planes)`` what a generator is shown of one frame.

    Args:
        conditioner: of the person's rig.
        config: of the generator.
        points: ``(478, 3)`` window px, as they are drawn.
        own: ``(478, 3)`` window px, as a film's frame has them; of interest where only the face is drawn.
    """
    condition = conditioner.draw(points)
    if not config.masked:
        return condition.head2head()
    planes = condition.ned()
    face = condition.mask if own is None else np.maximum(condition.mask, conditioner.draw(own).mask)
    reach = 2 * round(RIM * len(face)) + 1
    planes[..., -1] = cv2.dilate(face, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    return planes


class NeuralWindowRenderer:
    """A :class:`~mien.rendering.person.WindowRenderer` that draws each window from the ones before it.

    Args:
        person: who.
        engine: what to compute in.
        device: where to, such as ``"cuda"``.
    """

    recurrent = True

    def __init__(self, person: NeuralPerson, engine: Engine = "auto", device: str = "cpu") -> None:
        self.rig = load_rig(person.identity.rig)
        self.size, self.identity, self.framing = person.size, person.identity, person.framing
        self._conditioner = Conditioner(self.rig, self.size)
        self._config = person.generator.config
        self._renderer = NeuralRenderer(fast(person.generator.to(torch.device(device)), engine), self._config)

    def windows(self, wanted: Iterable[Wanted]) -> Iterator[Frame]:
        """``(S, S, 3)`` for every window wanted, in order."""
        return self._renderer.render(self._planes(each) for each in wanted)

    def covered(self, wanted: Wanted) -> Array | None:
        """See :meth:`~mien.rendering.person.WindowRenderer.covered`."""
        return self._planes(wanted)[..., -1] if self._config.masked else None

    def _planes(self, wanted: Wanted) -> Array:
        return neural_condition(self._conditioner, self._config, wanted.points, wanted.own)
