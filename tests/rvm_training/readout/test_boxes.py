"""Boxes: Waymo's tables, what is followed, the figures, and a head that learns."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from rvm_training.data.box_tracks import BOX, CAMERA, OBJECT, SEGMENT, TIME, read_boxes, read_images, segments
from rvm_training.readout.boxes import Boxes, BoxHead
from rvm_training.readout.task import ClipSettings, collate

CLIPS = ClipSettings(8, (32, 32))


@pytest.fixture(scope="module")
def root(clips):
    return clips("boxes", 320, 40)


def test_segments_are_read_as_waymo_lays_them_out(root):
    found = segments(root)
    assert {split: len(each) for split, each in found.items()} == {"train": 320, "val": 40}
    segment = found["val"][0]
    assert segment.times == tuple(range(0, 800_000, 100_000))
    frames = read_images(segment, segment.times[2:4])
    boxes = read_boxes(segment, segment.times[2:4])
    assert len(frames) == 2
    (box,) = boxes.values()
    assert box.shape == (2, 4)
    bright = frames[0].mean(-1) > 100
    rows, columns = np.nonzero(bright)
    np.testing.assert_allclose(box[0], [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], atol=1.5)


def test_other_cameras_and_unlabelled_frames_are_no_boxes(root, tmp_path):
    segment = segments(root)["val"][0]

    def row(time, camera, name):
        return {
            SEGMENT: "a",
            TIME: time,
            CAMERA: camera,
            OBJECT: name,
            **dict(zip(BOX, (10.0, 10.0, 4.0, 2.0), strict=True)),
        }

    rows = [row(0, 1, "a"), row(200_000, 1, "a"), row(0, 2, "b")]
    pa.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "boxes.parquet")
    boxes = read_boxes(type(segment)(segment.images, tmp_path / "boxes.parquet", segment.times), segment.times[:3])
    assert list(boxes) == ["a"]
    np.testing.assert_array_equal(boxes["a"], [[8, 9, 12, 11], [np.nan] * 4, [8, 9, 12, 11]])


def test_what_is_no_table_of_waymo_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got no segment of train, expected the Waymo Open Dataset"):
        segments(tmp_path)
    for part in ("camera_image", "camera_box"):
        (tmp_path / "training" / part).mkdir(parents=True)
        (tmp_path / "training" / part / "a.parquet").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"a\.parquet: is no table of"):
        segments(tmp_path)


def test_a_picture_that_is_missing_is_told_and_a_segment_without_any_is_none(root, tmp_path):
    segment = segments(root)["val"][0]
    with pytest.raises(ValueError, match="got no picture at 7 microseconds"):
        read_images(segment, [7])
    rear = pa.table({SEGMENT: ["a"], TIME: [0], CAMERA: pa.array([2], pa.int8())})
    for split in ("training", "validation"):
        for part in ("camera_image", "camera_box"):
            (tmp_path / split / part).mkdir(parents=True)
            pa.parquet.write_table(rear, tmp_path / split / part / "a.parquet")
    with pytest.raises(ValueError, match="got no segment of train"):
        segments(tmp_path)


def test_only_boxes_large_enough_on_the_first_frame_are_followed(root, monkeypatch):
    boxes = {
        "small": np.tile([0.0, 0.0, 2.0, 2.0], (8, 1)),
        "late": np.concatenate([np.full((1, 4), np.nan), np.tile([0.0, 0.0, 16.0, 16.0], (7, 1))]),
        "followed": np.concatenate([np.tile([0.0, 0.0, 16.0, 32.0], (7, 1)), np.full((1, 4), np.nan)]),
    }
    monkeypatch.setattr("rvm_training.readout.boxes.read_boxes", lambda *_: boxes)
    clip = Boxes(root, CLIPS).samples("val")[0].read()
    np.testing.assert_array_equal(clip.targets["boxes"][0, 0], [0, 0, 0.5, 1])
    assert clip.targets["labelled"].tolist() == [[True] * 7 + [False]]


def test_figures_of_boxes_by_hand(root):
    task = Boxes(root, CLIPS)
    true = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.5, 0.5], [0.25, 0.0, 0.75, 0.5], [0.0, 0.0, 0.0, 0.0]])
    labelled = torch.tensor([True, True, True, False])
    one = {"boxes": true[None], "labelled": labelled[None]}
    filled = collate([one, {"boxes": true.expand(2, -1, -1), "labelled": labelled.expand(2, -1)}])
    found = filled["boxes"].clone()
    found[:, :, 1] = 0.9
    scores = task.score(task.measure(found, filled))
    assert scores["boxes"] == 6  # Three boxes on two frames: not the first one, not without a label, not what fills up.
    assert scores["mIoU"] == 0.5
    assert scores["mIoU of boxes that stay"] == pytest.approx((1 + 1 / 3) / 2)
    assert task.loss(found, filled) == pytest.approx((0.9 + 0.9 + 0.4 + 0.4) / 4 / 2)


def test_a_box_is_found_from_where_it_was():
    head = BoxHead(6, ClipSettings(4), 8, 2)
    torch.nn.init.zeros_(head.readout.out.weight)
    boxes = torch.rand(2, 3, 4, 4)
    found = head(torch.randn(2, 4, 5, 6), {"boxes": boxes})
    torch.testing.assert_close(
        found, boxes[:, :, :1].expand(-1, -1, 4, -1) + head.readout.out.bias.unflatten(0, (4, 4))
    )


@pytest.mark.slow
def test_a_head_learns_where_boxes_go(root, fit, centres):
    fitted = fit(Boxes(root, CLIPS, width=64, heads=2), centres, steps=300, lr=3e-3, validate_every=100)
    assert fitted.metrics["mIoU"] > 1.4 * fitted.metrics["mIoU of boxes that stay"]
