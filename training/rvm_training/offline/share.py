"""Which part of a job's inputs is this process's: by `--shard`, or by what torchrun and SLURM say."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

Item = TypeVar("Item")
_LAUNCHERS = (("RANK", "WORLD_SIZE", ""), ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"))
"""Variables with the number of a process, how many there are, and the first number; torchrun before SLURM arrays."""


def share_of(text: str, environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Number of this process, from 0, and how many there are.

    Args:
        text: `I/N`, I from 0; empty asks the environment, where both torchrun and a SLURM array may share the inputs:
            then each process of each task has its own.
        environment: variables.

    Raises:
        ValueError: the text is no share.
    """
    if text:
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None or int(match[1]) >= int(match[2]):
            raise ValueError(f"--shard: got {text!r}, expected I/N with I from 0 to N - 1, for example 0/4")
        return int(match[1]), int(match[2])
    index, count = 0, 1
    for number, total, first in _LAUNCHERS:
        if number in environment and total in environment:
            own = int(environment[number]) - int(environment.get(first, 0))
            index, count = index * int(environment[total]) + own, count * int(environment[total])
    return index, count


def share(items: Sequence[Item], index: int, count: int) -> list[Item]:
    """Every count-th item, from the index-th."""
    return list(items[index::count])
