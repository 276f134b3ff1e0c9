"""The protocols follow what was marked, score it as the reference, and leave masks that others can score."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from rvm_training.evaluation import datasets
from rvm_training.evaluation.metrics import boundary_f, jaccard
from rvm_training.evaluation.models import ModelInfo, VideoModel
from rvm_training.evaluation.propagation import (
    Protocol,
    evaluate_davis,
    evaluate_jhmdb,
    evaluate_vip,
    propagate_masks,
    resized,
    score_objects,
    summary,
)

SIZE = (64, 112)
PROTOCOL = Protocol(size=SIZE, context=3)


def test_what_the_features_tell_apart_is_followed(benchmarks, oracle):
    for video in datasets.davis(benchmarks / "davis"):
        frames, masks = video.read()
        found = propagate_masks(oracle(masks), frames, masks[0], PROTOCOL)
        # Up to the patches' edges.
        assert (found == masks).mean() > 0.93
        assert found.shape == masks.shape


def test_davis_scores_are_means_over_objects_without_the_ends(benchmarks, oracle):
    (video, *_) = datasets.davis(benchmarks / "davis")
    frames, masks = video.read()
    result = evaluate_davis(oracle(masks), [video], data="made", protocol=PROTOCOL)
    found = propagate_masks(oracle(masks), frames, masks[0], PROTOCOL)
    objects = range(1, masks[0].max() + 1)
    j = np.mean([jaccard(masks[1:-1] == each, found[1:-1] == each).mean() for each in objects])
    f = np.mean([boundary_f(masks[1:-1] == each, found[1:-1] == each).mean() for each in objects])
    assert result.metrics["J-Mean"] == pytest.approx(j, abs=1e-12)
    assert result.metrics["F-Mean"] == pytest.approx(f, abs=1e-12)
    assert result.metrics["J&F-Mean"] == pytest.approx((j + f) / 2, abs=1e-12)
    assert [part["object"] for part in result.parts] == list(objects)
    assert (result.protocol, result.settings["context"]) == ("davis-2017", 3)


def test_what_a_model_has_to_beat_is_the_first_mask_kept(benchmarks, oracle):
    (video, *_) = datasets.davis(benchmarks / "davis")
    _, masks = video.read()
    unmoved = np.broadcast_to(masks[0], masks.shape)
    expected = summary(score_objects("", masks, unmoved))["J&F-Mean"]
    result = evaluate_davis(oracle(masks), [video], data="made", protocol=PROTOCOL)
    assert result.metrics["J&F of masks that stay"] == expected
    assert 0 < expected < result.metrics["J&F-Mean"]


def test_masks_are_left_for_the_official_code(benchmarks, oracle, tmp_path):
    (video, *_) = datasets.davis(benchmarks / "davis")
    frames, masks = video.read()
    evaluate_davis(oracle(masks), [video], data="made", protocol=PROTOCOL, masks_to=tmp_path)
    files = sorted((tmp_path / "davis-2017" / "oracle" / video.name).iterdir())
    assert [file.name for file in files] == [path.name for path in video.masks]
    with Image.open(files[2]) as image:
        found = np.asarray(image)
    assert (found == propagate_masks(oracle(masks), frames, masks[0], PROTOCOL)[2]).all()


def test_objects_that_come_later_are_not_scored():
    gt, pred = np.zeros((5, 8, 8), int), np.zeros((5, 8, 8), int)
    gt[:, :4], gt[2:, 6:] = 1, 2
    pred[:, :4] = 1
    (score,) = score_objects("made", gt, pred)
    assert (score.object, score.j.mean, score.f.mean) == (1, 1, 1)
    assert summary([score])["J&F-Mean"] == 1


def test_a_sequence_without_frames_between_its_ends_is_refused():
    with pytest.raises(ValueError, match="of 3 frames or more"):
        list(score_objects("made", np.ones((2, 4, 4), int), np.ones((2, 4, 4), int)))


def test_vip_counts_pixels_of_all_frames_by_class(benchmarks, oracle):
    (video, *_) = datasets.vip(benchmarks / "vip")
    frames, masks = video.read()
    result = evaluate_vip(oracle(masks), [video], data="made", protocol=PROTOCOL)
    found = propagate_masks(oracle(masks), frames, masks[0], PROTOCOL)
    background = ((found == 0) & (masks == 0)).sum() / ((found == 0) | (masks == 0)).sum()
    assert result.metrics["IoU background"] == pytest.approx(background)
    present = [value for name, value in result.metrics.items() if name.startswith("IoU ") and not np.isnan(value)]
    assert result.metrics["mIoU"] == pytest.approx(np.mean(present))
    # Saved as null, since JSON has no NaN.
    assert np.isnan(result.metrics["IoU hat"]) == ("hat" not in str(np.unique(masks)) and 1 not in masks)


def test_joints_on_a_still_picture_stay_where_they_are():
    class Places(VideoModel):
        """Each patch is itself and nothing else."""

        def __init__(self):
            super().__init__(ModelInfo("places", "frame by frame", "", False, "fp32", "torch", 4), SIZE)

        def features(self, frames):
            cells = self.grid[0] * self.grid[1]
            return torch.eye(cells).unflatten(0, self.grid).expand(len(frames), -1, -1, -1)

    class Still:
        name = "still"

        def read(self):
            rng = np.random.default_rng(0)
            pose = rng.uniform([8, 8], [100, 56], (15, 2)).astype(np.float32)
            return np.zeros((4, *SIZE, 3), np.uint8), np.tile(pose, (4, 1, 1))

    # Joints fall on whole patches, and that is near against the size of the person.
    exact = Protocol(size=SIZE, context=3, top_k=1)
    metrics = evaluate_jhmdb(Places(), [Still()], data="made", protocol=exact).metrics
    assert list(metrics) == ["PCK@0.1", "PCK@0.2", "PCK@0.3", "PCK@0.4", "PCK@0.5"]
    assert list(metrics.values()) == [100.0] * 5


def test_nothing_to_follow_is_told(oracle):
    with pytest.raises(ValueError, match="got no object in the first mask of any sequence"):
        evaluate_davis(oracle(np.zeros((3, *SIZE))), [], data="made")


def test_frames_are_resized_as_by_the_notebook():
    # mediapy's resize_video is Pillow's Lanczos.
    frames = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), np.uint8)
    expected = Image.fromarray(frames[1]).resize((48, 32), Image.Resampling.LANCZOS)
    assert (resized(frames, (32, 48))[1] == np.asarray(expected)).all()
    assert resized(frames, (20, 30)) is frames


def test_a_result_is_read_back_with_what_is_no_number(benchmarks, oracle, tmp_path):
    from rvm_training.evaluation.result import Result

    (video, *_) = datasets.vip(benchmarks / "vip")
    _, masks = video.read()
    result = evaluate_vip(oracle(masks), [video], data="made", protocol=PROTOCOL)
    path = result.save(tmp_path)
    assert path.name == "vip_oracle.json"
    assert None in json.loads(path.read_text())["metrics"].values()
    again = Result.load(path)
    assert again.model == result.model
    np.testing.assert_equal(dict(again.metrics), dict(result.metrics))
