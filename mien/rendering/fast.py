"""The ``fast`` person renderer: a small network that mends what one person's memory shows.

Own method, after ideas of head2head++ (geometry images), NED (mouth detail) and image-based rendering. For every
wanted frame :mod:`mien.rendering.memory` warps a few of the person's own frames onto the pose; the network sees them
beside the geometry images and says how to mix them and what to add. It has not to learn what the person looks like, so
minutes on a plain processor are enough, and it is small enough for live speed.

    planes in      mixed 3, nearest 3, positions 3, lids and pupils 2, shape 1, mask 1
    network        U-Net on 2 x 2 blocks of pixels (pixel unshuffle), batch norm, 0.9 M parameters
    picture out    w · mixed + (1 - w) · nearest + change

Batch norm folds into the convolutions, and what is left computes well in bfloat16.

Convention: pictures are ``(N, C, S, S)`` in [0, 1]; S is a multiple of 16.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mien.engine import Engine, fast
from mien.face.rig import Rig, load_rig
from mien.media.weights import part_of, save_weights, stored_weights
from mien.rendering.memory import FaceKeys, FaceMemory, Recalled, Recaller
from mien.rendering.person import Framing, Wanted
from mien.rendering.video import in_order
from mien.types import Array, FaceIdentity, Frame

N_PLANES = 13
FAST_FORMAT = 1
"""Version of the file that :func:`save_person` writes."""

_HEADER = "mien.FastPerson"
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class FastConfig:
    """The network.

    Attributes:
        size: side of its pictures, px.
        widths: channels at half the size and at each halving after that.
    """

    size: int = 256
    widths: tuple[int, ...] = (32, 64, 96, 128)


def _convolution(n_in: int, n_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True))


class FastNetwork(nn.Module):
    """What the memory shows, and the geometry, to a picture."""

    def __init__(self, config: FastConfig = FastConfig()) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        steps = list(pairwise(widths))
        self.head = _convolution(4 * N_PLANES, widths[0])
        self.down = nn.ModuleList(nn.Sequential(_convolution(a, b, 2), _convolution(b, b)) for a, b in steps)
        self.up = nn.ModuleList(nn.Sequential(_convolution(a + b, a), _convolution(a, a)) for a, b in reversed(steps))
        self.out = nn.Conv2d(widths[0], 16, 3, padding=1)
        nn.init.zeros_(self.out.weight)  # training starts from the memory's own picture
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)

    def forward(self, planes: Tensor) -> Tensor:
        """``(N, 13, S, S)`` of :func:`planes_of` to ``(N, 3, S, S)``, not limited to [0, 1]."""
        x = self.head(F.pixel_unshuffle(planes, 2))
        passed = []
        for down in self.down:
            passed.append(x)
            x = down(x)
        for up in self.up:
            x = up(torch.cat([F.interpolate(x, scale_factor=2.0), passed.pop()], 1))
        said = F.pixel_shuffle(self.out(x), 2)
        share = torch.sigmoid(said[:, :1])
        mixed, nearest = planes[:, :3], planes[:, 3:6]
        return nearest + share * (mixed - nearest) + said[:, 1:]

    def folded(self) -> nn.Module:
        """A copy in eval mode with batch norm folded into the convolutions, for drawing."""
        network = FastNetwork(self.config)
        network.load_state_dict(self.state_dict())
        network.eval()
        for block in network.modules():
            if not isinstance(block, nn.Sequential):
                continue
            convolution, norm = block[0], block[1]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                block[0], block[1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()
        return network.to(next(self.parameters()).device)


def planes_of(recalled: Recalled) -> Array:
    """``(13, S, S)`` what the network sees of one frame."""
    condition = recalled.condition
    parts = [
        recalled.mixed, recalled.nearest, condition.positions, condition.eyes[..., :2], condition.shape[..., None],
        condition.mask[..., None],
    ]  # fmt: skip
    return np.ascontiguousarray(np.concatenate(parts, -1).transpose(2, 0, 1), np.float32)


# ------------------------------------------------------------------------------------------------------------ losses


@dataclass(frozen=True)
class FastLossWeights:
    """How much each term counts.

    Attributes:
        edges: of the differences between neighbouring pixels.
        steadiness: of the change from one frame to the next.
        mouth: how much more a pixel of the mouth counts.
        eyes: of an eye.
        surroundings: of a pixel outside the face.
    """

    edges: float = 0.5
    steadiness: float = 0.3
    mouth: float = 3.0
    eyes: float = 2.0
    surroundings: float = 0.3


def attention(rig: Rig, points: Array, mask: Array, weights: FastLossWeights) -> Array:
    """``(1, S, S)`` how much each pixel of a frame counts: mouth and eyes most, the surroundings little.

    Args:
        rig: the built-in one.
        points: ``(478, 3)`` its landmarks in window px.
        mask: ``(S, S)`` of the face.
        weights: whose ``mouth``, ``eyes`` and ``surroundings`` are meant.
    """
    size = mask.shape[0]
    soft = cv2.blur(mask, (size // 16, size // 16))
    total = weights.surroundings + (1 - weights.surroundings) * soft
    rows = np.arange(size, dtype=np.float32)
    for name, weight in (("lips_outer", weights.mouth), ("eye_left", weights.eyes), ("eye_right", weights.eyes)):
        corners = points[rig.contours[name], :2]
        middle, reach = (corners.max(0) + corners.min(0)) / 2, 0.7 * np.ptp(corners, axis=0) + size * 0.025
        across, down = (np.abs(rows - middle[k]) / reach[k] for k in (0, 1))
        total = total + weight * np.clip((1.15 - np.maximum(across[None], down[:, None])) / 0.3, 0, 1)
    return np.asarray(total[None], np.float32)


def losses(drawn: Tensor, real: Tensor, attention: Tensor, weights: FastLossWeights) -> dict[str, Tensor]:
    """The terms for frames in pairs of neighbours: 0 and 1, 2 and 3, and so on.

    Charbonnier distance; absolute difference of neighbouring pixels' differences; absolute difference of the change
    from frame to frame. All are means weighted by ``attention`` ``(N, 1, S, S)``.
    """
    error = drawn - real
    colour = (torch.sqrt(error**2 + 1e-4) * attention).mean()
    edges = ((error[..., 1:] - error[..., :-1]).abs() * attention[..., 1:]).mean()
    edges = edges + ((error[..., 1:, :] - error[..., :-1, :]).abs() * attention[..., 1:, :]).mean()
    steadiness = ((error[1::2] - error[::2]).abs() * attention[::2]).mean()
    total = colour + weights.edges * edges + weights.steadiness * steadiness
    return {"total": total, "colour": colour, "edges": edges, "steadiness": steadiness}


# ------------------------------------------------------------------------------------------------------------ person


@dataclass(frozen=True, eq=False)
class FastPerson:
    """A trained person.

    Attributes:
        network: in eval mode.
        memory: frames of theirs.
        identity: their neutral face.
        framing: of the windows.
        record: what it was made of.
    """

    network: FastNetwork
    memory: FaceMemory
    identity: FaceIdentity
    framing: Framing
    record: dict[str, Any]


def save_person(path: str | Path, person: FastPerson) -> None:
    """Write ``.safetensors``: weights and memory, the rest in its header; the memory's pictures as JPEG."""
    memory, identity = person.memory, person.identity
    encoded = [_jpeg(picture) for picture in memory.pictures]
    tensors = {f"network.{name}": value for name, value in person.network.state_dict().items()}
    arrays = {
        "memory.jpeg": np.concatenate(encoded),
        "memory.lengths": np.array([len(content) for content in encoded], np.int64),
        "memory.points": memory.points,
        "memory.modelled": memory.modelled,
        "memory.mouth": memory.keys.mouth,
        "memory.eyes": memory.keys.eyes,
        "identity.betas": identity.betas,
        "identity.residual": identity.residual,
        "framing.middle": person.framing.middle,
        "framing.camera": person.framing.camera,
    }
    tensors |= {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}
    header = {
        "version": FAST_FORMAT,
        "config": asdict(person.network.config),
        "rig": identity.rig,
        "side": person.framing.side,
        "record": person.record,
    }
    save_weights(path, tensors, _HEADER, header)


