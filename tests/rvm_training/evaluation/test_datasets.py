"""Folders are read as the datasets' authors lay them out, and what is missing is told."""

import shutil

import numpy as np
import pytest
from PIL import Image

from rvm_training.evaluation.datasets import DatasetError, MaskVideo, davis, jhmdb, vip


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def video(tmp_path):
    """Function making a video of two frames with these masks."""

    def make(*masks, **settings):
        images, files = [], []
        for index, mask in enumerate(masks):
            images.append(tmp_path / "images" / f"{index:05d}.png")
            files.append(tmp_path / "masks" / f"{index:05d}.png")
            write(images[-1], np.full((4, 6, 3), 10 * index, np.uint8))
            write(files[-1], mask)
        return MaskVideo("made", tuple(images), tuple(files), **settings)

    return make


def mask(*values):
    return np.tile(np.array(values, np.uint8), (4, 6 // len(values)))


def test_void_is_background(video):
    _, masks = video(mask(0, 1, 255), mask(2, 0, 1), void=255).read()
    assert masks[:, 0].tolist() == [[0, 1, 0, 0, 1, 0], [2, 0, 1, 2, 0, 1]]


def test_one_object_is_all_objects_together(video):
    _, masks = video(mask(0, 1, 255), mask(2, 0, 1), void=255, single=True).read()
    assert masks[:, 0].tolist() == [[0, 1, 0, 0, 1, 0], [1, 0, 1, 1, 0, 1]]


def test_masks_of_davis_2016_have_their_object_at_255(video):
    _, masks = video(mask(0, 255), mask(255, 0), void=255, single=True).read()
    assert masks[:, 0].tolist() == [[0, 1, 0, 1, 0, 1], [1, 0, 1, 0, 1, 0]]


def test_masks_of_another_size_are_refused(video):
    with pytest.raises(DatasetError, match=r"made: got frames \(2, 4, 6, 3\) and masks \(2, 4, 5\)"):
        video(np.zeros((4, 5), np.uint8), np.zeros((4, 5), np.uint8)).read()
    with pytest.raises(DatasetError, match=r"got \(4, 6\), expected \(4, 5\) as 00000.png"):
        video(np.zeros((4, 5), np.uint8), np.zeros((4, 6), np.uint8)).read()


def test_a_file_that_is_no_image_is_told_by_name(video):
    made = video(mask(0, 1))
    made.images[0].write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=r"00000\.png: cannot be read as an image"):
        made.read()


def test_a_missing_frame_is_told_before_anything_is_read(benchmarks, tmp_path):
    root = shutil.copytree(benchmarks / "davis", tmp_path / "davis")
    (root / "Annotations/480p/scene-01/00002.png").unlink()
    with pytest.raises(DatasetError, match="scene-01: got 6 images in .* and 5 masks"):
        davis(root)
    assert [video.name for video in davis(root, only=["scene-00"])] == ["scene-00"]


@pytest.mark.parametrize("read", [davis, vip, jhmdb])
def test_a_folder_of_something_else_is_refused(read, tmp_path):
    with pytest.raises(DatasetError, match=str(tmp_path)):
        read(tmp_path)


def test_joints_that_do_not_fit_the_frames_are_refused(benchmarks, tmp_path):
    root = shutil.copytree(benchmarks / "jhmdb", tmp_path / "jhmdb")
    first, second = jhmdb(root)
    (root / "Rename_Images" / first.name / "00005.png").unlink()
    second.joints.write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=r"got pos_img \(2, 15, 6\), expected \[2, joints, 5 frames\]"):
        jhmdb(root)[0].read()
    with pytest.raises(DatasetError, match="cannot be read as joint_positions.mat"):
        second.read()


def test_only_test_videos_of_the_split_are_taken(benchmarks, tmp_path):
    root = shutil.copytree(benchmarks / "jhmdb", tmp_path / "jhmdb")
    (root / "splits" / "move_test_split1.txt").write_text("video_00.avi 1\nvideo_01.avi 2\n")
    assert [video.name for video in jhmdb(root)] == ["move/video_01"]
    with pytest.raises(DatasetError, match=r"got no \*_split2.txt"):
        jhmdb(root, split=2)
