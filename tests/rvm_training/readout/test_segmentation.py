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
    """Function writing folders of frames that tell their number, and masks for some."""

    def write(folders, frames=10):
        for folder in range(folders):
            for part in ("images", "masks"):
                (tmp_path / part / str(folder)).mkdir(parents=True)
            for number in range(frames):
                Image.fromarray(np.full((40, 48, 3), number, np.uint8)).save(
                    tmp_path / "images" / str(folder) / f"{number}.png"
                )
                save_mask(tmp_path / "masks" / str(folder) / f"{number}.png", np.full((40, 48), number % 2))
        return tmp_path

    return write


def shown(task, split):
    return [sample.read().frames[:, 0, 0, 0].tolist() for sample in task.samples(split)]


def test_a_still_picture_is_shown_again_and_again_and_some_are_held_out(drives):
    task = Segmentation(drives(2), CLIPS)
    frames = shown(task, "train") + shown(task, "val")
    assert all(each == [each[0]] * 3 for each in frames)
    assert len(frames) == 20
    assert 1 <= len(task.samples("val")) <= 8


def test_frames_of_videos_come_with_those_before_and_the_end_is_held_out(drives):
    task = Segmentation(drives(1), CLIPS, context="video")
    assert shown(task, "val") == [[6, 7, 8], [7, 8, 9]]
    assert shown(task, "train")[:3] == [[0, 0, 0], [0, 0, 1], [0, 1, 2]]


def test_of_many_videos_whole_ones_are_held_out(drives):
    task = Segmentation(drives(6, frames=2), CLIPS, context="video")
    assert len(task.samples("val")) % 2 == 0
    assert len(task.samples("train")) + len(task.samples("val")) == 12


def test_labels_are_those_of_the_nearest_pixels(clips):
    task = Segmentation(clips("segmentation", 64, 16), ClipSettings(2, (16, 16)))
    full = Segmentation(clips("segmentation", 64, 16), ClipSettings(2, (32, 32)))
    small, large = (each.samples("val")[0].read() for each in (task, full))
    assert small.frames.shape == (2, 16, 16, 3)
    assert (small.targets["labels"] == large.targets["labels"][1::2, 1::2]).all()


def test_a_folder_with_one_picture_has_nothing_held_out(drives):
    with pytest.raises(ValueError, match="got no picture of val of 1, expected some of each"):
        Segmentation(drives(1, frames=1), CLIPS)


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