def load_person_renderer(path: str | Path) -> FastPerson:
    """Read what :func:`save_person` wrote.

    Raises:
        InputError: if there is no such file.
        FormatError: if it is damaged, something else, or newer.
    """
    with stored_weights(
        path, _HEADER, FAST_FORMAT, what="a trained person of mien", remedy="train one with `mien train renderer`"
    ) as (header, tensors):
        config = FastConfig(header["config"]["size"], tuple(header["config"]["widths"]))
        network = FastNetwork(config)
        network.load_state_dict(part_of(tensors, "network."))
        arrays = {name: value.numpy() for name, value in tensors.items() if not name.startswith("network.")}
        ends = np.cumsum(arrays["memory.lengths"])
        contents = np.split(arrays["memory.jpeg"], ends[:-1])
        memory = FaceMemory(
            np.stack([_picture(content) for content in contents]),
            arrays["memory.points"],
            arrays["memory.modelled"],
            FaceKeys(arrays["memory.mouth"], arrays["memory.eyes"]),
        )
        identity = FaceIdentity(header["rig"], arrays["identity.betas"], arrays["identity.residual"])
        framing = Framing(float(header["side"]), arrays["framing.middle"], arrays["framing.camera"])
        return FastPerson(network.eval(), memory, identity, framing, header["record"])


