"""The demo's arithmetic on what it has seen."""

from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("rclpy")

from rvm_ros.demo.recorder import RecordedFrame
from rvm_ros.demo.session import (
    DemoError,
    DemoOptions,
    _followed,
    _kept,
    _load_masks,
    _perception_arguments,
    _Run,
    _score,
    _Seen,
)


def test_masks_stay_aligned_when_frames_are_dropped_and_only_those_after_the_mark_count():
    masks = np.zeros((6, 4, 8), np.uint8)
    for index in range(6):
        masks[index, :, index : index + 2] = 1  # The object moves by a column a frame.
    start_ns, interval_ns = 7_000_000_000, 100_000_000
    frames = []
    for index in (2, 3, 5):  # Frames 0, 1 and 4 never came through.
        frames.append(_Seen(start_ns + index * interval_ns, 0.0, 0.0, masks[index].copy()))
    frames[0].segmentation[:] = 0  # Nothing is followed yet in the frame that is marked.
    seen = _Run(frames=frames, camera_frames=6, first_stamp_ns=start_ns, marked=2)
    assert _score(masks, seen, Fraction(10))["object 1"]["iou"] == 1.0
    assert _score(masks, _Run(frames=frames, first_stamp_ns=start_ns), Fraction(10)) == {}


def test_frames_before_the_mark_took_effect_are_not_scored_and_a_mark_without_effect_scores_nothing():
    masks = np.ones((4, 2, 2), np.uint8)
    masks[:, 0] = 0
    unlabelled = np.full((2, 2), 255, np.uint8)
    frames = [_Seen(index * 100_000_000, 0.0, 0.0, masks[0] if index == 3 else unlabelled) for index in range(4)]
    seen = _Run(frames=frames, marked=0)
    scores = _score(masks, seen, Fraction(10))
    assert (
        _followed(scores)
        == "object 1, marked once: IoU 1.00 over the video, 1.00 at its end (1.00 of the mask left where it was)"
    )
    assert _score(masks, _Run(frames=frames[:3], marked=0), Fraction(10)) == {}
    assert "no object was followed" in _followed({})


def test_masks_that_are_none_are_told(tmp_path):
    with pytest.raises(DemoError, match=r"masks: .*none.npz cannot be read"):
        _load_masks(tmp_path / "none.npz")
    np.savez(tmp_path / "flat.npz", masks=np.zeros((4, 4), np.uint8))
    with pytest.raises(DemoError, match=r"got uint8 \(4, 4\) in .*, expected uint8 \[frames, height, width\]"):
        _load_masks(tmp_path / "flat.npz")


def test_true_masks_are_there_to_be_followed(tmp_path):
    options = DemoOptions(video=tmp_path, out=tmp_path, masks=tmp_path / "masks.npz")
    assert _perception_arguments(options)[2:] == ["-p", "segmentation:=propagation"]


def test_weights_and_engine_become_the_nodes_parameters_only_where_they_are_given(tmp_path):
    options = DemoOptions(video=tmp_path, out=tmp_path)
    assert _perception_arguments(options) == ["-p", "autostart:=true"]
    options = DemoOptions(video=tmp_path, out=tmp_path, model="m.npz", engine="/e/int8")
    assert _perception_arguments(options)[2:] == ["-p", "model:=m.npz", "-p", "engine:=/e/int8"]


def test_the_pictures_of_a_frame_are_not_kept():
    frame = RecordedFrame(7, 1.0, np.zeros((1080, 1920, 3), np.uint8), finished_s=1.5)
    frame.outputs["segmentation"] = np.ones((1080, 1920), np.uint8)
    assert _kept(frame, scored=False) == _Seen(7, 1.5, 500.0, None)
    assert _kept(frame, scored=True).segmentation is frame.outputs["segmentation"]
