"""Points: TAP-Vid's files and the Perception Test's, queries, figures, and a head that learns."""

import io
import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from rvm_training.data.point_tracks import tapvid_file, tracked_videos
from rvm_training.offline.encoding import write_video
from rvm_training.readout.cache import cache_features
from rvm_training.readout.points import QUERIES, PointHead, Points
from rvm_training.readout.task import ClipSettings, collate

CLIPS = ClipSettings(8, (32, 32))


@pytest.fixture(scope="module")
def root(clips):
    return clips("points", 320, 40)


def one(frames=8, points=3):
    rng = np.random.default_rng(0)
    return {
        "video": rng.integers(0, 256, (frames, 24, 32, 3), np.uint8),
        "points": rng.random((points, frames, 2)).astype(np.float32),
        "occluded": np.zeros((points, frames), bool),
    }


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_files_of_tapvid_are_read(tmp_path, protocol):
    clip = one()
    clip["occluded"][1, 3] = True
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"horse": clip}, protocol=protocol))
    (video,) = tapvid_file(tmp_path / "a.pkl")
    assert video.name == "horse"
    np.testing.assert_array_equal(video.points, clip["points"])
    assert not video.visible[1, 3]
    assert video.visible.sum() == 23
    np.testing.assert_array_equal(video.read([5, 2]), clip["video"][[5, 2]])


def test_pictures_of_tapvid_kinetics_are_decoded(tmp_path):
    clip = one()
    files = []
    for frame in clip["video"]:
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "PNG")
        files.append(file.getvalue())
    (tmp_path / "0000_of_0010.pkl").write_bytes(pickle.dumps([clip | {"video": files}]))
    (video,) = tapvid_file(tmp_path / "0000_of_0010.pkl")
    np.testing.assert_array_equal(video.read([3]), clip["video"][[3]])


class Evil:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"a": Evil()}), r"it asks for builtins.print, and only arrays are read"),
        (b"nothing", "cannot be read as a file of TAP-Vid"),
        (pickle.dumps([{"video": 1}]), "expected video, points and occluded"),
        (pickle.dumps(one()), "expected video, points and occluded"),
        (
            pickle.dumps([one() | {"occluded": np.zeros((3, 7), bool)}]),
            r"points \(3, 8, 2\) and occluded \(3, 7\) of 8",
        ),
    ],
)
def test_what_is_no_file_of_tapvid_is_refused_and_not_run(tmp_path, capsys, content, message):
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(tapvid_file(tmp_path / "a.pkl"))
    assert "run" not in capsys.readouterr().out


def test_the_perception_test_is_read_with_y_before_x(tmp_path):
    entries = {}
    for name, split in (("video_1", "train"), ("video_2", "valid"), ("video_3", "test")):
        write_video(tmp_path / "videos" / f"{name}.mp4", np.full((6, 32, 48, 3), 90, np.uint8), fps=6)
        track = {"id": 0, "frame_ids": [1, 2, 4], "points": [[0.1, 0.2, 0.3], [0.5, 0.6, 0.7]]}
        entries[name] = {"metadata": {"video_id": name, "split": split, "num_frames": 6}, "point_tracking": [track]}
    (tmp_path / "all.json").write_text(json.dumps(entries))
    found = tracked_videos(tmp_path)
    assert [video.name for video in found["train"] + found["val"]] == ["video_1", "video_2"]
    video = found["val"][0]
    assert video.visible.tolist() == [[False, True, True, False, True, False]]
    np.testing.assert_allclose(video.points[0, [1, 2, 4]], [[0.5, 0.1], [0.6, 0.2], [0.7, 0.3]])
    assert video.read([0, 5]).shape == (2, 32, 48, 3)
    del entries["video_2"]["point_tracking"][0]["points"]
    (tmp_path / "all.json").write_text(json.dumps(entries))
    with pytest.raises(ValueError, match="is none of the Perception Test"):
        tracked_videos(tmp_path)


def test_folders_without_points_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="points: no folder at"):
        tracked_videos(tmp_path / "nothing")
    with pytest.raises(ValueError, match="got no video with points of train, expected files of TAP-Vid"):
        tracked_videos(tmp_path)


