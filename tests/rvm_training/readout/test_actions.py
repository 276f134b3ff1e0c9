"""Labelled videos of Something-Something v2 and Kinetics, and the figures of classification."""

import json
import shutil

import pytest
import torch

from rvm_training.data.labelled import labelled_videos
from rvm_training.readout.actions import Classification
from rvm_training.readout.task import ClipSettings
from rvm_training.synthetic.action_clips import ACTIONS, action_scene, write_actions
from rvm_training.synthetic.clips_config import ClipsConfig


def test_something_something_is_read_with_its_templates(actions):
    found = labelled_videos(actions)
    assert found.classes[1] == "Moving something left"
    assert {split: len(videos) for split, videos in found.videos.items()} == {"train": 160, "val": 40}
    path, label = found.videos["train"][9]
    assert (path.name, label) == ("9.mp4", 1)


def test_kinetics_is_read_by_its_folders(actions, tmp_path):
    for split, name, number in (("train", "b", 0), ("train", "a", 1), ("validate", "b", 2)):
        folder = tmp_path / "k" / split / name
        folder.mkdir(parents=True)
        shutil.copy(actions / "videos" / f"{number}.mp4", folder / f"{number}.mp4")
    found = labelled_videos(tmp_path / "k")
    assert found.classes == ("a", "b")
    assert [label for _, label in found.videos["train"]] == [0, 1]
    assert [(path.name, label) for path, label in found.videos["val"]] == [("2.mp4", 1)]


def test_folders_of_something_else_are_refused(actions, tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder at"):
        labelled_videos(tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"got no labelled video of train, expected Something-Something v2"):
        labelled_videos(tmp_path)
    shutil.copytree(actions, tmp_path / "some")
    tmp_path, labels = tmp_path / "some", tmp_path / "some" / "labels"
    (labels / "train.json").write_text(json.dumps([{"id": "1", "template": "Eating [something]"}]))
    with pytest.raises(ValueError, match="got the class 'Eating something'"):
        labelled_videos(tmp_path)
    (labels / "labels.json").write_text('{"a": "1", "b": "3"}')
    with pytest.raises(ValueError, match=r"got classes \[1, 3\] in labels.json"):
        labelled_videos(tmp_path)
    (labels / "labels.json").write_text("{")
    with pytest.raises(ValueError, match=r"labels\.json: is no JSON"):
        labelled_videos(tmp_path)


def test_frames_are_spread_over_the_whole_video(actions):
    task = Classification(actions, ClipSettings(frames=3, size=(16, 16)))
    whole = Classification(actions, ClipSettings(frames=6, size=(16, 16)))
    assert task.samples("val")[0].key == whole.samples("val")[0].key
    few, all_ = (each.samples("val")[0].read().frames for each in (task, whole))
    assert few.shape == (3, 16, 16, 3)
    assert (few[0] == all_[0]).all()
    assert (few[2] == all_[5]).all()


def test_figures_of_classification(task):
    outputs = torch.eye(8)[torch.tensor([0, 1, 2, 2])]
    scores = task.score(task.measure(outputs, {"label": torch.tensor([0, 1, 2, 7])}))
    assert scores["top-1"] == 0.75
    assert scores["most frequent class"] == 0.25


def test_only_motion_tells_a_class():
    config = ClipsConfig(frames=9, side=64)
    scenes = [action_scene(motion, config, 3, held_out=False) for motion in ACTIONS.values()]
    assert all((scene.frame(0) == scenes[0].frame(0)).all() for scene in scenes)
    assert all((scene.mask(8) != scenes[0].mask(8)).any() for scene in scenes[1:])
    tracks = {name: scene.layers[1].pose.x for name, scene in zip(ACTIONS, scenes, strict=True)}
    for way, name in ((-0.45, "Moving [something] left"), (0.45, "Moving [something] right")):
        assert tracks[name](8) - tracks[name](0) == pytest.approx(way * 64)


def test_a_download_that_is_not_whole_is_refused_and_a_few_missing_are_counted(actions, tmp_path):
    shutil.copytree(actions, tmp_path / "most")
    for number in range(5):
        (tmp_path / "most" / "videos" / f"{number}.mp4").unlink()
    assert labelled_videos(tmp_path / "most").missing == 5
    for number in range(5, 25):
        (tmp_path / "most" / "videos" / f"{number}.mp4").unlink()
    with pytest.raises(ValueError, match="got 175 of 200 listed videos"):
        labelled_videos(tmp_path / "most")


@pytest.mark.parametrize(("name", "text"), [("labels.json", "[]"), ("train.json", "{}"), ("train.json", '[{"id": 1}]')])
def test_lists_of_another_shape_are_refused(actions, tmp_path, name, text):
    shutil.copytree(actions / "labels", tmp_path / "labels")
    (tmp_path / "labels" / name).write_text(text)
    with pytest.raises(ValueError, match=str(tmp_path)):
        labelled_videos(tmp_path)


def test_another_class_of_the_same_file_is_another_clip(actions, tmp_path):
    root = shutil.copytree(actions, tmp_path / "actions")
    before = Classification(root).samples("val")[0].key
    assert Classification(root).samples("val")[0].key == before
    labels = json.loads((root / "labels" / "labels.json").read_text())
    first, second = list(labels)[:2]
    labels[first], labels[second] = labels[second], labels[first]
    (root / "labels" / "labels.json").write_text(json.dumps(labels))
    assert Classification(root).samples("val")[0].key != before


def test_too_little_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got 0 and 64 clips of 16 frames"):
        ClipsConfig(train=0)
    with pytest.raises(ValueError, match="got 4 and 64 clips, expected at least 8"):
        write_actions(tmp_path, ClipsConfig(train=4))
