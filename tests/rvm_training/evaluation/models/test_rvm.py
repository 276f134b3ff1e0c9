"""Videos side by side give what each gives alone, with the recurrence and without."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rvm_training.evaluation.models.rvm import RecurrentModel


@pytest.fixture
def videos():
    return [np.random.default_rng(seed).integers(0, 256, (3, 32, 48, 3), np.uint8) for seed in range(5)]


@pytest.mark.parametrize("recurrent", [True, False])
def test_videos_side_by_side_do_not_see_each_other(engine, videos, recurrent):
    model = RecurrentModel(engine, "tiny", recurrent=recurrent)
    together = model.features_of_several(videos)
    assert [tuple(maps.shape) for maps in together] == [(3, 2, 3, 24)] * 5
    for video, maps in zip(videos, together, strict=True):
        torch.testing.assert_close(maps, model.features(video), rtol=0, atol=1e-5)
    first = model.features(videos[0][1:2])[0]
    assert torch.allclose(first, together[0][1], atol=1e-5) != recurrent


def test_an_engine_gets_no_more_than_it_takes(engine, videos):
    batches = []

    def step(frames, state):
        batches.append(len(frames))
        return engine.step(frames, state)

    limited = SimpleNamespace(info=replace(engine.info, cameras=2), init_state=engine.init_state, step=step)
    assert len(RecurrentModel(limited, "tiny").features_of_several(videos)) == 5
    assert batches == [2] * 6 + [1] * 3


def test_videos_of_another_size_are_refused(engine, videos):
    with pytest.raises(ValueError, match=r"expected uint8 \[T, 32, 48, 3\]"):
        RecurrentModel(engine, "tiny").features_of_several([videos[0], videos[1][:, :16]])
