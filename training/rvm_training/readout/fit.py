"""Training of a readout on cached features, several times from other seeds, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, TQDMProgressBar
from scipy import stats
from torch import Tensor, nn
from torch.utils.data import DataLoader

from rvm_training.evaluation.models import VideoModel
from rvm_training.evaluation.result import Result
from rvm_training.pretraining.config import OptimizerConfig
from rvm_training.pretraining.optimizer import learning_rate, make_optimizer
from rvm_training.readout.cache import FEATURES, Cached, FeatureClips
from rvm_training.readout.task import Fitted, Task, collate


@dataclass(frozen=True)
class FitSettings:
    """How a readout is trained; the defaults are the protocol's."""

    steps: int = 40_000
    """Optimizer steps at most."""
    batch: int = 32
    """Clips of a step."""
    lr: float = 3e-4
    """Learning rate after the warm-up; the protocol tries 1e-4, 3e-4 and 1e-3."""
    warmup_steps: int = 1000
    """Steps over which the learning rate rises."""
    final_lr: float = 1e-7
    """Learning rate at the end of the cosine."""
    weight_decay: float = 1e-4
    """Of AdamW."""
    validate_every: int = 1000
    """Steps between validations."""
    patience: int = 10
    """Validations without a better figure that end the training."""
    seeds: int = 3
    """Trainings from other random weights and orders."""
    workers: int = 0
    """Processes that read the cache."""

    def __post_init__(self) -> None:
        """Refuse what trains nothing."""
        for name in ("validate_every", "patience", "seeds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected at least 1")

    @property
    def optimizer(self) -> OptimizerConfig:
        """For the optimizer and its schedule."""
        return OptimizerConfig(
            batch=self.batch, steps=self.steps, lr=self.lr, warmup_steps=min(self.warmup_steps, self.steps),
            final_lr=self.final_lr, weight_decay=self.weight_decay, betas=(0.9, 0.999), clip_norm=None,
        )  # fmt: skip


