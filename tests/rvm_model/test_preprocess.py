"""The one resize between camera and engine."""

import numpy as np
import pytest
import torch

from rvm_model.preprocess import preprocess, resize


def test_a_frame_of_the_right_size_is_passed_on_untouched():
    frame = torch.randint(0, 256, (32, 48, 3), dtype=torch.uint8)
    assert resize(frame, 32, 48) is frame


def test_shrinking_by_a_whole_factor_weighs_a_neighbourhood_and_keeps_channels_apart():
    frame = torch.zeros(32, 32, 3, dtype=torch.uint8)
    frame[..., 0] = 10
    frame[:, 16:, 1] = 200
    small = resize(frame, 8, 8)
    assert small.shape == (8, 8, 3)
    assert (small[..., 0] == 10).all()
    assert (small[:, :3, 1] == 0).all()
    assert (small[:, 5:, 1] == 200).all()
    assert (small[..., 2] == 0).all()


def test_shrinking_is_antialiased():
    stripes = (torch.arange(64) % 2 * 255).to(torch.uint8)
    small = resize(stripes[None, :, None].expand(64, 64, 3).contiguous(), 16, 16).float()
    assert (small[:, 1:-1] - 127.5).abs().max() < 8  # Without antialiasing single stripes would come through.


def test_enlarging_interpolates_between_pixels():
    frame = torch.tensor([0, 100], dtype=torch.uint8)[None, :, None].expand(1, 2, 3).contiguous()
    assert resize(frame, 1, 4)[0, :, 0].tolist() == [0, 25, 75, 100]


def test_frames_of_several_cameras_become_one_batch():
    frames = [np.full((30, 50, 3), value, np.uint8) for value in (7, 9)] + [np.zeros((16, 16, 3), np.uint8)]
    frames[1].flags.writeable = False  # As a message's buffer is.
    batch = preprocess(frames, (16, 32), "cpu")
    assert batch.dtype == torch.uint8
    assert batch.shape == (3, 16, 32, 3)
    assert [image.unique().tolist() for image in batch] == [[7], [9], [0]]


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_anything_but_uint8_rgb_is_refused(frame):
    with pytest.raises(ValueError, match=r"expected uint8 RGB \[h, w, 3\]"):
        preprocess([frame], (16, 16), "cpu")


def test_no_frame_is_refused():
    with pytest.raises(ValueError, match="got none"):
        preprocess([], (16, 16), "cpu")
