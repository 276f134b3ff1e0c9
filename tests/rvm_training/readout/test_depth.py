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
    task = Depth(root, ClipSettings(4, (16, 16), stride=2))
    clip = task.samples("val")[0].read()
    assert clip.frames.shape == (4, 16, 16, 3)
    first = read_depth(found.videos["val"][0].frame(2)[1])
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


def scan(root, name, numbers, digits=1):
    for part, suffix, kind in (("color", "jpg", np.uint8), ("depth", "png", np.uint16)):
        (root / name / part).mkdir(parents=True)
        for number in numbers:
            picture = np.full((8, 8, 3) if part == "color" else (8, 8), number + 1, kind)
            cv2.imwrite(str(root / name / part / f"{number:0{digits}d}.{suffix}"), picture)


def test_frames_are_in_the_order_of_their_numbers_and_missing_scans_are_counted(tmp_path):
    scan(tmp_path / "scans", "a", range(12))
    scan(tmp_path, "b", [3, 7], digits=6)
    (tmp_path / "b" / "depth" / "000007.png").unlink()
    (tmp_path / "scannetv2_train.txt").write_text("a\ngone\n")
    (tmp_path / "scannetv2_val.txt").write_text("b\n")
    found = depth_videos(tmp_path)
    assert found.missing == 1
    (video,) = found.videos["train"]
    assert [video.frame(index)[0].name for index in (2, 11)] == ["2.jpg", "11.jpg"]
    assert read_depth(video.frame(11)[1])[0, 0] == 12
    (video,) = found.videos["val"]
    assert video.numbers.tolist() == [3]
    assert video.frame(0)[1].name == "000003.png"


def test_other_depth_maps_are_other_clips(tmp_path):
    scan(tmp_path, "a", range(2))
    for name in ("train", "val"):
        (tmp_path / f"scannetv2_{name}.txt").write_text("a\n")
    before = Depth(tmp_path, ClipSettings(2, (8, 8))).samples("val")[0].key
    assert Depth(tmp_path, ClipSettings(2, (8, 8))).samples("val")[0].key == before
    cv2.imwrite(str(tmp_path / "a" / "depth" / "1.png"), np.full((8, 8), 9000, np.uint16))
    assert Depth(tmp_path, ClipSettings(2, (8, 8))).samples("val")[0].key != before


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


def test_clips_count_alike_in_the_figure_and_in_its_baseline(clips):
    task = Depth(clips("depth", 64, 16), CLIPS)
    near = torch.full((1, 1, 10, 10), 1000, dtype=torch.int16)
    far = torch.zeros_like(near)
    far[0, 0, 0, 0] = 9000
    both = torch.cat([near, far])
    scores = task.score(task.measure(torch.ones(2, 1, 10, 10), {"depth_mm": both}))
    assert scores["AbsRel"] == pytest.approx((0 + 8 / 9) / 2)
    # The nearer one is the best: 0.005 off by the bins' width.
    assert scores["AbsRel of the best constant"] == pytest.approx(scores["AbsRel"], abs=0.01)


@pytest.mark.slow
def test_a_head_learns_how_far_things_are(clips, fit, places):
    fitted = fit(Depth(clips("depth", 64, 16), CLIPS, width=32, heads=2), places, steps=150, lr=3e-3, validate_every=50)
    assert fitted.metrics["AbsRel"] < 0.75 * fitted.metrics["AbsRel of the best constant"]
