"""Stopping in good order: a signal is answered by a checkpoint after the running step, then by the end of training.

SLURM sends SIGUSR1 some time before it takes the machine (`--signal=USR1@300`), or SIGTERM; a person sends SIGINT.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import lightning as L

SIGNALS = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)


class Preemption(L.Callback):
    """Ends training after the step in which any process got a signal. It must stand before the checkpoint callback."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        """The signal that ended training, or None."""
        self._previous: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take over the signals, from Lightning too: it would stop without a checkpoint."""
        self._previous = {number: signal.signal(number, self._note) for number in SIGNALS}

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Agree with the other processes: they must leave the loop at the same step."""
        mine = self.received is not None
        if trainer.world_size > 1:
            mine = trainer.strategy.reduce_boolean_decision(mine, all=False)
        if mine and trainer.fit_loop.epoch_loop.batch_progress.current.ready % trainer.accumulate_grad_batches == 0:
            self.received = self.received or signal.SIGTERM
            trainer.should_stop = True

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Give the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt  # Asked twice: at once, without a checkpoint.
        self.received = signal.Signals(number)
