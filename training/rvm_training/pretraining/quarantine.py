"""Clips that could not be decoded: counted, listed, and a reason to stop when they are too many."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import lightning as L
import torch

from rvm_training.data.dataset import Batch
from rvm_training.pretraining.module import TrainingStopped

_LEAST_DRAWN = 200
"""Clips before the share of bad ones means anything."""


class Quarantine(L.Callback):
    """Writes `quarantine_<process>.csv` with the step and the reason of every clip that could not be decoded."""

    def __init__(self, folder: Path, max_bad_share: float) -> None:
        self._folder = folder
        self._max_bad_share = max_bad_share
        self._drawn = 0
        self._bad = 0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count, and write down what is new."""
        self._drawn += len(batch.valid)
        self._bad += len(batch.problems)
        if batch.problems:
            path = self._folder / f"quarantine_{trainer.global_rank}.csv"
            new = not path.exists()
            with path.open("a", newline="") as file:
                writer = csv.writer(file)
                if new:
                    writer.writerow(["step", "problem"])
                writer.writerows([trainer.global_step, problem] for problem in batch.problems)

    def check(self, trainer: L.Trainer) -> dict[str, float]:
        """Share of bad clips since the start over all processes; all processes call this together.

        Raises:
            TrainingStopped: it exceeds the limit.
        """
        counts = torch.tensor([self._drawn, self._bad], dtype=torch.float64, device=trainer.strategy.root_device)
        drawn, bad = trainer.strategy.reduce(counts, reduce_op="sum").tolist()
        share = bad / drawn if drawn else 0.0
        if drawn >= _LEAST_DRAWN and share > self._max_bad_share:
            raise TrainingStopped(
                f"{bad:.0f} of {drawn:.0f} clips could not be decoded, more than the share {self._max_bad_share} that "
                f"is allowed; {self._folder}/quarantine_*.csv names them. Mend or remove them, or raise "
                "data.max_bad_share"
            )
        return {"bad_share": share}

    def state_dict(self) -> dict[str, Any]:
        """The counts of this process. A checkpoint keeps those of the first one: an estimate after a resume."""
        return {"drawn": self._drawn, "bad": self._bad}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self._drawn, self._bad = state_dict["drawn"], state_dict["bad"]
