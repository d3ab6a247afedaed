"""The perceptual loss: the published numbers."""

import torch
from reference import Reference

from mien.rendering.vgg import Vgg19, perceptual_loss


def test_numbers_are_the_official_ones():
    reference = Reference("losses_head2head")
    vgg = Vgg19()
    vgg.load_state_dict(reference.state("vgg"), strict=True)
    fake, real = (torch.from_numpy(reference.input(name)) for name in ("B_fake", "B_real"))
    with torch.inference_mode():
        features = vgg(fake)
        loss = perceptual_loss(vgg, fake, real)
    for number, feature in enumerate(features, 1):
        assert reference.relative_error(f"vgg_slice{number}", feature.numpy()) < 1e-5
    assert reference.relative_error("vgg", loss.reshape(1).numpy()) < 1e-5


def test_only_the_first_picture_learns_and_equal_ones_cost_nothing():
    torch.manual_seed(0)
    vgg = Vgg19()
    images, target = (torch.rand(1, 3, 32, 32, requires_grad=True) for _ in range(2))
    perceptual_loss(vgg, images, target).backward()
    assert images.grad is not None and images.grad.abs().max() > 0
    assert target.grad is None and all(p.grad is None for p in vgg.parameters())
    assert perceptual_loss(vgg, images, images).item() == 0
