"""Colours of labels."""

import numpy as np
import pytest
import torch

from rvm_model.heads.palette import overlay, palette


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
