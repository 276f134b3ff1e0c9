"""Marks become soft labels and come back as in the authors' notebook."""

import json

import numpy as np
import pytest
import torch

from rvm_training.evaluation.label_maps import labels_to_masks, labels_to_poses, mask_to_labels, pose_to_labels


@pytest.fixture(scope="module")
def notebook(root):
    with np.load(root / "tests" / "golden" / "eval_io.npz") as file:
        arrays = {key: file[key] for key in file.files}
    return arrays, json.loads(str(arrays["meta"]))


def test_masks_go_in_as_in_the_notebook(notebook):
    arrays, meta = notebook
    labels, values = mask_to_labels(arrays["mask"], tuple(meta["feat"]), tuple(meta["proc"]))
    assert (labels == arrays["heatmap"]).all()
    assert (values == arrays["label_map"]).all()


def test_masks_come_out_as_in_the_notebook(notebook):
    arrays, meta = notebook
    scores = torch.from_numpy(arrays["seg_preds"])
    masks = labels_to_masks(scores, arrays["label_map"], tuple(meta["proc"]), tuple(meta["ori"]))
    assert masks.dtype == np.int32
    assert (masks == arrays["seg_out"]).all()


def test_poses_go_in_as_in_the_notebook(notebook):
    arrays, meta = notebook
    assert (pose_to_labels(arrays["pose"], tuple(meta["feat"]), tuple(meta["ori"])) == arrays["pose_heatmap"]).all()


def test_poses_come_out_as_in_the_notebook(notebook):
    arrays, meta = notebook
    positions, visible = labels_to_poses(torch.from_numpy(arrays["pose_preds"]), tuple(meta["ori"]))
    np.testing.assert_allclose(positions, arrays["pose_coords"], rtol=1e-6)
    assert (visible == arrays["pose_visible"]).all()


def test_a_joint_outside_the_frame_is_not_marked_and_not_found():
    labels = pose_to_labels(np.array([[-90.0, 20.0], [40.0, 20.0]]), (4, 8), (40, 80))
    assert labels[..., 1].sum() == 0
    assert labels[..., 2].max() == 1
    positions, visible = labels_to_poses(torch.from_numpy(labels)[None], (40, 80))
    assert positions[0, 0].tolist() == [-1, -1]
    assert visible.tolist() == [[0, 1]]


def test_a_mask_of_one_value_keeps_its_axis():
    labels, values = mask_to_labels(np.full((40, 80), 3, np.uint8), (4, 8), (64, 128))
    assert (labels.shape, values.tolist()) == ((4, 8, 1), [3])
    masks = labels_to_masks(torch.from_numpy(labels)[None], values, (64, 128), (40, 80))
    assert (masks == 3).all()
