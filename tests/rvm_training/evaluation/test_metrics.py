"""The metrics equal the reference code's outputs, and hand-computed cases that it leaves open."""

import numpy as np
import pytest

from rvm_training.evaluation.metrics import (
    boundary,
    boundary_f,
    confusion,
    iou_of,
    jaccard,
    mean_iou,
    pck,
    statistics,
)


@pytest.fixture(scope="module")
def reference(root):
    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(root / "tests" / "golden" / f"{name}.npz") as file:
            return {key: file[key] for key in file.files}

    return load


def test_j_and_f_are_those_of_davis(reference):
    davis = reference("davis_jf")
    gt, pred, void = davis["gt"], davis["pred"], davis["void"]
    assert (jaccard(gt, pred) == davis["J"]).all()
    assert (jaccard(gt, pred, void) == davis["J_void"]).all()
    assert (boundary_f(gt, pred) == davis["F"]).all()
    assert (boundary_f(gt, pred, void) == davis["F_void"]).all()
    assert (boundary_f(gt, pred, bound_th=3) == davis["F_bound3"]).all()


def test_outlines_are_those_of_davis(reference):
    davis = reference("davis_jf")
    assert davis["boundary_gt"].any()
    assert all(
        (boundary(mask) == outline).all() for mask, outline in zip(davis["gt"], davis["boundary_gt"], strict=True)
    )


def test_pck_is_that_of_jhmdb(reference):
    jhmdb = reference("pck")
    videos = [[jhmdb[f"{kind}_{video}"] for video in range(3)] for kind in ("gt", "pred", "visible")]
    assert (pck(*videos, jhmdb["thresholds"]) == jhmdb["pck"]).all()


def test_miou_is_that_of_vip(reference):
    vip = reference("vip_miou")
    counts = confusion(vip["gt"], vip["pred"], 20)
    assert (counts == vip["hist"]).all()
    assert np.array_equal(iou_of(counts), vip["iou_per_class"], equal_nan=True)
    assert mean_iou(vip["gt"], vip["pred"], 20) == vip["miou"]


def test_statistics_are_mean_recall_and_decay():
    # Quarters overlap by one frame, as in the reference: [1, 1, .6], ..., [.2, 0, .3].
    summary = statistics([1.0, 1.0, 0.6, 0.5, 0.4, 0.4, 0.2, 0.0, 0.3])
    assert summary.mean == pytest.approx(4.4 / 9)
    assert summary.recall == pytest.approx(3 / 9)
    assert summary.decay == pytest.approx(2.6 / 3 - 0.5 / 3)
    assert statistics([0.5, np.nan, 1.0]).mean == 0.75


def test_long_sequences_have_a_decay():
    # The reference's indices wrap around at 256 frames.
    assert statistics(np.linspace(1, 0, 401)).decay == pytest.approx(0.75)


def test_a_joint_that_is_never_visible_does_not_count():
    gt = np.array([[[0, 0], [3, 4], [9, 9]]] * 3, np.float64)
    pred = gt.copy()
    pred[1, 0] = [0, 2.9]  # Of a size of 0.6 * 5.
    visible = np.array([[1, 1, 0]] * 3)
    assert pck([gt], [pred], [visible], [0.9, 1.0]).tolist() == [75.0, 100.0]


def test_nothing_visible_has_no_pck():
    gt = np.zeros((3, 15, 2))
    assert np.isnan(pck([gt], [gt], [np.zeros((3, 15))], [0.1])).all()


def test_labels_out_of_range_do_not_count_in_the_truth_and_are_refused_in_predictions():
    gt, pred = np.array([0, 1, 255, 1]), np.array([0, 1, 7, 0])
    assert mean_iou(gt, pred, 2) == pytest.approx(0.5)
    with pytest.raises(ValueError, match=r"got labels 0\.\.7, expected 0\.\.1"):
        mean_iou(np.zeros(4), pred, 2)


def test_shapes_that_differ_are_refused():
    mask = np.zeros((2, 4, 4), bool)
    with pytest.raises(ValueError, match=r"got \(2, 4, 4\), \(2, 4, 5\)"):
        jaccard(mask, np.zeros((2, 4, 5)))
    with pytest.raises(ValueError, match="expected equal"):
        boundary_f(mask[0], mask[0])
    with pytest.raises(ValueError, match=r"pck: got \(3, 15, 2\)"):
        pck([np.zeros((3, 15, 2))], [np.zeros((3, 14, 2))], [np.zeros((3, 15))], [0.1])
    with pytest.raises(ValueError, match="expected as many of each"):
        pck([], [np.zeros((3, 15, 2))], [], [0.1])
