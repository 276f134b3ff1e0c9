"""How fast a step could be by arithmetic: operations over the rate of a matrix product, bytes over that of a copy."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from rvm_model.config import RVMConfig
from rvm_model.rvm import RVM
from rvm_training.benchmark.timing import synchronizer
from rvm_training.pretraining.flops import matmul_rate


@dataclass(frozen=True)
class Machine:
    """What a device reached."""

    flops_per_s: float
    """Of a large float32 matrix product."""
    bytes_per_s: float
    """Of a large copy, reading and writing counted."""


def measure(device: torch.device) -> Machine:
    """Rates of a device in float32."""
    source = torch.ones(2**27 if device.type == "cuda" else 2**25, device=device)
    target = torch.empty_like(source)

    wait = synchronizer(device)

    def copy_s() -> float:
        wait()
        start = time.perf_counter()
        target.copy_(source)
        wait()
        return time.perf_counter() - start

    fastest = min(copy_s() for _ in range(10))
    return Machine(matmul_rate(device, torch.float32), 2 * source.nbytes / fastest)


def step_flops(config: RVMConfig, size: tuple[int, int], cameras: int) -> int:
    """Operations of one step, a multiply-add counted as two. Nothing is computed."""
    with torch.device("meta"):
        network = RVM(dataclasses.replace(config, decoder=None))
        frames = torch.empty(cameras, *size, 3)
        state = torch.empty(cameras, config.token_count(*size), config.dim)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network.step(frames, state)
    return counter.get_total_flops()


def parameter_count(config: RVMConfig) -> int:
    """Parameters of encoder and core."""
    with torch.device("meta"):
        network = RVM(dataclasses.replace(config, decoder=None))
    return sum(parameter.numel() for parameter in network.parameters())


def step_bytes(config: RVMConfig, size: tuple[int, int], cameras: int) -> int:
    """Bytes that one step has to move at the least: weights once, frames, states in and out."""
    return 4 * parameter_count(config) + cameras * (
        3 * size[0] * size[1] + 2 * 4 * config.token_count(*size) * config.dim
    )


def bound_ms(machine: Machine, config: RVMConfig, size: tuple[int, int], cameras: int) -> float:
    """The shortest time of a float32 step: its arithmetic or its memory, whichever takes longer."""
    arithmetic_s = step_flops(config, size, cameras) / machine.flops_per_s
    memory_s = step_bytes(config, size, cameras) / machine.bytes_per_s
    return 1e3 * max(arithmetic_s, memory_s)
