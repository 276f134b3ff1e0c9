"""Operations and bytes of a step agree with what is known of the network."""

import pytest
import torch

from rvm_model.config import PRESETS
from rvm_training.benchmark.roofline import Machine, bound_ms, measure, step_bytes, step_flops

SMALL = PRESETS["rvm_small16_256"]


def test_operations_of_the_small_network_are_those_of_the_paper():
    assert step_flops(SMALL, (256, 256), 1) == pytest.approx(19.1e9, rel=0.01)
    assert step_flops(SMALL, (256, 256), 4) == 4 * step_flops(SMALL, (256, 256), 1)


def test_bytes_are_weights_and_state():
    assert step_bytes(SMALL, (256, 256), 1) == pytest.approx(4 * 33.2e6, rel=0.02)


def test_the_bound_is_the_longer_of_arithmetic_and_memory():
    flops, moved = step_flops(SMALL, (256, 256), 1), step_bytes(SMALL, (256, 256), 1)
    assert bound_ms(Machine(flops, 10.0 * moved), SMALL, (256, 256), 1) == pytest.approx(1000)
    assert bound_ms(Machine(10.0 * flops, moved), SMALL, (256, 256), 1) == pytest.approx(1000)


def test_rates_are_measured():
    rates = measure(torch.device("cpu"))
    assert rates.flops_per_s > 1e8
    assert rates.bytes_per_s > 1e7