def test_a_point_is_given_where_it_is_seen_first(tmp_path):
    clip = one(points=4)
    clip["occluded"][0, :2] = True
    clip["occluded"][2] = True
    clip["occluded"][3, :7] = True  # Seen on the last frame only: nothing is left to score.
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "a.pkl").write_bytes(pickle.dumps([clip]))
    (sample,) = Points(tmp_path, CLIPS).samples("val")
    targets = sample.read().targets
    assert targets["query"].tolist() == [2, 0]
    np.testing.assert_array_equal(targets["points"][1], clip["points"][1])
    np.testing.assert_array_equal(targets["points"][0, 2:], clip["points"][0, 2:])
    assert (targets["points"][0, :2] == 0).all()  # Not to be seen: whatever the file has there.


def test_videos_shorter_than_a_clip_are_counted(root, centres, tmp_path):
    task = Points(root, ClipSettings(8, (32, 32), stride=2))
    assert not task.samples("val")
    assert task.remarks() == ["40 videos are shorter than a clip and left out"]
    with pytest.raises(ValueError, match="got no clip in val, expected some of videos of at least 15 frames"):
        cache_features(centres, task, "val", [], tmp_path)


def test_every_eighth_of_the_clip_has_a_query_of_its_own():
    head = PointHead(6, ClipSettings(16), 8, 2)
    targets = {"points": torch.rand(2, 3, 16, 2), "query": torch.tensor([[0, 3, 5], [1, 1, 15]])}
    features = torch.randn(2, 16, 5, 6)
    found = head(features, targets)
    assert found.shape == (2, 3, 16, 4)
    # A query does not look at where the point goes.
    other = targets["points"].clone()
    other[0, 1, 4:] = 0
    torch.testing.assert_close(head(features, targets | {"points": other}), found)
    torch.nn.init.zeros_(head.readout.out.weight)
    torch.nn.init.zeros_(head.readout.out.bias)
    stays = head(features, targets)[..., :2]
    torch.testing.assert_close(stays[0, 1], targets["points"][0, 1, 3].expand(16, 2))
    with pytest.raises(ValueError, match=f"got 12 frames, expected a multiple of the {QUERIES} queries"):
        PointHead(6, ClipSettings(12), 8, 2)


def test_figures_of_points_by_hand(root):
    task = Points(root, CLIPS)
    points = torch.zeros(1, 4, 2)
    points[0, 2:] = 40 / 256
    item = {"points": points, "visible": torch.tensor([[True, True, True, False]]), "query": torch.tensor([0])}
    batch = collate([item, {name: tensor.repeat(2, *[1] * (tensor.ndim - 1)) for name, tensor in item.items()}])
    sure, hidden = torch.full((2, 2, 4, 1), -9.0), torch.full((2, 2, 4, 1), -9.0)
    hidden[:, :, 3] = 9
    scores = task.score(task.measure(torch.cat([batch["points"], hidden, sure], -1), batch))
    assert scores["average Jaccard"] == scores["points within"] == scores["occlusion accuracy"] == 1
    # One of two places is right, and the one that is hidden is called seen: 1 / (2 + 2).
    assert scores["average Jaccard of points that stay"] == pytest.approx(1 / 4)
    unsure = task.score(task.measure(torch.cat([batch["points"], hidden, -sure], -1), batch))
    assert unsure["average Jaccard"] == 0
    assert unsure["points within"] == 1


def test_the_loss_counts_what_is_seen_after_the_query(root):
    task = Points(root, CLIPS)
    seen = torch.tensor([[[True, True, False]]])
    batch = {"points": torch.zeros(1, 1, 3, 2), "visible": seen, "query": torch.tensor([[0]])}
    outputs = torch.zeros(1, 1, 3, 4)
    outputs[..., 2] = torch.tensor([9.0, -9.0, 9.0])  # What is said of the query's own frame does not count.
    outputs[..., 3] = torch.tensor([9.0, -9.0, 9.0])
    assert task.loss(outputs, batch) < 1e-3
    outputs[0, 0, 1, 0] = 8 / 256  # 8 pixels away: Huber's line, and it should have been unsure.
    assert task.loss(outputs, batch) == pytest.approx(0.05 * (4 * (8 - 2)) + 9, abs=1e-2)
    batch["points"][0, 0, 2] = torch.nan  # Anything may stand where a point is hidden.
    outputs.requires_grad_()
    task.loss(outputs, batch).backward()
    assert outputs.grad.isfinite().all()


@pytest.mark.slow
def test_a_head_learns_where_points_go(root, fit, centres):
    fitted = fit(Points(root, CLIPS, width=64, heads=2), centres, steps=500, lr=3e-3, validate_every=250)
    assert fitted.metrics["average Jaccard of points that stay"] < 0.06
    assert fitted.metrics["points within"] > 0.15
    assert fitted.metrics["average Jaccard"] > 0
