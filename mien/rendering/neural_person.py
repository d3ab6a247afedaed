"""A person whom head2head was trained on: generator, whose face, and how it lies in the windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from mien.engine import Engine, fast
from mien.face.rig import load_rig
from mien.media.weights import save_weights, stored_weights
from mien.rendering.conditioning import Conditioner
from mien.rendering.neural import HEAD2HEAD, Generator, NeuralRenderer
from mien.rendering.person import Framing, Wanted
from mien.types import Array, FaceIdentity, Frame

NEURAL_FILE = "head2head.safetensors"
"""Name of a trained person in the folder of a run."""

NEURAL_FORMAT = 1
_HEADER = "mien.Head2HeadPerson"
_TWIN = ".resnetblock_sequential."


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
    state = person.generator.state_dict()
    tensors = {name: value.detach().cpu().clone() for name, value in state.items() if _TWIN not in name}
    identity, framing = person.identity, person.framing
    header = {
        "version": NEURAL_FORMAT,
        "width": person.generator.config.width,
        "size": person.size,
        "rig": identity.rig,
        "betas": identity.betas.tolist(),
        "residual": np.round(identity.residual, 7).tolist(),
        "side": framing.side,
        "middle": framing.middle.tolist(),
        "camera": framing.camera.tolist(),
    }
    save_weights(path, tensors, _HEADER, header)


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
        generator = Generator(replace(HEAD2HEAD, width=int(header["width"])))
        twins = {name.replace(".conv_block.", _TWIN): value for name, value in tensors.items()}
        generator.load_state_dict({**tensors, **twins})
        identity = FaceIdentity(header["rig"], np.array(header["betas"]), np.array(header["residual"]))
        framing = Framing(
            float(header["side"]), np.array(header["middle"], np.float32), np.array(header["camera"], np.float32)
        )
        return NeuralPerson(generator.eval(), int(header["size"]), identity, framing)


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
        config = person.generator.config
        self._renderer = NeuralRenderer(fast(person.generator.to(torch.device(device)), engine), config)

    def windows(self, wanted: Iterable[Wanted]) -> Iterator[Frame]:
        """``(S, S, 3)`` for every window wanted, in order."""
        return self._renderer.render(self._condition(each) for each in wanted)

    def _condition(self, wanted: Wanted) -> Array:
        return self._conditioner.draw(wanted.points).head2head()
