"""Stopping in good order: a signal is answered by a checkpoint after the running step, then by the end of training.

SLURM sends SIGUSR1 some time before it takes the machine (`--signal=USR1@300`), or SIGTERM; a person sends SIGINT.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import lightning as L
import torch
import torch.distributed as dist

SIGNALS = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)


WORKER_SECONDS = 300
"""How long a data worker goes on after SIGTERM."""


def ignore_signals_in_worker(_: int) -> None:
    """Let data workers go on when their whole process group gets a signal: the running step needs their clips.

    They end when the training process closes its loaders or is gone; after SIGTERM at the latest in five minutes.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(WORKER_SECONDS))


class Preemption(L.Callback):
    """Ends training after the step in which any process got a signal. It must stand before the checkpoint callback."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        """The signal that ended training, or None."""
        self._previous: dict[signal.Signals, Any] = {}
        self._group: dist.ProcessGroup | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take over the signals, from Lightning too: it would stop without a checkpoint."""
        self._previous = {number: signal.signal(number, self._note) for number in SIGNALS}

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Agree with the other processes: they must leave the loop at the same step."""
        if trainer.fit_loop.epoch_loop.batch_progress.current.ready % trainer.accumulate_grad_batches:
            return
        if self._anyone(trainer):
            self.received = self.received or signal.SIGTERM
            trainer.should_stop = True

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Give the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _anyone(self, trainer: L.Trainer) -> bool:
        asked = self.received is not None
        if trainer.world_size == 1:
            return asked
        if self._group is None:
            # Over the hosts: to ask the devices would wait until they have finished all their work.
            self._group = dist.new_group(backend="gloo")
        votes = torch.tensor(int(asked))
        dist.all_reduce(votes, dist.ReduceOp.MAX, group=self._group)
        return bool(votes)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt  # Asked again by a person: at once, without a checkpoint.
        self.received = self.received or signal.Signals(number)
