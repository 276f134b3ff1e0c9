"""Checkpoints of a run: written whole or not at all, thinned out, found again.

A checkpoint is a folder `step_00001000` with `config.yaml` and `state.ckpt`, which is a file, or with sharding a folder
of torch.distributed.checkpoint. It is written under another name and renamed when complete, so that a process killed at
any moment leaves the one before it in place.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_warn
from torch.distributed.checkpoint.api import CheckpointException

from rvm_training import configuration
from rvm_training.pretraining.config import TrainConfig
from rvm_training.pretraining.module import Pretraining, TrainingStopped
from rvm_training.pretraining.run_folder import CONFIG, STATE, complete, step_of

_PARTIAL = ".partial"
_FAILURES = (OSError, CheckpointException)


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
        if not trainer.strategy.broadcast(final.exists()):
            _together(trainer, partial, lambda: partial.mkdir(parents=True, exist_ok=True), alone=True)
            _together(trainer, partial, lambda: _save_state(trainer, partial / STATE))
            _together(trainer, partial, lambda: self._complete(partial, final), alone=True)
        self._last_saved = step

    def _complete(self, partial: Path, final: Path) -> None:
        configuration.save(self._config, partial / CONFIG)
        # On the disk before the name says so: a machine may lose its power.
        for path in (*(path for path in partial.rglob("*") if path.is_file()), partial):
            _flush(path)
        partial.replace(final)
        _flush(self._folder)
        try:
            self._thin_out()
        except OSError as error:
            rank_zero_warn(f"an old checkpoint could not be removed ({error}); it is left for the next start")

    def _thin_out(self) -> None:
        for old in to_remove(complete(self._folder), self._config.log.keep_last, self._config.log.keep_every):
            # Renamed first: half a removed checkpoint must not look like a whole one.
            shutil.rmtree(old.rename(old.with_name(old.name + _PARTIAL)))


def _save_state(trainer: L.Trainer, path: Path) -> None:
    try:
        trainer.save_checkpoint(path, weights_only=False)
    except _FAILURES:
        trainer.strategy.barrier()  # The one at the end of it, where the others wait.
        raise


def _together(trainer: L.Trainer, path: Path, action: Callable[[], object], *, alone: bool = False) -> None:
    """Do something on all processes, or on the first one alone; where it fails on any, all of them stop.

    Raises:
        TrainingStopped: it could not be written.
    """
    failure = ""
    if trainer.is_global_zero or not alone:
        try:
            action()
        except _FAILURES as error:
            failure = f"{type(error).__name__}: {error}"
    failed = torch.tensor(float(bool(failure)), device=trainer.strategy.root_device)
    if float(trainer.strategy.reduce(failed, reduce_op="sum")):
        raise TrainingStopped(
            f"the checkpoint {path} could not be written ({failure or 'see the other processes'}). Make room or mend "
            "the file system, and give the same command again: it goes on from the last complete checkpoint"
        )


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _at_step_end(trainer: L.Trainer) -> bool:
    done = trainer.fit_loop.epoch_loop.batch_progress.current.ready
    return done % trainer.accumulate_grad_batches == 0