def _jpeg(picture: Frame) -> npt.NDArray[np.uint8]:
    done, content = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )
    assert done
    return np.asarray(content, np.uint8).reshape(-1)


def _picture(content: npt.NDArray[np.uint8]) -> Frame:
    picture = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None
    if picture is None:
        raise ValueError("a picture of the memory is damaged")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


class FastRenderer:
    """A :class:`~mien.rendering.person.WindowRenderer` of a trained person.

    Args:
        person: who.
        engine: what to compute in.
        device: where to, such as ``"cuda"``.
    """

    recurrent = False

    def __init__(self, person: FastPerson, engine: Engine = "auto", device: str = "cpu") -> None:
        self.rig = load_rig(person.identity.rig)
        self.size = person.network.config.size
        self.identity, self.framing = person.identity, person.framing
        self._memory = person.memory
        self._device = torch.device(device)
        self._network = fast(person.network.folded().to(self._device), engine, int8=False)
        self._recaller = Recaller(self.rig, self.size)

    def windows(self, wanted: Iterable[Wanted]) -> Iterator[Frame]:
        """``(S, S, 3)`` for every window wanted; the memory is warped for the next ones while the network draws."""
        for recalled in in_order(self._recall, wanted, 2):
            yield self._mend(recalled)

    def covered(self, wanted: Wanted) -> None:
        """All of it."""

    def _recall(self, wanted: Wanted) -> Recalled:
        choice = self._memory.choose(wanted.keys.mouth[0], wanted.keys.eyes[0])
        return self._recaller.recall(self._memory, choice, wanted.points, modelled=wanted.modelled)

    @torch.inference_mode()  # not around the loop: the mode would stay on in the caller between two frames
    def _mend(self, recalled: Recalled) -> Frame:
        planes = torch.from_numpy(planes_of(recalled))[None].to(self._device)
        picture = self._network(planes)[0].clamp(0, 1).mul(255).round().byte()
        return np.ascontiguousarray(picture.permute(1, 2, 0).cpu().numpy())
