"""Reports while training runs: metrics, pictures, and the stop when the state diverges."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
import torch

from rvm_training.pretraining.curve import draw_curves, read_metrics
from rvm_training.pretraining.datamodule import ClipDataModule
from rvm_training.pretraining.flops import matmul_rate, step_flops
from rvm_training.pretraining.module import Pretraining, TrainingStopped
from rvm_training.pretraining.objectives import psnr
from rvm_training.pretraining.optimizer import learning_rate
from rvm_training.pretraining.pictures import write_pictures
from rvm_training.pretraining.quarantine import Quarantine


class Monitor(L.Callback):
    """Reports every `log.every` steps and after each validation. It must stand before the checkpoint callback."""

    def __init__(self, quarantine: Quarantine, data: ClipDataModule) -> None:
        self._quarantine = quarantine
        self._data = data
        self._validation_began = 0.0
        self._reported_step = 0
        self._reported_at = 0.0
        self._flops_per_clip = 0
        self._ceiling = 0.0

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measure what this device can do, once, while nothing else runs."""
        assert isinstance(pl_module, Pretraining)
        config = pl_module.config
        self._flops_per_clip = step_flops(
            pl_module.network.config, config.model.size, config.data.frames, config.objective.mask_ratio
        )
        half = trainer.precision == "bf16-mixed"
        self._ceiling = matmul_rate(pl_module.device, torch.bfloat16 if half else torch.float32)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._restart(trainer)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report when it is time."""
        assert isinstance(pl_module, Pretraining)
        step = trainer.global_step
        due = step % pl_module.config.log.every == 0 or step >= trainer.max_steps
        if due and step > self._reported_step:
            self._report(trainer, pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report the validation, draw pictures and curves."""
        assert isinstance(pl_module, Pretraining)
        means = pl_module.val_meter.take(lambda total: trainer.strategy.reduce(total, reduce_op="sum"))
        if not means:
            raise TrainingStopped("no validation clip could be decoded; see the split data.val_split of the manifest")
        named = {f"val/{name}": value for name, value in means.items()}
        for name in [name for name in means if name.startswith("mse")]:
            named[f"val/psnr{name[3:]}"] = float(psnr(torch.tensor(means[name])))
        _log(trainer, named)
        if trainer.is_global_zero:
            folder = pl_module.config.folder
            if pl_module.example is not None and pl_module.config.log.pictures:
                write_pictures(trainer, pl_module, folder / "pictures")
            for logger in trainer.loggers:
                logger.save()
            draw_curves(read_metrics(folder), folder / "curve.png")
        pl_module.example = None
        # Not counted as training.
        self._reported_at += time.perf_counter() - self._validation_began

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note the time."""
        self._validation_began = time.perf_counter()

    def _report(self, trainer: L.Trainer, pl_module: Pretraining) -> None:
        step, config = trainer.global_step, pl_module.config
        means = pl_module.train_meter.take(lambda total: trainer.strategy.reduce(total, reduce_op="sum"))
        named = {f"train/{name}": value for name, value in means.items()}
        if means:
            named["train/psnr"] = float(psnr(torch.tensor(means["mse"])))
        try:
            named |= pl_module.health()  # Waits for the device, so that the time below is that of finished work.
            named |= self._quarantine.check(trainer)
            if not means.get("state_rms", 0.0) <= config.log.max_state_rms:
                raise TrainingStopped(
                    f"the recurrent state's root mean square is {means['state_rms']:.3g} at step {step}, above "
                    f"log.max_state_rms {config.log.max_state_rms}: it diverges. Lower optimizer.lr, warm up longer, "
                    "or start from an earlier checkpoint; grad_norm and train/state_rms in metrics.csv show when it "
                    "began"
                )
        except TrainingStopped:
            _log(trainer, named)  # The last line of the metrics is that of the step that went wrong.
            raise
        seconds = time.perf_counter() - self._reported_at
        clips = (step - self._reported_step) * config.optimizer.batch
        named["lr"] = learning_rate(step - 1, config.optimizer)
        named["clips_per_s"] = clips / seconds
        named["data_wait_share"] = self._data.waited / seconds
        rate = clips * self._flops_per_clip / seconds / trainer.world_size
        named["flop_utilisation"] = rate / self._ceiling
        _log(trainer, named)
        for name in ("train/loss", "train/psnr", "clips_per_s", "lr"):
            if name in named:
                pl_module.log(name, named[name], prog_bar=True, logger=False)
        self._restart(trainer)

    def _restart(self, trainer: L.Trainer) -> None:
        self._reported_step = trainer.global_step
        self._reported_at = time.perf_counter()
        self._data.waited = 0.0


def _log(trainer: L.Trainer, values: dict[str, float]) -> None:
    for logger in trainer.loggers:
        logger.log_metrics(values, step=trainer.global_step)
