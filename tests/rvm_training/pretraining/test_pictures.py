"""The grid of reconstructions shows what it says."""

import numpy as np
import pytest
import torch

from rvm_model.rvm import Reconstruction
from rvm_training.pretraining.pictures import reconstruction_grid, titled


def test_each_target_has_a_row_of_sources_visible_patches_reconstruction_target_and_error():
    frames = torch.zeros(2, 4, 8, 8, 3)
    for index, level in enumerate((0.0, 0.2, 0.6, 0.8)):
        frames[0, index] = level
    mask = torch.ones(3, 2, 2, 2, dtype=torch.bool)
    mask[0, 0, 0, 1] = False
    out = Reconstruction(torch.full((3, 2, 8, 8, 3), 0.4), mask, torch.empty(0), torch.empty(0))
    grid = reconstruction_grid(frames, out, sources=2, patch=4)
    assert grid.shape == (4 * 10, 6 * 10, 3)

    def cell(row, column):
        return grid[10 * row : 10 * row + 8, 10 * column : 10 * column + 8, 0]

    first, last, seen, made, target, error = (cell(0, column) for column in range(6))
    assert {*first.flat} == {0}
    assert {*last.flat} == {51}
    assert {*seen[:4, 4:].flat} == {153}
    assert {*seen[4:].flat, *seen[:4, :4].flat} == {128}
    assert {*made.flat} == {102}
    assert {*target.flat} == {153}
    assert {*error.flat} == {102}, "0.4 - 0.6 is darker than grey"
    assert {*cell(1, 4).flat} == {204}


@pytest.mark.parametrize(("width", "factor"), [(300, 3), (660, 1), (1200, 1)])
def test_titles_stand_above_and_pixels_stay_whole(width, factor):
    grid = np.random.default_rng(0).integers(0, 256, (40, width, 3), np.uint8)
    picture = titled(grid)
    body = picture[-40 * factor :]
    assert np.array_equal(body[::factor, ::factor], grid)
    assert np.array_equal(body[factor - 1 :: factor, factor - 1 :: factor], grid)
    title = picture[: -40 * factor]
    columns = np.array_split(title.min(axis=(0, 2)), 6)
    assert all(column[2:-6].min() < 128 and column[-3:].min() == 255 for column in columns), "names, with room between"
