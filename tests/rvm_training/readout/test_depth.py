"""Depth: ScanNet's folders, the head's patches, the figures, and a head that learns."""

import cv2
import numpy as np
import pytest
import torch

from rvm_training.data.depth_videos import depth_videos, read_depth
from rvm_training.readout.depth import FARTHEST_MM, Depth, DepthHead
from rvm_training.readout.task import ClipSettings

CLIPS = ClipSettings(8, (32, 32))


def test_scans_are_read_as_scannet_lays_them_out(clips):
    root = clips("depth", 64, 16)
    found = depth_videos(root)
    assert {split: len(videos) for split, videos in found.videos.items()} == {"train": 64, "val": 16}
    colours = [colour.stem for colour, _ in found.videos["train"][0].frames]
    assert colours == [str(number) for number in range(8)]  # By number, not by name.
    task = Depth(root, ClipSettings(4, (16, 16), stride=2))
    clip = task.samples("val")[0].read()
    assert clip.frames.shape == (4, 16, 16, 3)
    first = read_depth(found.videos["val"][0].frames[2][1])
    assert (clip.targets["depth_mm"][1] == first[1::2, 1::2]).all()  # The nearest pixel, and the second frame is 2.
    assert len(task.samples("train")) == 64
    assert len(Depth(root, ClipSettings(2, (16, 16), per_video=3)).samples("val")) == 48


def test_a_folder_of_something_else_is_refused(clips, tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder at"):
        depth_videos(tmp_path / "nothing")
    with pytest.raises(ValueError, match="got no scan of train, expected ScanNet as its exporter"):
        depth_videos(tmp_path)
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((4, 4), np.uint8))
    with pytest.raises(ValueError, match=r"got uint8 \(4, 4\), expected a depth map of one channel of 16 bits"):
        read_depth(tmp_path / "0.png")


def test_scans_that_are_listed_and_not_there_are_counted(clips, tmp_path):
    root = clips("depth", 64, 16)
    for name in ("scannetv2_train.txt", "scannetv2_val.txt"):
        (tmp_path / name).write_text((root / name).read_text() + "scene9999_00\n")
    (tmp_path / "scans").symlink_to(root / "scans")
    # Links are not followed, so that what is there is copied.
    (tmp_path / "scans").unlink()
    (tmp_path / "scans").mkdir()
    for name in ("scene0000_00", "scene0064_00"):
        (tmp_path / "scans" / name).mkdir()
        for part in ("color", "depth"):
            (tmp_path / "scans" / name / part).symlink_to(root / "scans" / name / part)
    assert depth_videos(tmp_path).missing == 64 + 16 + 2 - 2


def test_a_query_answers_for_its_patch_of_the_output():
    head = DepthHead(6, ClipSettings(4, (16, 24)), 8, 2)
    torch.nn.init.zeros_(head.readout.out.weight)
    head.readout.out.bias.data = torch.arange(128.0)
    depth = head(torch.randn(1, 4, 5, 6), {})
    assert depth.shape == (1, 4, 16, 24)
    # All queries give 0..127 here: frame by frame, row by row within a patch of 2x8x8.
    patch = torch.arange(128.0).reshape(2, 8, 8)
    torch.testing.assert_close(depth[0, 2:, 8:, 8:16], patch)
    with pytest.raises(ValueError, match=r"got 3 frames of 16x24, expected multiples of \(2, 8, 8\)"):
        DepthHead(6, ClipSettings(3, (16, 24)), 8, 2)


def test_figures_of_depth_by_hand(clips):
    task = Depth(clips("depth", 64, 16), CLIPS)
    true = torch.tensor([[[[1000, 2000], [0, FARTHEST_MM + 1]]]], dtype=torch.int16)
    found = torch.tensor([[[[1.2, 1.0], [9.0, 9.0]]]])
    measured = task.measure(found, {"depth_mm": true})
    scores = task.score(measured)
    assert scores["AbsRel"] == pytest.approx((0.2 + 0.5) / 2)
    assert scores["delta1"] == 0.5
    # The best single depth is the nearer one: 0 and a half.
    assert scores["AbsRel of the best constant"] == pytest.approx(0.25, abs=0.01)
    assert task.loss(found, {"depth_mm": true}) == pytest.approx((0.2**2 + 1.0) / 2)
    assert task.loss(found, {"depth_mm": torch.zeros_like(true)}) == 0


@pytest.mark.slow
def test_a_head_learns_how_far_things_are(clips, fit, places):
    fitted = fit(Depth(clips("depth", 64, 16), CLIPS, width=32, heads=2), places, steps=150, lr=3e-3, validate_every=50)
    assert fitted.metrics["AbsRel"] < 0.75 * fitted.metrics["AbsRel of the best constant"]
