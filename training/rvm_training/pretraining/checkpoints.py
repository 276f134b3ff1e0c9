"""Checkpoints of a run: written whole or not at all, thinned out, found again.

A checkpoint is a folder `step_00001000` with `config.yaml` and `state.ckpt`, which is a file, or with sharding a folder
of torch.distributed.checkpoint. It is written under another name and renamed when complete, so that a process killed at
any moment leaves the one before it in place.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint

from rvm_training import configuration
from rvm_training.pretraining.config import TrainConfig
from rvm_training.pretraining.module import Pretraining

STATE = "state.ckpt"
CONFIG = "config.yaml"
_PARTIAL = ".partial"
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


def to_remove(checkpoints: list[Path], keep_last: int, keep_every: int | None) -> list[Path]:
    """Those of some checkpoints, oldest first, that the retention rule lets go."""
    return [path for path in checkpoints[:-keep_last] if keep_every is None or step_of(path) % keep_every]


class Checkpoints(Checkpoint):
    """Writes a checkpoint every so many steps, after the last step, and when training is asked to stop.

    All of them are written after a batch, the one place from which Lightning goes on with the next one.
    """

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self._folder = config.folder / "checkpoints"
        self._last_saved = -1

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Clear away what a killed process left unfinished."""
        if trainer.is_global_zero:
            for unfinished in self._folder.glob(f"*{_PARTIAL}"):
                shutil.rmtree(unfinished)
        trainer.strategy.barrier()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save when it is time."""
        last = trainer.global_step >= trainer.max_steps or trainer.should_stop
        if last or trainer.global_step % self._config.log.checkpoint_every == 0:
            self.save(trainer, pl_module)

    def save(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write a checkpoint of the current step, unless there is one; all processes call this together.

        Raises:
            TrainingStopped: the weights are not worth keeping.
        """
        step = trainer.global_step
        # Within an accumulation the step's number stays what it was: gradients are never part of a checkpoint.
        if step == self._last_saved or step == 0 or not _at_step_end(trainer):
            return
        assert isinstance(pl_module, Pretraining)
        pl_module.health()
        final = self._folder / f"step_{step:08d}"
        partial = final.with_name(final.name + _PARTIAL)
        if trainer.is_global_zero and not final.exists():
            partial.mkdir(parents=True, exist_ok=True)
            configuration.save(self._config, partial / CONFIG)
        trainer.strategy.barrier()
        if not trainer.strategy.broadcast(final.exists()):
            trainer.save_checkpoint(partial / STATE, weights_only=False)
            trainer.strategy.barrier()
            if trainer.is_global_zero:
                partial.replace(final)
                self._thin_out()
        trainer.strategy.barrier()
        self._last_saved = step

    def _thin_out(self) -> None:
        for old in to_remove(complete(self._folder), self._config.log.keep_last, self._config.log.keep_every):
            # Renamed first: half a removed checkpoint must not look like a whole one.
            shutil.rmtree(old.rename(old.with_name(old.name + _PARTIAL)))


def _at_step_end(trainer: L.Trainer) -> bool:
    done = trainer.fit_loop.epoch_loop.batch_progress.current.ready
    return done % trainer.accumulate_grad_batches == 0
