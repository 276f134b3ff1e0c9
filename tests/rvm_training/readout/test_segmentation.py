"""Segmentation: what is held out, what the encoder is shown, the figures, and a head that learns."""

import numpy as np
import pytest
import torch
from PIL import Image

from rvm_training.data.labels import IGNORE
from rvm_training.mask_files import save_mask
from rvm_training.readout.segmentation import Segmentation
from rvm_training.readout.task import ClipSettings

CLIPS = ClipSettings(3, (32, 32))


@pytest.fixture
def drives(tmp_path):
    """Function writing folders of frames that tell their number, after those of the folders before, and masks."""

    def write(folders, frames=10, name="{}"):
        for folder in range(folders):
            for part in ("images", "masks"):
                (tmp_path / part / str(folder)).mkdir(parents=True)
            for number in range(frames):
                file = f"{folder}/{name.format(number)}.png"
                grey = np.full((40, 48, 3), folder * frames + number, np.uint8)
                Image.fromarray(grey).save(tmp_path / "images" / file)
                save_mask(tmp_path / "masks" / file, np.arange(48)[None].repeat(40, 0) // 24)
        return tmp_path

    return write


def shown(task, split):
    return [sample.read().frames[:, 0, 0, 0].tolist() for sample in task.samples(split)]


def test_a_still_picture_is_shown_again_and_again_and_the_end_of_frames_is_held_out(drives):
    task = Segmentation(drives(2, frames=12), CLIPS)
    assert shown(task, "val") == [[number] * 3 for number in (10, 11, 22, 23)]
    assert shown(task, "train") == [[number] * 3 for number in (*range(10), *range(12, 22))]


def test_frames_of_videos_come_with_those_before(drives):
    task = Segmentation(drives(1, frames=12), CLIPS, context="video")
    assert shown(task, "val") == [[8, 9, 10], [9, 10, 11]]
    assert shown(task, "train")[:3] == [[0, 0, 0], [0, 0, 1], [0, 1, 2]]


def test_of_many_videos_whole_ones_are_held_out(drives):
    task = Segmentation(drives(6, frames=2), CLIPS)
    folders = {split: {frames[-1] // 2 for frames in shown(task, split)} for split in ("train", "val")}
    assert folders["train"] | folders["val"] == set(range(6))
    assert not folders["train"] & folders["val"]
    assert folders["val"]


def test_pictures_that_are_no_frames_are_held_out_one_by_one(tmp_path, drives):
    root = drives(1)
    for part in ("images", "masks"):
        for index, path in enumerate(sorted((root / part / "0").iterdir())):
            path.rename(path.with_name("abcdefghij"[index] + ".png"))
    task = Segmentation(root, CLIPS)
    assert 1 <= len(task.samples("val")) <= 5
    assert len(task.samples("train")) + len(task.samples("val")) == 10


def keys(root):
    return [sample.key for sample in Segmentation(root, CLIPS, context="video").samples("val")]


def test_other_labels_or_frames_before_are_other_clips(drives):
    root = drives(1)
    first, second = before = keys(root)
    assert keys(root) == before
    save_mask(root / "masks" / "0" / "8.png", np.ones((40, 48), np.uint8))
    changed, same = keys(root)
    assert changed != first
    assert same == second
    Image.fromarray(np.full((44, 48, 3), 7, np.uint8)).save(root / "images" / "0" / "6.png")
    again, same = keys(root)  # Shown before 8, and no more before 9.
    assert again != changed
    assert same == second
    (root / "labels.txt").write_text("left\nright\n")
    named = keys(root)
    assert not {again, second} & set(named)


def test_of_a_dataset_with_pictures_to_train_on_alone_some_are_held_out(tmp_path, drives):
    drives(1)
    (tmp_path / "root").mkdir()
    for part in ("images", "masks"):
        (tmp_path / "root" / "train" / part).parent.mkdir(exist_ok=True)
        (tmp_path / part / "0").rename(tmp_path / "root" / "train" / part)
    task = Segmentation(tmp_path / "root", CLIPS)
    assert shown(task, "val") == [[8] * 3, [9] * 3]


def test_pictures_are_upright_as_they_were_labelled(drives):
    root = drives(1, frames=5)
    path = root / "images" / "0" / "4.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # Turned by a quarter.
    Image.fromarray(np.arange(48 * 40, dtype=np.uint8).reshape(48, 40)).save(path, exif=exif)
    (sample,) = Segmentation(root, CLIPS).samples("val")
    assert sample.read().targets["labels"][:, 0].tolist() == [0] * 32


def test_test_pictures_are_not_used_and_what_is_left_out_is_told(drives):
    root = drives(1)
    for part in ("images", "masks"):
        (root / "test" / part).mkdir(parents=True)
    (root / "images" / "0" / "0.png").rename(root / "test" / "images" / "0.png")
    (root / "masks" / "0" / "0.png").rename(root / "test" / "masks" / "0.png")
    (root / "masks" / "0" / "1.png").unlink()
    task = Segmentation(root, CLIPS)
    assert len(task.samples("train")) + len(task.samples("val")) == 8
    said = " ".join(task.remarks())
    assert "1 test" in said
    assert "1 pictures without a mask left out" in said


def test_labels_are_those_of_the_nearest_pixels(clips):
    task = Segmentation(clips("segmentation", 64, 16), ClipSettings(2, (16, 16)))
    full = Segmentation(clips("segmentation", 64, 16), ClipSettings(2, (32, 32)))
    small, large = (each.samples("val")[0].read() for each in (task, full))
    assert small.frames.shape == (2, 16, 16, 3)
    assert (small.targets["labels"] == large.targets["labels"][1::2, 1::2]).all()


def test_a_folder_with_one_picture_has_nothing_held_out(drives):
    with pytest.raises(ValueError, match="got pictures of {'train': 1}, expected some of train and of val"):
        Segmentation(drives(1, frames=1), CLIPS)


def test_one_class_is_none(drives):
    root = drives(1)
    for path in (root / "masks" / "0").iterdir():
        save_mask(path, np.zeros((40, 48), np.uint8))
    with pytest.raises(ValueError, match=r"got the classes \['class 0'\], expected two or more"):
        Segmentation(root, CLIPS)


def test_figures_of_segmentation_by_hand(clips):
    task = Segmentation(clips("segmentation", 64, 16), CLIPS)
    true = torch.tensor([[0, 0, 1, 1], [0, 0, 1, IGNORE]])
    logits = torch.zeros(1, 2, 4, 3)
    logits[0, :, :3, 0], logits[0, :, 3, 1] = 1, 1
    scores = task.score(task.measure(logits, {"labels": true[None]}))
    assert scores["pixel accuracy"] == 5 / 7
    assert (scores["IoU wall"], scores["IoU floor"]) == (4 / 6, 1 / 3)
    assert np.isnan(scores["IoU thing"])
    assert scores["mIoU"] == pytest.approx((4 / 6 + 1 / 3) / 2)
    assert scores["mIoU of the most frequent class"] == pytest.approx(4 / 7 / 2)


def test_pixels_that_do_not_count_cost_nothing(clips):
    task = Segmentation(clips("segmentation", 64, 16), CLIPS)
    labels = torch.full((1, 32, 32), IGNORE)
    logits = torch.randn(1, 4, 4, 3, requires_grad=True)
    assert task.loss(logits, {"labels": labels}) == 0
    labels[:, 18, 18] = 1  # One of the pixels that the loss looks at.
    assert task.loss(logits, {"labels": labels}) > 0


def test_a_head_learns_what_pixels_are(clips, fit, places):
    task = Segmentation(clips("segmentation", 64, 16), CLIPS)
    fitted = fit(task, places, steps=80, lr=1e-2, validate_every=40)
    assert fitted.metrics["mIoU"] > 2 * fitted.metrics["mIoU of the most frequent class"]
