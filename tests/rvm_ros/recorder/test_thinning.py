"""Every n-th frame with all that belongs to it."""

import pytest

pytest.importorskip("rclpy")

from rvm_ros.recorder.thinning import REMEMBERED, WAITING_S, Thinning


def test_all_is_kept_where_each_frame_is():
    thinning = Thinning(1)
    assert thinning.offer(5, "t", "image", decides=False) == ["image"]
    assert thinning.offer(5, "t", "features", decides=True) == ["features"]


def test_what_belongs_to_a_kept_frame_is_kept_whether_it_comes_before_or_after():
    thinning, kept = Thinning(3), []
    for stamp in range(1, 8):
        kept += thinning.offer(stamp, "t", f"image {stamp}", decides=False)
        kept += thinning.offer(stamp, "t", f"features {stamp}", decides=True)
        kept += thinning.offer(stamp, "t", f"segmentation {stamp}", decides=False)
    assert kept == [f"{what} {stamp}" for stamp in (1, 4, 7) for what in ("image", "features", "segmentation")]


def test_frames_that_were_not_processed_do_not_count():
    thinning, kept = Thinning(2), []
    for stamp in range(1, 9):
        kept += thinning.offer(stamp, "t", f"image {stamp}", decides=False)
        if stamp % 2:
            kept += thinning.offer(stamp, "t", f"features {stamp}", decides=True)
    assert kept == [f"{what} {stamp}" for stamp in (1, 5) for what in ("image", "features")]


def test_the_same_stamp_again_is_the_same_frame():
    thinning = Thinning(2)
    assert [thinning.offer(stamp, "t", stamp, decides=True) for stamp in (1, 1, 2, 2, 3)] == [[1], [1], [], [], [3]]


def test_images_wait_for_a_slow_engine_but_not_for_ever():
    thinning, kept = Thinning(2), []
    for frame in range(1, 201):
        kept += thinning.offer(frame * 33_000_000, "t", f"image {frame}", decides=False)
        if frame > 60:
            kept += thinning.offer((frame - 60) * 33_000_000, "t", f"features {frame - 60}", decides=True)
    assert kept[:4] == ["image 1", "features 1", "image 3", "features 3"]
    assert len(kept) == 2 * 70
    assert len(thinning._waiting) <= WAITING_S * 31
    for frame in range(10 * REMEMBERED):
        thinning.offer(10**12 + frame, "t", b"features", decides=True)
    assert len(thinning._kept) == REMEMBERED


def test_without_stamps_each_topic_is_counted_by_itself():
    thinning = Thinning(3)
    images = [thinning.offer(0, "image", index, decides=False) for index in range(7)]
    features = [thinning.offer(0, "features", index, decides=True) for index in range(4)]
    assert [item for kept in images for item in kept] == [0, 3, 6]
    assert [item for kept in features for item in kept] == [0, 3]
