"""Pictures at an image's size."""

import pytest
import torch

from rvm_model.heads.pictures import enlarge


def test_a_picture_is_interpolated_between_its_pixels():
    rgb = torch.tensor([[[0, 100, 255], [200, 100, 0]]], dtype=torch.uint8)
    # Pixel centres of four columns lie at -0.25, 0.25, 0.75 and 1.25 of the two.
    assert enlarge(rgb, 1, 4).tolist() == [[[0, 100, 255], [50, 100, 191], [150, 100, 64], [200, 100, 0]]]


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (4, 1), (5, 7), (40, 30)])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (33, 41), (120, 161)])
def test_it_is_the_resize_of_floats_to_a_level(shape, size):
    rgb = torch.randint(0, 256, (*shape, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    picture = enlarge(rgb, *size)
    exact = torch.nn.functional.interpolate(rgb.permute(2, 0, 1)[None].float(), size=size, mode="bilinear")[0]
    assert picture.shape == (*size, 3)
    assert picture.is_contiguous()
    assert (picture - exact.permute(1, 2, 0)).abs().max() <= 1