class ReadoutModule(L.LightningModule):
    """A head on features that do not change."""

    def __init__(self, task: Task, head: nn.Module, settings: FitSettings) -> None:
        super().__init__()
        self.task, self.head, self.settings = task, head, settings
        self._seen: list[dict[str, npt.NDArray[Any]]] = []
        self.latest: dict[str, float] = {}

    def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
        """The loss of a batch."""
        rate = learning_rate(self.global_step, self.settings.optimizer)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate
        loss = self.task.loss(self.head(batch[FEATURES], batch), batch)
        if not loss.isfinite():
            raise ValueError(f"{self.task.name}: the loss became {loss} at step {self.global_step}; try a smaller lr")
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], _: int) -> None:
        """Keep what the batch's figures are computed of."""
        outputs = self.head(batch[FEATURES], batch)
        targets = {name: tensor.cpu() for name, tensor in batch.items() if name != FEATURES}
        self._seen.append(self.task.measure(outputs.float().cpu(), targets))

    def on_validation_epoch_end(self) -> None:
        """Score all of the split."""
        seen, self._seen = self._seen, []
        self.latest = self.task.score({name: np.concatenate([each[name] for each in seen]) for name in seen[0]})
        self.log(self.task.metric, self.latest[self.task.metric], prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW; the rate is set at every step."""
        return make_optimizer(self.head.named_parameters(), self.settings.optimizer)


class KeepBest(Callback):
    """Keeps the weights and figures of the best validation in memory."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.weights: dict[str, Tensor] = {}
        self.metrics: dict[str, float] = {}
        self.step = 0

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compare with the best so far."""
        assert isinstance(pl_module, ReadoutModule)
        found, best = pl_module.latest[self._task.metric], self.metrics.get(self._task.metric, math.nan)
        if math.isnan(best) or (found > best if self._task.higher_is_better else found < best):
            self.weights = {name: tensor.cpu().clone() for name, tensor in pl_module.head.state_dict().items()}
            self.metrics, self.step = dict(pl_module.latest), trainer.global_step


def fit_head(
    task: Task, train: Cached, val: Cached, *, dim: int, grid: tuple[int, int], settings: FitSettings, seed: int,
    device: torch.device, show: bool = True,
) -> Fitted:  # fmt: skip
    """Train one head.

    Args:
        task: what for.
        train: clips that it learns from.
        val: clips that it is stopped by and scored on.
        dim: width of the features.
        grid: patch rows and columns.
        settings: how.
        seed: of the head's weights and the order of clips.
        device: where.
        show: progress.

    Raises:
        ValueError: the loss became no number.
    """
    L.seed_everything(seed, workers=True, verbose=False)

    def loader(cached: Cached, shuffle: bool) -> DataLoader[dict[str, Tensor]]:
        return DataLoader(
            FeatureClips(cached.files), settings.batch, shuffle=shuffle, collate_fn=collate,
            num_workers=settings.workers, persistent_workers=settings.workers > 0,
        )  # fmt: skip

    best = KeepBest(task)
    mode = "max" if task.higher_is_better else "min"
    stopping = EarlyStopping(task.metric, mode=mode, patience=settings.patience, check_on_train_epoch_end=False)
    trainer = L.Trainer(
        accelerator="cuda" if device.type == "cuda" else "cpu",
        devices=[device.index or 0] if device.type == "cuda" else 1,
        max_steps=settings.steps,
        check_val_every_n_epoch=None,
        val_check_interval=min(settings.validate_every, settings.steps),
        num_sanity_val_steps=0,
        callbacks=[best, stopping, *([TQDMProgressBar(refresh_rate=20)] if show else [])],
        enable_progress_bar=show,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    module = ReadoutModule(task, task.head(dim, grid), settings)
    trainer.fit(module, loader(train, True), loader(val, False))
    if trainer.global_step % min(settings.validate_every, settings.steps):  # Steps after the last validation.
        trainer.validate(module, loader(val, False), verbose=False)
    if not best.metrics or math.isnan(best.metrics[task.metric]):
        raise ValueError(
            f"{task.name}: got no figure from {settings.steps} steps, expected {task.metric}; a smaller lr?"
        )
    module.head.load_state_dict(best.weights)
    return Fitted(module.head.eval(), best.metrics, best.step)


def summarise(
    task: Task, model: VideoModel, fits: Sequence[Fitted], *, data: str, settings: FitSettings, clips: Mapping[str, int]
) -> Result:
    """The mean over seeds, with 95 % intervals (Student's t) where there are several."""
    metrics: dict[str, float] = {}
    for name in fits[0].metrics:
        values = np.array([each.metrics[name] for each in fits])
        metrics[name] = float(values.mean())
        if np.ptp(values) > 0:  # What no seed changes has no interval.
            half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
            metrics[f"{name} ±"] = float(half)
    said: dict[str, Any] = {**asdict(settings), **asdict(task.clips), **task.describe(), **clips}
    parts = [{"seed": seed, "best step": each.step, **each.metrics} for seed, each in enumerate(fits)]
    return Result(task.name, model.info, data, said, metrics, parts)


def best_rate(
    rates: Sequence[float], settings: FitSettings, train: Callable[[FitSettings, int], Fitted], task: Task
) -> tuple[FitSettings, list[Fitted]]:
    """Try learning rates with the first seed, and go on with the best.

    Args:
        rates: learning rates, at least one.
        settings: all else.
        train: trains one head with these settings and this seed.
        task: says what better is.

    Returns:
        The settings with the rate that was chosen, and a head for every seed.

    Raises:
        ValueError: training failed with every rate.
    """
    tried: list[tuple[FitSettings, Fitted]] = []
    for rate in rates:
        candidate = replace(settings, lr=rate)
        try:
            tried.append((candidate, train(candidate, 0)))
        except ValueError as error:
            if len(rates) == 1:
                raise
            print(f"lr {rate:g} is left out: {error}")
    if not tried:
        raise ValueError(f"{task.name}: got no figure with any of the rates {list(rates)}; try smaller ones")
    sign = 1 if task.higher_is_better else -1
    chosen, first = max(tried, key=lambda each: sign * each[1].metrics[task.metric])
    return chosen, [first, *(train(chosen, seed) for seed in range(1, settings.seeds))]
