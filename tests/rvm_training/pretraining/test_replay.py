"""States that are older than a clip."""

import dataclasses

import pytest
import torch

from rvm_model import RVM
from rvm_training.pretraining.network import make_network
from rvm_training.pretraining.replay import replayed


@pytest.fixture
def network(tiny_run) -> RVM:
    return make_network(tiny_run().model, 0)


def clip(frames: int = 3) -> torch.Tensor:
    return torch.rand(2, frames, 32, 32, 3, generator=torch.Generator().manual_seed(0))


def test_a_clip_played_forward_and_backward_leaves_the_state_that_such_a_video_leaves(network):
    frames = clip()
    there_and_back = torch.cat([frames, frames.flip(1)], dim=1)
    with torch.no_grad():
        features, once = network.forward_clip(there_and_back)
        _, twice = network.forward_clip(there_and_back, once)
    for times, state in ((1, once), (2, twice)):
        older = replayed(network, frames, times)
        torch.testing.assert_close(older.state, state, rtol=0, atol=1e-5)
        torch.testing.assert_close(older.young, features[:, 2], rtol=0, atol=1e-5)
        assert not older.state.requires_grad


def test_it_lies_where_the_step_lies(tiny_run):
    network = make_network(tiny_run("model.sizes.position=axes", "model.position_range=[8, 8]").model, 0)
    older = replayed(network, clip(), 1, origin=(3, 4))
    features, _ = network.forward_clip(torch.cat([clip(), clip().flip(1)], dim=1), origin=(3, 4))
    torch.testing.assert_close(older.young, features[:, 2], rtol=0, atol=1e-5)
    assert not torch.allclose(older.young, replayed(network, clip(), 1).young, atol=1e-2)


def test_only_a_network_with_a_state_has_an_older_one(network):
    with pytest.raises(ValueError, match="replay: got 0 times"):
        replayed(network, clip(), 0)
    without = RVM(dataclasses.replace(network.config, aggregator="self_attention"))
    with pytest.raises(ValueError, match="the aggregator self_attention, expected"):
        replayed(without, clip(), 1)
