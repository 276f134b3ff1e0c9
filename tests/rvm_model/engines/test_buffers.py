"""Steps run in place in two states that are swapped."""

import itertools

import pytest
import torch

from rvm_model.engines import EngineInfo
from rvm_model.engines.buffers import StepBuffers

INFO = EngineInfo("fake", "w", True, "cpu", "fp32", 32, 48, 16, 4)


@pytest.fixture
def launches():
    return []


@pytest.fixture
def buffers(launches):
    """A step that adds the mean of the frame to the state."""

    def launch_for(batch):
        def launch(frames, state, features):
            launches.append((batch, state.data_ptr(), features.data_ptr()))
            features.copy_(state + frames.float().mean(dim=(1, 2, 3))[:, None, None])

        return launch

    return StepBuffers(INFO, launch_for)


def frames(*values):
    return torch.tensor(values, dtype=torch.uint8)[:, None, None, None].expand(-1, 32, 48, 3).contiguous()


def test_a_state_that_comes_back_is_not_copied(buffers, launches):
    state = torch.zeros(1, 7, 4)
    for value in (1, 2, 3, 4):
        state = buffers.step(frames(value), state)
    assert torch.equal(state, torch.full((1, 7, 4), 10.0))
    places = {place for _, *both in launches for place in both}
    assert len(places) == 2
    assert all(first[2] == second[1] for first, second in itertools.pairwise(launches)), "swapped"


def test_the_state_that_a_step_reads_is_left_as_it_was(buffers):
    first = buffers.step(frames(1), torch.zeros(1, 7, 4))
    kept = first.clone()
    buffers.step(frames(5), first)
    assert torch.equal(first, kept)


def test_each_batch_size_has_buffers_of_its_own(buffers, launches):
    one = buffers.step(frames(1), torch.zeros(1, 7, 4))
    three = buffers.step(frames(1, 2, 3), torch.zeros(3, 7, 4))
    assert torch.equal(one, torch.ones(1, 7, 4))
    assert torch.equal(three[:, 0, 0], torch.tensor([1.0, 2.0, 3.0]))
    # A row of a larger batch's buffer is a state from elsewhere.
    again = buffers.step(frames(10), three[:1])
    assert torch.equal(again, torch.full((1, 7, 4), 11.0))
    assert [batch for batch, *_ in launches] == [1, 3, 1]
