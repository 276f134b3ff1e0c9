"""From a training checkpoint, sharded or not, to one file of weights that everything else loads."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributed.checkpoint.state_dict_loader import load as load_sharded

from rvm_model.config import RVMConfig
from rvm_model.rvm import RVM
from rvm_training import configuration
from rvm_training.pretraining.config import TrainConfig
from rvm_training.pretraining.run_folder import CONFIG, SIZES, STATE, find_checkpoint, step_of

Which = Literal["average", "current"]
_SHARDED_REST = "meta.pt"
"""Where Lightning puts what is not sharded."""


def consolidate(checkpoint: Path, which: Which | None = None) -> RVM:
    """Assemble the network of a training checkpoint.

    Args:
        checkpoint: a folder `step_...`, or a run's folder for its newest one.
        which: the moving average of the weights or the current ones; None takes the average where there is one.

    Returns:
        The network on the CPU.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: the average is asked for and was not kept.
    """
    folder = find_checkpoint(checkpoint)
    config = configuration.load(TrainConfig, folder / CONFIG)
    kept = config.optimizer.ema is not None
    if which == "average" and not kept:
        raise ValueError(f"{folder}: the run kept no average (optimizer.ema was null); take the current weights")
    prefix = "average." if which == "average" or (which is None and kept) else "network."
    state = folder / STATE
    rest: dict[str, Any] = torch.load(
        state / _SHARDED_REST if state.is_dir() else state, weights_only=True, map_location="cpu", mmap=True
    )
    with torch.device("meta"):
        network = RVM(RVMConfig.from_dict(rest[SIZES]))
    if state.is_dir():
        weights = {name: torch.empty(tensor.shape) for name, tensor in network.state_dict().items()}
        # Filled in place.
        wanted = {"state_dict": {prefix + name: tensor for name, tensor in weights.items()}}
        load_sharded(wanted, checkpoint_id=state, no_dist=True)
    else:
        stored: dict[str, Tensor] = rest["state_dict"]
        weights = {name.removeprefix(prefix): tensor for name, tensor in stored.items() if name.startswith(prefix)}
    network.load_state_dict(weights, assign=True)
    return network


def origin(checkpoint: Path) -> dict[str, str]:
    """Where the weights of a checkpoint `step_...` come from, for the metadata of their file."""
    return {
        "run": checkpoint.parents[1].name,
        "step": str(step_of(checkpoint)),
        "training_config_sha256": hashlib.sha256((checkpoint / CONFIG).read_bytes()).hexdigest(),
    }
