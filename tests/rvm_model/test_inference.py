"""The step written for inference gives the network's numbers."""

import dataclasses

import pytest
import torch

from rvm_model import RVM
from rvm_model.inference import InferenceStep


@pytest.fixture
def model(tiny_config) -> RVM:
    """A network in which no bias is zero and no scale is one."""
    torch.manual_seed(1)
    model = RVM(tiny_config).eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=float(parameter.detach().mean()), std=0.3)
    return model


@pytest.mark.parametrize(("size", "batch"), [((48, 80), 1), ((32, 48), 3), ((16, 16), 2)])
def test_many_steps_equal_the_networks(model, size, batch):
    step, steps = InferenceStep(model, size), 20
    frames = torch.randint(0, 256, (batch, steps, *size, 3), dtype=torch.uint8)
    state = model.init_state(batch, *size)
    with torch.inference_mode():
        expected, _ = model.forward_clip(frames)
        for t in range(steps):
            state = step(frames[:, t], state)
            assert float((state - expected[:, t]).norm() / expected[:, t].norm()) < 1e-5, f"step {t}"


def test_the_networks_values_are_left_as_they_were(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    InferenceStep(model, (32, 48))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_network_without_a_recurrent_core_has_no_step(tiny_config):
    network = RVM(dataclasses.replace(tiny_config, aggregator="self_attention"))
    with pytest.raises(ValueError, match="got a network with the aggregator 'self_attention'"):
        InferenceStep(network, (32, 48))
