"""Where the checkpoints of a run lie: `checkpoints/step_00001000`, each with its configuration and its state."""

from __future__ import annotations

import re
from pathlib import Path

STATE = "state.ckpt"
"""A file, or with sharding a folder of torch.distributed.checkpoint."""
CONFIG = "config.yaml"
WEIGHTS = "weights.safetensors"
"""File in a run's folder with what came of it, once it is done."""
SIZES = "network_config"
"""Entry of a state that holds the network's sizes."""
_NAME = re.compile(r"step_(\d{8,})")


def complete(folder: Path) -> list[Path]:
    """The complete checkpoints below a run's checkpoint folder, oldest first."""
    found = {int(match[1]): path for path in folder.glob("step_*") if (match := _NAME.fullmatch(path.name))}
    return [found[step] for step in sorted(found)]


def latest(folder: Path) -> Path | None:
    """The newest complete checkpoint, or None."""
    return next(reversed(complete(folder)), None)


def step_of(checkpoint: Path) -> int:
    """The optimizer step after which a checkpoint was written.

    Raises:
        ValueError: the folder's name is not that of a checkpoint.
    """
    if not (match := _NAME.fullmatch(checkpoint.name)):
        raise ValueError(f"checkpoint: got {checkpoint}, expected a folder named like step_00001000")
    return int(match[1])


def find_checkpoint(path: Path) -> Path:
    """The checkpoint that a path means: itself, or the newest one of a run's folder.

    Raises:
        FileNotFoundError: it is neither.
    """
    if (path / STATE).exists():
        return path
    found = latest(path / "checkpoints")
    if found is None:
        raise FileNotFoundError(f"checkpoint: {path} is neither a checkpoint (step_...) nor a run's folder with one")
    return found
