"""Metrics of tracks, boxes, depth and classes, on cases that are computed by hand."""

import numpy as np
import pytest

from rvm_training.evaluation.tracking_metrics import absolute_relative, box_iou, tapvid, top_k


@pytest.fixture
def tracks():
    """Two points over four frames, given on frames 0 and 1; the second is hidden on the last."""
    gt = np.zeros((2, 4, 2))
    gt[..., 0] = [10, 20, 30, 40]
    hidden = np.zeros((2, 4), bool)
    hidden[1, 3] = True
    return [0, 1], gt, hidden


@pytest.mark.parametrize("query_mode", ["first", "strided"])
def test_figures_are_those_of_tapnet(root, query_mode):
    with np.load(root / "tests" / "golden" / "tapvid.npz") as file:
        given = [file[name] for name in ("query_frames", "gt", "gt_occluded", "pred", "pred_occluded")]
        expected = {name.removeprefix(f"{query_mode} "): float(file[name]) for name in file.files if query_mode in name}
    assert len(expected) == 13
    assert tapvid(*given, query_mode=query_mode) == expected


def test_what_is_exact_is_all_found(tracks):
    queries, gt, hidden = tracks
    values = tapvid(queries, gt, hidden, gt, hidden)
    assert set(values.values()) == {1.0}
    assert len(values) == 13


def test_jaccard_counts_misses_and_false_alarms(tracks):
    queries, gt, hidden = tracks
    pred = gt.copy()
    pred[0, 2, 1] = 3.0  # Within 4 pixels.
    pred[1, 3, 1] = 50.0  # Hidden in truth, and seen by the prediction.
    values = tapvid(queries, gt, hidden, pred, np.zeros((2, 4), bool))
    # Scored: the first point on frames 1, 2 and 3, the second on 2 and 3; four of these five are to be seen.
    assert values["pts_within_1"] == values["pts_within_2"] == 3 / 4
    assert values["pts_within_4"] == values["pts_within_16"] == 1
    # Near ones: three. Alarms: the one that is too far, and the hidden one.
    assert values["jaccard_2"] == 3 / (4 + 2)
    assert values["jaccard_4"] == 4 / (4 + 1)
    assert values["average_jaccard"] == pytest.approx((2 * 0.5 + 3 * 0.8) / 5)
    assert values["occlusion_accuracy"] == 4 / 5


def test_what_is_called_hidden_is_missed_though_it_is_near(tracks):
    queries, gt, hidden = tracks
    values = tapvid(queries, gt, hidden, gt, np.ones((2, 4), bool))
    assert values["average_pts_within_thresh"] == 1
    assert values["average_jaccard"] == 0
    assert values["occlusion_accuracy"] == 1 / 5


def test_strided_queries_are_scored_before_them_too(tracks):
    queries, gt, hidden = tracks
    pred = gt.copy()
    pred[1, 0] += 100  # Before the second point's query.
    assert tapvid(queries, gt, hidden, pred, hidden)["pts_within_16"] == 1
    assert tapvid(queries, gt, hidden, pred, hidden, query_mode="strided")["pts_within_16"] == 4 / 5


def test_a_distance_just_reached_is_not_within(tracks):
    queries, gt, hidden = tracks
    pred = gt.copy()
    pred[..., 1] = 4.0
    assert tapvid(queries, gt, hidden, pred, hidden)["pts_within_4"] == 0


def test_tracks_that_do_not_fit_are_refused(tracks):
    queries, gt, hidden = tracks
    with pytest.raises(ValueError, match=r"tapvid: got \(\(2, 4, 2\), \(2, 3, 2\)"):
        tapvid(queries, gt, hidden, gt[:, 1:], hidden)
    with pytest.raises(ValueError, match="query_mode: got 'last'"):
        tapvid(queries, gt, hidden, gt, hidden, query_mode="last")


def test_boxes():
    gt = [[0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 2, 2], [1, 1, 1, 1]]
    pred = [[0, 0, 2, 2], [1, 0, 3, 2], [2, 2, 4, 4], [2, 2, 0, 0], [1, 1, 1, 1]]
    assert box_iou(gt, pred).tolist() == [1, 2 / 6, 0, 0, 0]
    with pytest.raises(ValueError, match="expected equal"):
        box_iou(gt, pred[:2])


def test_depth_counts_where_it_is_known():
    gt, pred = np.array([2.0, 4.0, 0.0]), np.array([1.0, 5.0, 3.0])
    assert absolute_relative(gt, pred, gt > 0) == pytest.approx((0.5 + 0.25) / 2)
    assert np.isnan(absolute_relative(gt, pred, np.zeros(3)))


def test_classes_are_among_the_highest():
    scores = np.array([[0.1, 0.9, 0.5], [0.4, 0.4, 0.2], [0.0, 0.1, 0.2]])
    assert top_k([1, 1, 0], scores, 1) == 1 / 3
    assert top_k([1, 1, 0], scores, 2) == 2 / 3
    assert top_k([1, 1, 0], scores, 3) == 1
    assert np.isnan(top_k([], scores[:0], 1))
    assert np.isnan(top_k([0], [[np.nan, np.nan]], 1))
