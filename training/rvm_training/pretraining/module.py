"""The Lightning module: network, loss, optimizer, and what is measured on the way.

Departures from the authors' code: none in the numbers of a step. A clip that could not be decoded counts nothing in the
batch's mean, and is not replaced by another.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics.functional.image import structural_similarity_index_measure

from rvm_model.layers import as_unit_float
from rvm_model.masking import visible_count
from rvm_model.rvm import RVM, Reconstruction
from rvm_model.weights import load_weights
from rvm_training.data.dataset import Batch
from rvm_training.pretraining import objectives
from rvm_training.pretraining.config import TrainConfig
from rvm_training.pretraining.layout import compile_blocks, gather_anew, recompute, shard
from rvm_training.pretraining.meter import Meter
from rvm_training.pretraining.network import make_network
from rvm_training.pretraining.optimizer import average_decay, learning_rate, make_optimizer, update_average
from rvm_training.pretraining.replay import replayed
from rvm_training.pretraining.run_folder import SIZES


class TrainingStopped(RuntimeError):  # noqa: N818 (a state, as Lightning and Python name theirs)
    """Training went wrong in a way that more steps would not mend. The message says what to look at."""


class Pretraining(L.LightningModule):
    """Masked reconstruction of future frames, as Lightning trains it."""

    network: RVM
    average: RVM | None
    """Exponential moving average of the network's weights, where the configuration asks for one."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.config = config
        self.train_meter = Meter()
        self.val_meter = Meter()
        self.example: tuple[Tensor, Reconstruction] | None = None
        """Frames [B, S + T, H, W, 3] in [0, 1] of the first validation batch and what was made of them."""
        self._grad_norm: Tensor | None = None
        self._judge: list[RVM] = []  # In a list, so that its frozen weights are no part of this module's.

    def configure_model(self) -> None:
        """Build the network, the same on all processes, and lay it out. Lightning calls this on each device."""
        if hasattr(self, "network"):
            return
        network = make_network(self.config.model, self.config.seed)
        check_masking(network, self.config)
        if self.config.objective.perceptual_model is not None:
            judge, _ = load_weights(self.config.objective.perceptual_model)
            self._judge = [judge.requires_grad_(False)]
        self.average = None
        if self.config.optimizer.ema is not None:
            self.average = copy.deepcopy(network).requires_grad_(False)
        recompute(network, self.config.machine.checkpointing)
        for part in (network, self.average):
            if part is None:
                continue
            if self.config.machine.compile:
                compile_blocks(part)
            if self.config.machine.strategy == "fsdp":
                assert self.device_mesh is not None
                shard(part, self.device_mesh["data_parallel"], trained=part is network)
        self.network = network

    def on_fit_start(self) -> None:
        """Bring the frozen judge to the device."""
        for judge in self._judge:
            judge.to(self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one micro-batch: its mean over all its clips, those without frames counting zero."""
        sampling = self.config.data.frames
        turn, place = divmod(self.global_step, len(sampling.source_counts))
        count, origin = sampling.source_counts[place], self._origin()
        frames = batch.resized(self.config.model.size)
        older = None
        if sampling.replay and turn % 2:
            sources = frames[:, sampling.sources - count : sampling.sources]
            older = replayed(self.network, sources, sampling.replay, origin=origin)
        state = None if older is None else older.state
        out = self._reconstruct(self.network, batch, frames, count, state=state, origin=origin)
        targets = as_unit_float(frames[:, sampling.sources :], torch.float32)
        losses, mse = self._losses(out, targets, batch.valid, young=None if older is None else older.young)
        self.train_meter.add(
            batch.valid,
            loss=losses.detach(),
            mse=mse.detach(),
            state_rms=out.state.detach().float().square().flatten(1).mean(1).sqrt(),
        )
        return (losses * batch.valid).sum() / len(batch.valid)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure reconstruction on held-out clips, beside two predictions that need no network."""
        network = self.network if self.average is None else self.average
        split = self.config.data.frames.sources
        frames = batch.resized(self.config.model.size)
        out = self._reconstruct(network, batch, frames, split)
        frames = as_unit_float(frames, torch.float32)
        sources, targets = frames[:, :split], frames[:, split:]
        losses, mse = self._losses(out, targets, batch.valid)
        predicted = self._pixels(out, targets).clamp(0, 1)
        self.val_meter.add(
            batch.valid,
            loss=losses,
            mse=mse,
            ssim=_ssim(predicted, targets),
            mse_copy_last=objectives.pixel_loss(objectives.copy_last(sources, targets.shape[1]), targets),
            mse_mean_frame=objectives.pixel_loss(objectives.mean_frame(sources, targets.shape[1]), targets),
        )
        if batch_idx == 0:
            self.example = frames, dataclasses.replace(out, frames=predicted)

    def on_validation_end(self) -> None:
        """Training goes on with sharded parameters."""
        gather_anew(self.network)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, and a learning rate that is a function of the step alone."""
        config = self.config.optimizer
        optimizer = make_optimizer(self.network.named_parameters(), config)
        schedule = LambdaLR(optimizer, lambda step: learning_rate(step, config) / config.lr)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: Optimizer, *_: Any, **__: Any) -> None:
        """Clip by the norm over all parameters and shards, and keep that norm."""
        limit = self.config.optimizer.clip_norm
        norm = clip_grad_norm_(self.network.parameters(), torch.inf if limit is None else limit)
        self._grad_norm = norm.full_tensor() if isinstance(norm, DTensor) else norm

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Step, then move the average of the weights."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.average is not None:
            assert self.config.optimizer.ema is not None
            decay = average_decay(self.global_step, self.config.optimizer.ema)
            update_average(self.average.parameters(), self.network.parameters(), decay)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the network's sizes with the weights: those of `model.init` need not be there when they are loaded."""
        checkpoint[SIZES] = self.network.config.to_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Count micro-batches as this layout has them: Lightning steps at multiples of their number per step."""
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        done = checkpoint["global_step"] * self.trainer.accumulate_grad_batches
        for counts in (progress["total"], progress["current"]):
            counts.update(dict.fromkeys(counts, done))

    def health(self) -> dict[str, float]:
        """Gradient norm of the last step, which is the same on all processes; waits for the device.

        Raises:
            TrainingStopped: it is not finite, so the weights are spoilt.
        """
        if self._grad_norm is None:
            return {}
        norm = float(self._grad_norm)
        if not math.isfinite(norm):
            raise TrainingStopped(
                f"the gradient's norm is {norm} at step {self.trainer.global_step}: training stops, and the last "
                "checkpoint is from before. Look at train/loss and grad_norm before it: a rise over many steps asks "
                "for a lower optimizer.lr, a longer warmup_steps or a smaller clip_norm; a sudden one for the clips of "
                "that step (quarantine_*.csv, pictures/), or for machine.precision=float32"
            )
        return {"grad_norm": norm}

    def _origin(self) -> tuple[int, int]:
        """Row and column that this step's frames begin at; the same on all processes, and when a run goes on."""
        within, (rows, columns) = self.network.config.position_range, self.network.config.grid(*self.config.model.size)
        if within is None:
            return 0, 0
        top, left = np.random.default_rng([self.config.seed, self.global_step]).integers(
            (within[0] - rows + 1, within[1] - columns + 1)
        )
        return int(top), int(left)

    def _reconstruct(
        self,
        network: RVM,
        batch: Batch,
        frames: Tensor,
        count: int,
        *,
        state: Tensor | None = None,
        origin: tuple[int, int] = (0, 0),
    ) -> Reconstruction:
        """The targets of the batch's frames [B, S + T, H, W, 3] from the last `count` sources."""
        split = self.config.data.frames.sources
        return network.reconstruct(
            frames[:, split - count : split],
            frames[:, split:],
            batch.deltas,
            mask_ratio=self.config.objective.mask_ratio,
            permutation=batch.permutation,
            state=state,
            origin=origin,
        )

    def _losses(
        self, out: Reconstruction, targets: Tensor, valid: Tensor, *, young: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Per clip the loss that is minimised and the squared error of the pixels, float32 [B] each.

        `young` are the last source's features from a younger state, where the state is older than the sources.
        """
        config = self.config.objective
        predicted = self._pixels(out, targets)
        mse = objectives.pixel_loss(predicted, targets)
        losses = mse
        if config.normalize_patches:
            mean, std = objectives.patch_statistics(targets, self.network.config.patch_size)
            losses = objectives.pixel_loss(out.frames, (targets - mean) / std)
        if config.temporal_consistency:
            losses = losses + config.temporal_consistency * objectives.temporal_consistency_loss(out.features)
        if config.place or config.crowding:
            states = out.features[valid > 0, -1]
            losses = losses + config.place * objectives.place_loss(states)
            losses = losses + config.crowding * objectives.crowding_loss(states)
        if config.drift and young is not None:
            losses = losses + config.drift * objectives.drift_loss(young[valid > 0], out.features[valid > 0, -1])
        if config.perceptual:
            losses = losses + config.perceptual * objectives.perceptual_loss(self._judge[0], predicted, targets)
        return losses, mse

    def _pixels(self, out: Reconstruction, targets: Tensor) -> Tensor:
        """The reconstruction as pixels. Normalised patches get the target's own mean and spread, as MAE shows them."""
        frames = out.frames.float()
        if self.config.objective.normalize_patches:
            mean, std = objectives.patch_statistics(targets, self.network.config.patch_size)
            frames = frames * std + mean
        return frames


def check_masking(network: RVM, config: TrainConfig) -> None:
    """Refuse a setting in which the decoder would see no patch of the target at all.

    Raises:
        ValueError: no patch stays visible.
    """
    patches = network.config.token_count(*config.model.size) - 1
    if visible_count(patches, config.objective.mask_ratio) == 0 and config.objective.mask_ratio < 1:
        raise ValueError(
            f"objective.mask_ratio: {config.objective.mask_ratio} leaves none of {patches} patches visible; take "
            "larger frames, smaller patches or a lower ratio (1.0 hides all on purpose)"
        )


def _ssim(predicted: Tensor, targets: Tensor) -> Tensor:
    """Structural similarity per clip [B] of frames [B, T, H, W, 3] in [0, 1]."""
    batch, count = predicted.shape[:2]
    made, wanted = (frames.flatten(0, 1).movedim(-1, 1) for frames in (predicted, targets))
    per_image = structural_similarity_index_measure(made, wanted, data_range=1.0, reduction="none")
    assert isinstance(per_image, Tensor)
    return per_image.reshape(batch, count).mean(1)
