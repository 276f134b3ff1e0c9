"""Clips come from videos, folders or scenes, cut out of the middle."""

import cv2
import numpy as np
import pytest

from rvm_training.evaluation.footage import fitted, footage, scenes


def test_the_middle_of_a_frame_is_cut_to_the_ratio():
    rgb = np.zeros((20, 60, 3), np.uint8)
    rgb[:, 20:40] = 200
    for picture in (fitted(rgb, (10, 10)), fitted(rgb.transpose(1, 0, 2), (10, 10))):
        assert picture.shape == (10, 10, 3)
        assert (picture[2:-2, 2:-2].astype(int) - 200).max() <= 2
        assert picture.min() > 180  # Lanczos reaches a little beyond the edge.
    assert (fitted(rgb, (20, 60)) == rgb).all()


def test_the_first_frames_of_videos_and_folders_are_taken(make_video, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(4):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((32, 32, 3), 50 * index, np.uint8))
    (video_name, video), (folder_name, images) = footage([str(make_video(6)), str(folder)], 3, (32, 32))
    assert (video_name, folder_name) == ("video", "images")
    assert video.shape == images.shape == (3, 32, 32, 3)
    assert np.abs(video.mean((1, 2, 3)) - [10, 20, 30]).max() < 3
    assert images[:, 0, 0, 0].tolist() == [0, 50, 100]


def test_a_video_that_is_too_short_is_told(make_video):
    with pytest.raises(ValueError, match=r"video\.mp4: got 6 frames, expected 7"):
        list(footage([str(make_video(6))], 7, (32, 32)))


def test_scenes_differ_and_repeat():
    (first_name, first), (_, second) = scenes(2, 3, (32, 48))
    assert (first_name, first.shape) == ("scene-00", (3, 32, 48, 3))
    assert (first != second).any()
    assert (next(scenes(1, 3, (32, 48)))[1] == first).all()
