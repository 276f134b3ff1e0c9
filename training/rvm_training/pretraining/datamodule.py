"""The data of a run as Lightning takes it: loaders that start at the trainer's step."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader

from rvm_training.data.dataset import (
    TRAIN_STREAM,
    VALIDATION_STREAM,
    Batch,
    ClipDataset,
    Sample,
    StepSampler,
    collate,
)
from rvm_training.data.manifest import Manifest
from rvm_training.data.mixture import Mixture
from rvm_training.data.sources import ClipSource, SceneSource, VideoSource
from rvm_training.pretraining.config import TrainConfig
from rvm_training.pretraining.preemption import ignore_signals_in_worker

say = rank_zero_only(print)
"""Tell the person who started the run, once and not from each process."""


class ClipDataModule(L.LightningDataModule):
    """Training clips without end from the trainer's step on, and a fixed set of validation clips."""

    def __init__(self, config: TrainConfig, *, patches: int, accumulate: int, micro_batch: int) -> None:
        """Prepare.

        Args:
            config: of the run.
            patches: N, patches of a frame.
            accumulate: micro-batches per process and step.
            micro_batch: clips of each.
        """
        super().__init__()
        self._config = config
        self._patches = patches
        self._accumulate = accumulate
        self._micro_batch = micro_batch
        self.waited = 0.0
        """Seconds that training waited for clips; whoever reports it sets it back."""

    def train_dataloader(self) -> DataLoader[Sample]:
        """Micro-batches of this process, from the step that the trainer is at."""
        trainer = self._trainer()
        sampler = StepSampler(
            first_step=trainer.global_step,
            micro_batch=self._micro_batch,
            accumulate=self._accumulate,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )
        dataset = self._dataset(training=True)
        return _TimedLoader(self._wait, dataset, batch_sampler=sampler, **self._loader_options())

    def val_dataloader(self) -> DataLoader[Sample]:
        """This process's share of the validation clips, the same clips each time and for any number of processes.

        Whole batches on all of them: what lies beyond the last clip comes empty and does not count.
        """
        trainer = self._trainer()
        group = self._micro_batch * trainer.world_size
        count = -(-self._config.log.validation_clips // group) * group
        mine = range(trainer.global_rank, count, trainer.world_size)
        batches = [list(mine[i : i + self._micro_batch]) for i in range(0, len(mine), self._micro_batch)]
        return DataLoader(self._dataset(training=False), batch_sampler=batches, **self._loader_options())

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Bring a batch to the device without waiting for what runs there; its pages are locked for that."""
        return batch.to(device, non_blocking=device.type == "cuda")

    def clip_source(self, *, training: bool) -> ClipSource:
        """Where the clips of one split come from."""
        data = self._config.data
        if data.manifest is None:
            # Validation shows photographs that training never does.
            scenes = data.synthetic if training else dataclasses.replace(data.synthetic, held_out=True)
            return SceneSource(scenes, data.frames, self._config.model.size)
        manifest = Manifest.read(data.manifest).split(data.train_split if training else data.val_split)
        shares, shortest = data.mixture, data.frames.shortest
        if shares is not None and not training:
            shares = Mixture.present(manifest, shares, shortest=shortest)
        mixture = Mixture(manifest, shares, shortest=shortest)
        if mixture.too_short:
            say(
                f"{manifest.name}: {mixture.too_short} of {len(manifest)} clips are shorter than {shortest} frames and "
                "are never drawn"
            )
        return VideoSource(manifest, mixture, data.frames, data.backend)

    def _dataset(self, *, training: bool) -> ClipDataset:
        config = self._config
        trainer = self._trainer()
        on_device = config.data.resize_on == "device" or (
            config.data.resize_on == "auto" and trainer.strategy.root_device.type == "cuda"
        )
        group = config.optimizer.batch if training else config.log.validation_clips
        return ClipDataset(
            self.clip_source(training=training),
            seed=config.seed,
            stream=TRAIN_STREAM if training else VALIDATION_STREAM,
            sampling=config.data.frames,
            patches=self._patches,
            crop=config.data.crop if training else config.model.size,
            resize_to=None if on_device else config.model.size,
            mask_group=group if config.objective.shared_mask else None,
            count=None if training else config.log.validation_clips,
        )

    def _loader_options(self) -> dict[str, Any]:
        workers = self._config.machine.workers
        # A worker is a fork of this process, and OpenCV's threads do not survive one: without them nothing hangs.
        cv2.setNumThreads(0)
        return {
            "collate_fn": functools.partial(collate, sampling=self._config.data.frames, size=self._config.model.size),
            "num_workers": workers,
            "worker_init_fn": ignore_signals_in_worker,
            "pin_memory": self._trainer().strategy.root_device.type == "cuda",
            "persistent_workers": workers > 0,
            **({"prefetch_factor": 4} if workers else {}),
        }

    def _wait(self, seconds: float) -> None:
        self.waited += seconds

    def _trainer(self) -> L.Trainer:
        assert self.trainer is not None
        return self.trainer


class _TimedLoader(DataLoader[Sample]):
    """A loader that tells how long each batch was waited for."""

    def __init__(self, report: Callable[[float], None], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._report = report

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # Batches, not samples: torch's stub says Any.
        batches = super().__iter__()
        while True:
            began = time.perf_counter()
            batch = next(batches)
            self._report(time.perf_counter() - began)
            yield batch
