"""Memory measured without data equals that of the real step."""

import gc

import pytest
import torch

from rvm_model import RVM
from rvm_training.data.frames import FrameSampling
from rvm_training.pretraining.layout import recompute
from rvm_training.pretraining.memory import PeakMemory, activation_bytes, memory_plan

SAMPLING = FrameSampling(sources=3, targets=2, delta_max=8)


def test_peak_counts_what_is_alive_at_once():
    gc.collect()
    with PeakMemory() as memory:
        a = torch.zeros(100)
        b = a + 1  # 800 bytes
        del a
        c = b.view(10, 10) * 2  # 800 again: the view is free
        del b, c
        d = torch.zeros(150)
        d.add_(1)
    assert memory.peak == 800


@pytest.mark.parametrize("checkpointing", ["none", "step", "block"])
def test_a_step_without_data_takes_what_the_real_one_takes(tiny_run, checkpointing):
    config = tiny_run().model.scratch()
    planned = activation_bytes(
        config, (32, 32), SAMPLING, batch=2, mask_ratio=0.75, checkpointing=checkpointing, half=False
    )
    network = RVM(config)
    recompute(network, checkpointing)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    sources, targets = torch.zeros(2, 3, 32, 32, 3, dtype=torch.uint8), torch.zeros(2, 2, 32, 32, 3)
    deltas = torch.zeros(2, 2, dtype=torch.int64)
    gc.collect()
    with PeakMemory() as memory:
        out = network.reconstruct(sources, targets, deltas, mask_ratio=0.75)
        (out.frames - targets).square().flatten(1).mean(1).mean().backward()
    assert planned == pytest.approx(memory.peak, rel=0.02)


def test_recomputing_saves_memory(tiny_run):
    sizes = tiny_run("model.sizes.encoder_depth=6").model.scratch()
    none, step, block = (
        activation_bytes(sizes, (64, 64), SAMPLING, batch=4, mask_ratio=0.75, checkpointing=what, half=False)
        for what in ("none", "step", "block")
    )
    assert block < step < none


def test_the_plan_divides_what_is_sharded(tiny_run):
    config = tiny_run().model.scratch()
    count = sum(parameter.numel() for parameter in RVM(config).parameters())
    options = {"micro_batch": 1, "mask_ratio": 0.75, "checkpointing": "none", "half": False, "average": True}
    whole = memory_plan(config, (32, 32), SAMPLING, shards=1, **options)
    assert (whole.parameters, whole.gradients, whole.optimizer, whole.average) == (
        4 * count,
        4 * count,
        8 * count,
        4 * count,
    )
    assert whole.gathered == 0
    quarter = memory_plan(config, (32, 32), SAMPLING, shards=4, **options)
    assert quarter.parameters == -(-count * 4 // 4)
    assert quarter.gathered > 0
    assert quarter.activations == whole.activations
    assert quarter.total == sum(
        (
            quarter.parameters,
            quarter.gradients,
            quarter.optimizer,
            quarter.average,
            quarter.gathered,
            quarter.activations,
        )
    )
