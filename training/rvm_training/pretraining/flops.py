"""Floating-point operations of a training step, and what the device reaches on plain matrix products."""

from __future__ import annotations

import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from rvm_model.config import RVMConfig
from rvm_model.rvm import RVM
from rvm_training.data.frames import FrameSampling
from rvm_training.pretraining.replay import replayed


def forward_flops(config: RVMConfig, size: tuple[int, int], sampling: FrameSampling, mask_ratio: float) -> int:
    """Operations of `RVM.reconstruct` for one clip, a multiply-add counted as two; the mean over numbers of sources.

    Nothing is computed.
    """
    with torch.device("meta"):
        network = RVM(config)
        sources = torch.empty(1, sampling.sources, *size, 3)
        targets = torch.empty(1, sampling.targets, *size, 3)
        deltas = torch.empty(1, sampling.targets, dtype=torch.int64)
        permutation = torch.empty(1, sampling.targets, config.token_count(*size) - 1, dtype=torch.int64)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        for count in sampling.source_counts:
            network.reconstruct(sources[:, :count], targets, deltas, mask_ratio=mask_ratio, permutation=permutation)
    return counter.get_total_flops() // len(sampling.source_counts)


def step_flops(config: RVMConfig, size: tuple[int, int], sampling: FrameSampling, mask_ratio: float) -> int:
    """Operations of forward and backward pass for one clip: three times the forward pass, recomputation not counted.

    With older states (`sampling.replay`) the mean over turns with and without replaying before the forward pass.
    """
    return 3 * forward_flops(config, size, sampling, mask_ratio) + _replay_flops(config, size, sampling) // 2


def _replay_flops(config: RVMConfig, size: tuple[int, int], sampling: FrameSampling) -> int:
    if not sampling.replay:
        return 0
    with torch.device("meta"):
        network = RVM(config)
        sources = torch.empty(1, sampling.sources, *size, 3)
    counter = FlopCounterMode(display=False)
    with counter:
        for count in sampling.source_counts:
            replayed(network, sources[:, :count], sampling.replay)
    return counter.get_total_flops() // len(sampling.source_counts)


def matmul_rate(device: torch.device, dtype: torch.dtype, side: int | None = None) -> float:
    """Floating-point operations per second that a large square matrix product reaches here: the ceiling for a model."""
    side = side or (8192 if device.type == "cuda" else 1024)
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)

    def seconds(count: int) -> float:
        _wait(device)
        start = time.perf_counter()
        for _ in range(count):
            torch.mm(a, b, out=out)
        _wait(device)
        return (time.perf_counter() - start) / count

    once = min(seconds(1) for _ in range(3))
    return 2 * side**3 / min(seconds(max(1, int(0.1 / once))) for _ in range(3))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
