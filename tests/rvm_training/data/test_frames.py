"""Source and target frames follow the paper's rule."""

import numpy as np
import pytest

from rvm_training.data.frames import FrameSampling


def draws(sampling: FrameSampling, length: int, count: int = 500):
    return [sampling.draw(np.random.default_rng([7, i]), length) for i in range(count)]


def test_defaults_are_the_papers():
    sampling = FrameSampling()
    choices = draws(sampling, 64, 2000)
    deltas = np.array([choice.deltas for choice in choices])
    assert deltas.shape == (2000, 4)
    assert (deltas.min(), deltas.max()) == (4, 48)
    # Uniform: the mean of 8000 draws from 4..48 has a standard deviation of 0.15.
    assert abs(deltas.mean() - 26) < 0.6
    for choice in choices:
        assert np.diff(choice.sources).tolist() == [1, 1, 1]
        assert [target - choice.sources[-1] for target in choice.targets] == choice.deltas
        assert min(choice.sources) >= 0
        assert max(choice.targets) <= 63


def test_starts_reach_both_ends_of_the_video():
    choices = draws(FrameSampling(delta_max=8), 20, 1000)
    assert min(choice.sources[0] for choice in choices) == 0
    assert max(max(choice.targets) for choice in choices) == 19


def test_deltas_may_count_from_the_first_source():
    for choice in draws(FrameSampling(delta_origin="first"), 64):
        assert [target - choice.sources[0] for target in choice.targets] == choice.deltas
        assert min(choice.targets) > choice.sources[-1] - 1


def test_a_stride_thins_the_video_and_deltas_stay_in_frames_of_the_clip():
    for choice in draws(FrameSampling(frame_stride=3, delta_max=10), 64):
        assert np.diff(choice.sources).tolist() == [3, 3, 3]
        assert [(target - choice.sources[-1]) / 3 for target in choice.targets] == choice.deltas


def test_numbers_of_sources_run_from_the_fewest_to_all():
    assert list(FrameSampling().source_counts) == [4]
    assert list(FrameSampling(fewest_sources=2).source_counts) == [2, 3, 4]


@pytest.mark.parametrize("options", [{"fewest_sources": 0}, {"fewest_sources": 5}, {"delta_origin": "first"}])
def test_fewer_sources_than_none_or_than_deltas_count_from_are_refused(options):
    with pytest.raises(ValueError, match=r"frames\.fewest_sources: got . of 4"):
        FrameSampling(**{"fewest_sources": 2, **options})


@pytest.mark.parametrize(
    "sampling",
    [FrameSampling(), FrameSampling(sources=1), FrameSampling(delta_origin="first"), FrameSampling(frame_stride=2)],
)
def test_the_shortest_video_gives_its_one_clip(sampling):
    choice = sampling.draw(np.random.default_rng(0), sampling.shortest)
    assert choice.sources[0] == 0
    assert set(choice.targets) == {sampling.shortest - 1}
    with pytest.raises(ValueError, match=f"got {sampling.shortest - 1} frames, expected at least {sampling.shortest}"):
        sampling.draw(np.random.default_rng(0), sampling.shortest - 1)


def test_short_videos_allow_only_the_deltas_that_fit():
    deltas = np.array([choice.deltas for choice in draws(FrameSampling(), 20)])
    assert (deltas.min(), deltas.max()) == (4, 16)


@pytest.mark.parametrize(
    "options",
    [
        {"sources": 0},
        {"targets": 0},
        {"delta_min": 0},
        {"delta_min": 9, "delta_max": 8},
        {"frame_stride": 0},
        {"delta_origin": "first", "delta_min": 3},
    ],
)
def test_settings_without_frames_are_refused(options):
    with pytest.raises(ValueError, match="frames: got"):
        FrameSampling(**options)
