"""AdamW with decay for matrices only, and the learning rate's schedule: linear warm-up, then half a cosine."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import nn
from torch.optim import AdamW

from rvm_training.pretraining.config import OptimizerConfig

_LEARNED_TOKENS = ("cls_token", "mask_token", "query", "time_code")
"""Single vectors that are stored as matrices."""


def make_optimizer(named: Iterable[tuple[str, nn.Parameter]], config: OptimizerConfig) -> AdamW:
    """AdamW with two groups: matrices, which decay, and biases, norms and learned tokens, which do not."""
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    device = torch.device("cpu")
    for name, parameter in named:
        groups[parameter.ndim >= 2 and name.rpartition(".")[2] not in _LEARNED_TOKENS].append(parameter)
        device = parameter.device
    return AdamW(
        [
            {"params": groups[True], "weight_decay": config.weight_decay},
            {"params": groups[False], "weight_decay": 0.0},
        ],
        lr=config.lr,
        betas=config.betas,
        fused=device.type == "cuda",
    )


def learning_rate(step: int, config: OptimizerConfig) -> float:
    """Learning rate of a step, counted from 0."""
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.final_lr + (config.lr - config.final_lr) * cosine


def average_decay(step: int, decay: float) -> float:
    """Decay of the moving average at a step counted from 0: it rises, so that the start is soon forgotten."""
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def update_average(average: Iterator[nn.Parameter], current: Iterator[nn.Parameter], decay: float) -> None:
    """Move an exponential moving average of weights towards the current ones, in place; sharded ones shard by shard."""
    torch._foreach_lerp_(list(average), list(current), 1 - decay)
