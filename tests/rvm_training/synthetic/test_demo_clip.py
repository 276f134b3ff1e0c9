"""The demo's clip: true masks, real motion, the same every time."""

import dataclasses

import av
import numpy as np
import pytest

from rvm_training.__main__ import main
from rvm_training.synthetic.demo_clip import DemoClipConfig, render, write

SMALL = DemoClipConfig(frames=6, height=96, width=128)


def test_masks_show_two_objects_that_move_across_the_picture():
    masks = [mask for _, mask in render(SMALL)]
    assert all(set(np.unique(mask)) == {0, 1, 2} for mask in masks)
    columns = [[np.nonzero(mask == label)[1].mean() for mask in masks] for label in (1, 2)]
    assert columns[0][-1] - columns[0][0] > 0.5 * SMALL.width  # Left to right.
    assert columns[1][0] - columns[1][-1] > 0.5 * SMALL.width  # Right to left.


def test_one_object_hides_a_part_of_the_other_but_never_most_of_it():
    person = [int((mask == 1).sum()) for _, mask in render(dataclasses.replace(SMALL, frames=30))]
    assert 0.5 < min(person) / person[0] < 0.7
    assert person[-1] / person[0] > 0.98


def test_procedural_textures_move_as_the_photographs_do():
    made, other = (list(render(dataclasses.replace(SMALL, procedural=seed))) for seed in (0, 1))
    for (frame, mask), (photograph, true_mask), (different, _) in zip(made, render(SMALL), other, strict=True):
        assert (mask != true_mask).mean() < 0.01
        assert not np.array_equal(frame, photograph)
        assert not np.array_equal(frame, different)


def test_the_background_moves_too():
    (first, mask), *_, (last, last_mask) = render(SMALL)
    still = (mask == 0) & (last_mask == 0)
    assert np.abs(first[still].astype(int) - last[still]).mean() > 10


def test_rendering_is_deterministic():
    for (a, a_mask), (b, b_mask) in zip(render(SMALL), render(SMALL), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a_mask, b_mask)


def test_the_video_and_its_masks_are_aligned(tmp_path):
    video, mask_path = write(tmp_path / "clip", SMALL)
    with np.load(mask_path, allow_pickle=False) as file:
        masks = file["masks"]
    with av.open(str(video)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == SMALL.fps
    assert masks.shape == (6, 96, 128)
    assert len(frames) == 6
    for got, (expected, mask), stored in zip(frames, render(SMALL), masks, strict=True):
        np.testing.assert_array_equal(stored, mask)
        assert np.abs(got.astype(int) - expected).mean() < 6  # H.264 and 4:2:0 colour.


def test_the_command_writes_both_files(tmp_path, capsys):
    assert main(["demo-clip", "--out", str(tmp_path), "--frames", "2"]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "clip.mp4"), str(tmp_path / "masks.npz")]
    assert main(["demo-clip", "--out", str(tmp_path), "--frames", "1"]) == 1


@pytest.mark.parametrize("change", [{"frames": 1}, {"height": 97}, {"width": 10}, {"fps": 0}])
def test_sizes_that_cannot_be_written_are_refused(change):
    with pytest.raises(ValueError, match="demo clip: got"):
        DemoClipConfig(**change)
