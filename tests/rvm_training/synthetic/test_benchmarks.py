"""The synthetic folders are laid out as the datasets, and their labels are those of the scenes."""

import numpy as np
import pytest
from PIL import Image

from rvm_training.evaluation import datasets
from rvm_training.synthetic.benchmarks import JOINTS, WRITERS, BenchmarkConfig, write_davis

CONFIG = BenchmarkConfig(videos=2, frames=5, height=64, width=112)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    for name, write in WRITERS.items():
        write(folder / name, CONFIG)
    return folder


def test_objects_of_the_first_frame_are_followed_and_no_others(root):
    for video in datasets.davis(root / "davis"):
        frames, masks = video.read()
        assert (frames.shape, masks.shape) == ((5, 64, 112, 3), (5, 64, 112))
        first = np.unique(masks[0])
        assert first.tolist() == list(range(len(first)))  # DAVIS numbers its objects from 1 without a gap.
        assert len(first) > 1
        assert set(np.unique(masks)) <= set(first)
        assert any((masks[t] != masks[0]).any() for t in range(1, 5))


def test_joints_stay_on_their_object(root):
    for video in datasets.jhmdb(root / "jhmdb"):
        frames, poses = video.read()
        assert poses.shape == (len(frames), JOINTS, 2)
        assert ((poses[0] >= 0) & (poses[0] < [112, 64])).all()
        assert len(np.unique(poses[0], axis=0)) == JOINTS
        assert np.abs(poses[1:] - poses[0]).max() > 0.5


def test_classes_of_vip_are_those_of_the_protocol(root):
    for video in datasets.vip(root / "vip"):
        _, masks = video.read()
        assert len(np.unique(masks[0])) > 1
        assert masks.max() < 20


def test_the_same_seed_makes_the_same_files_and_another_seed_others(root, tmp_path):
    write_davis(tmp_path / "again", CONFIG)
    write_davis(tmp_path / "other", BenchmarkConfig(2, 5, 64, 112, seed=1))
    name = "Annotations/480p/scene-00/00003.png"
    assert (tmp_path / "again" / name).read_bytes() == (root / "davis" / name).read_bytes()
    assert (tmp_path / "other" / name).read_bytes() != (root / "davis" / name).read_bytes()


def test_masks_show_black_where_nothing_is(root):
    with Image.open(root / "davis/Annotations/480p/scene-00/00000.png") as image:
        assert image.mode == "P"
        assert image.getpalette()[:3] == [0, 0, 0]


def test_too_little_is_refused():
    with pytest.raises(ValueError, match="got 0 videos of 5 frames"):
        BenchmarkConfig(videos=0, frames=5)
    with pytest.raises(ValueError, match="sides of at least 32 pixels"):
        BenchmarkConfig(height=16)


def test_what_an_earlier_run_wrote_does_not_stay(tmp_path):
    write_davis(tmp_path, CONFIG)
    write_davis(tmp_path, BenchmarkConfig(1, 3, 96, 64, seed=2))
    (video,) = datasets.davis(tmp_path)
    assert video.read()[0].shape == (3, 96, 64, 3)
