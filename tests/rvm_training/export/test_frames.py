"""Frames to calibrate on are spread over a video, and no stretch of them comes twice. Bags: test_bag.py."""

import pytest

from rvm_training.data.video import read_frames
from rvm_training.export.frames import EXPOSURES, calibration_clips, comparison_frames

SIZE = (48, 64)


@pytest.mark.parametrize(
    ("frames", "starts"),
    [(200, [0, 26, 52, 78, 105, 131, 157, 184]), (18, [0, 1, 2]), (16, [0])],
)
def test_stretches_are_spread_over_a_video_and_all_distinct(video, numbers, frames, starts):
    clips = calibration_clips([video(frames=frames)], SIZE)[len(EXPOSURES) :]
    assert [numbers(clip.numpy()) for clip in clips] == [list(range(start, start + 16)) for start in starts]


def test_a_video_shorter_than_a_stretch_is_one_clip(video, numbers):
    (clip,) = calibration_clips([video(frames=10)], SIZE)[len(EXPOSURES) :]
    assert numbers(clip.numpy()) == list(range(10))


def test_a_video_is_decoded_a_stretch_at_a_time(video, monkeypatch):
    counts = []

    def counted(file, indices, fps):
        counts.append(len(indices))
        return read_frames(file, indices, fps)

    monkeypatch.setattr("rvm_training.export.frames.read_frames", counted)
    path = video(frames=200)
    calibration_clips([path], SIZE)
    assert counts == [16] * 8
    counts.clear()
    assert comparison_frames(path, 64, 2, SIZE).shape == (64, 2, *SIZE, 3)
    assert counts == [16, 16, 16, 16, 1]
