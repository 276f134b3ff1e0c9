"""Colours of labels."""

import numpy as np
import pytest
import torch

from rvm_model.heads.palette import PIXELS_AT_ONCE, overlay, palette


def test_a_label_keeps_its_colour_whatever_the_count():
    np.testing.assert_array_equal(palette(200)[:7], palette(7))


def test_the_first_colours_are_far_apart():
    colours = palette(16).astype(int)
    distances = np.abs(colours[:, None] - colours[None]).sum(-1) + 1000 * np.eye(16, dtype=int)
    assert distances.min() > 60


def test_overlay_mixes_by_alpha_exactly():
    image = torch.full((1, 2, 3), 100, dtype=torch.uint8)
    labels = torch.tensor([[0, 1]], dtype=torch.uint8)
    colours = torch.tensor([[200, 0, 100], [0, 255, 0]], dtype=torch.uint8)
    assert overlay(image, labels, 0.25, colours).tolist() == [[[125, 75, 100], [75, 139, 75]]]
    assert torch.equal(overlay(image, labels, 0.0, colours), image)
    assert torch.equal(overlay(image, labels, 1.0, colours), colours[labels.long()])


def test_sizes_that_differ_are_refused():
    with pytest.raises(ValueError, match="expected one size"):
        overlay(torch.zeros(2, 2, 3), torch.zeros(2, 3), 0.5, torch.zeros(1, 3))


def random_picture(height: int, width: int, labels: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(labels)
    image = torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8)
    return image, torch.randint(0, labels, (height, width), generator=generator)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 0.77, 1.0])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_every_level_and_colour_is_the_rounded_mean(alpha, dtype):
    image, labels = random_picture(150, PIXELS_AT_ONCE // 100, labels=40)  # One and a half of what is blended together.
    colours = torch.as_tensor(palette(40))
    exact = (1 - alpha) * image.double() + alpha * colours[labels].double()
    found = overlay(image, labels.to(dtype), alpha, colours)
    assert (found.dtype, found.shape) == (torch.uint8, image.shape)
    assert (found - exact).abs().max() <= 0.5 + 1e-4
    assert torch.equal(found, torch.lerp(image.float(), colours[labels].float(), alpha).round().to(torch.uint8))


def test_a_view_of_an_image_is_taken_and_left_as_it_was():
    image, labels = random_picture(20, 30, labels=5)
    kept, colours = image.clone(), torch.as_tensor(palette(5))
    flipped = overlay(image.flip(1)[:, ::2], labels.flip(1)[:, ::2], 0.5, colours)
    assert torch.equal(flipped, overlay(image, labels, 0.5, colours).flip(1)[:, ::2])
    assert torch.equal(image, kept)


@pytest.mark.gpu
def test_a_gpu_blends_alike():
    image, labels = random_picture(100, 200, labels=9)
    colours = torch.as_tensor(palette(9))
    found = overlay(image.cuda(), labels.cuda(), 0.3, colours.cuda()).cpu()
    assert (found.int() - overlay(image, labels, 0.3, colours).int()).abs().max() <= 1
