"""The perceptual loss of pix2pixHD, which several image networks are trained with.

Paper: Wang, Liu, Zhu, Tao, Kautz, Catanzaro, "High-Resolution Image Synthesis and Semantic Manipulation with
Conditional GANs", CVPR 2018, section 3.5; after Johnson, Alahi, Fei-Fei, ECCV 2016. Network: VGG-19 (Simonyan,
Zisserman, ICLR 2015) up to its thirteenth convolution.

mien ships no weights of it; without ImageNet weights the loss is left out of training.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

# Where in VGG-19's list of layers each slice begins and how many channels its convolutions give; None is a pooling.
_SLICES: tuple[tuple[int, tuple[int | None, ...]], ...] = (
    (0, (64,)),
    (2, (64, None, 128)),
    (7, (128, None, 256)),
    (12, (256, 256, 256, None, 512)),
    (21, (512, 512, 512, None, 512)),
)
_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)


class Vgg19(nn.Module):
    """VGG-19 in five slices, each ending with the first activation of a new resolution.

    Keys are ``slice1.0.weight`` … ``slice5.28.bias``; the number is the layer's place in VGG-19's own list.
    """

    def __init__(self) -> None:
        super().__init__()
        n_in = 3
        for number, (first, channels) in enumerate(_SLICES, 1):
            part, place = nn.Sequential(), first
            for n_out in channels:
                if n_out is None:
                    part.add_module(str(place), nn.MaxPool2d(2))
                    place += 1
                    continue
                part.add_module(str(place), nn.Conv2d(n_in, n_out, 3, padding=1))
                part.add_module(str(place + 1), nn.ReLU())
                n_in, place = n_out, place + 2
            self.add_module(f"slice{number}", part)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """``(N, 3, H, W)`` to the activations after each slice."""
        features = []
        for number in range(1, len(_SLICES) + 1):
            images = self.get_submodule(f"slice{number}")(images)
            features.append(images)
        return features


def perceptual_loss(vgg: Vgg19, images: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of the activations, weighted 1/32, 1/16, 1/8, 1/4 and 1 from first slice to last.

    Args:
        vgg: with ImageNet weights.
        images: ``(N, 3, H, W)`` as the generators put them out, in [-1, 1]; like the official code, without ImageNet's
            mean and deviation.
        target: same shape; no gradient flows into it.
    """
    pairs = zip(_WEIGHTS, vgg(images), vgg(target), strict=True)
    losses = [weight * F.l1_loss(ours, theirs.detach()) for weight, ours, theirs in pairs]
    return sum(losses[1:], losses[0])
