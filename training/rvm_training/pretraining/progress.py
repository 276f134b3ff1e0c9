"""The bar in the terminal."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import TQDMProgressBar

from rvm_training.pretraining.module import Pretraining


class StepProgressBar(TQDMProgressBar):
    """Optimizer steps done of all of a run's, also where it goes on; Lightning's counts micro-batches of an epoch, and
    has no end for a run that goes on."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin where the run stopped."""
        super().on_train_start(trainer, pl_module)
        assert isinstance(pl_module, Pretraining)
        bar = self.train_progress_bar
        bar.total = pl_module.config.optimizer.steps  # `machine.stop_at_step` is not the run's end.
        bar.n = bar.initial = trainer.global_step  # Steps done before count as done, but not for the rate.
        bar.refresh()

    def on_train_epoch_start(self, *_: Any) -> None:
        """One bar for the run, not one for each epoch."""

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the optimizer's step, whichever micro-batch of it this is."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, trainer.global_step - 1)
