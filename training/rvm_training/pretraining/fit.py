"""One run from its configuration to its end: resumed where it stopped, or started anew."""

from __future__ import annotations

import signal
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch.nn.attention import SDPBackend, sdpa_kernel

from rvm_training import configuration
from rvm_training.pretraining.checkpoints import Checkpoints
from rvm_training.pretraining.config import MachineConfig, TrainConfig
from rvm_training.pretraining.datamodule import ClipDataModule, say
from rvm_training.pretraining.layout import split_batch
from rvm_training.pretraining.module import Pretraining
from rvm_training.pretraining.monitor import Monitor
from rvm_training.pretraining.network import network_sizes
from rvm_training.pretraining.preemption import Preemption
from rvm_training.pretraining.progress import StepProgressBar
from rvm_training.pretraining.quarantine import Quarantine
from rvm_training.pretraining.run_folder import CONFIG, STATE, latest, step_of

MAY_CHANGE = ("machine.", "log.", "out", "name", "model.run_size", "data.backend", "data.max_bad_share")
"""Fields, or starts of them, that a resumed run may have different: they do not change what is learned."""


@dataclass(frozen=True)
class FitResult:
    """How a run ended."""

    folder: Path
    step: int
    """Optimizer steps done."""
    preempted: signal.Signals | None
    """The signal that ended it early; its checkpoint is written."""
    reports: bool
    """Whether this process is the one that speaks for all."""


def fit(config: TrainConfig) -> FitResult:
    """Train until the schedule's end, `machine.stop_at_step` or a signal.

    Raises:
        ValueError: the configuration does not fit the machine, the data, or the run that is resumed.
        TrainingStopped: training went wrong; the message says what to look at.
    """
    # The number is kept with the run: another machine, on which null is another, tells by it what it goes on with.
    config = replace(config, machine=replace(config.machine, devices=device_count(config.machine)))
    resume = latest(config.folder / "checkpoints")
    if resume is not None:
        check_resumable(configuration.load(TrainConfig, resume / CONFIG), config, resume)
    micro_batch, accumulate = _split(config)
    if config.objective.place and micro_batch < 2:
        raise ValueError(
            f"objective.place: got micro-batches of {micro_batch} clip, expected at least 2, over which places are "
            "told from what is there; raise machine.micro_batch or optimizer.batch"
        )
    module = Pretraining(config)
    patches = network_sizes(config.model).token_count(*config.model.size) - 1
    preemption = Preemption()
    data = ClipDataModule(config, patches=patches, accumulate=accumulate, micro_batch=micro_batch)
    trainer = L.Trainer(
        accelerator="cuda" if _on_gpu(config.machine) else "cpu",
        devices=device_count(config.machine),
        num_nodes=config.machine.nodes,
        strategy=_strategy(config.machine, world_size(config.machine)),
        precision=_precision(config.machine),
        max_steps=min(config.optimizer.steps, config.machine.stop_at_step or config.optimizer.steps),
        accumulate_grad_batches=accumulate,
        check_val_every_n_epoch=None,
        val_check_interval=config.log.validate_every * accumulate,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # The samplers know the processes themselves.
        callbacks=_callbacks(config, data, preemption),
        logger=_loggers(config, 0 if resume is None else step_of(resume)),
        log_every_n_steps=1,
        enable_model_summary=False,
        # Requeueing is the batch script's; Lightning's own would write a checkpoint of another form.
        plugins=[SLURMEnvironment(auto_requeue=False)] if _started_by_srun() else None,
        inference_mode=False,  # The average's shards are written to between validations.
    )
    if trainer.is_global_zero:
        config.folder.mkdir(parents=True, exist_ok=True)
        configuration.save(config, config.folder / CONFIG)
    if resume is not None:
        say(f"going on from {resume}")
    checkpoint = None if resume is None else str(resume / STATE)
    with attention(config):
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    return FitResult(config.folder, trainer.global_step, preemption.received, reports=trainer.is_global_zero)


def check_resumable(before: TrainConfig, now: TrainConfig, checkpoint: Path) -> None:
    """Refuse to go on with a run under settings that would make it another run.

    Raises:
        ValueError: fields differ that change what is learned; the message names them.
    """
    changed = {
        name: values
        for name, values in configuration.differences(before, now).items()
        if not name.startswith(MAY_CHANGE)
    }
    if now.objective.over_a_micro_batch:
        clips, clips_now = _split(before)[0], _split(now)[0]
        if clips != clips_now:
            changed["clips of a micro-batch (machine.micro_batch, devices, nodes)"] = (clips, clips_now)
    if (before.machine.strategy == "fsdp") != (now.machine.strategy == "fsdp"):
        raise ValueError(
            f"{checkpoint} is of a run with machine.strategy {before.machine.strategy}, got {now.machine.strategy}: a "
            "sharded checkpoint has another form. Go on with the strategy that it had, or start a run of another name "
            "with model.init from `rvm checkpoint consolidate`"
        )
    if changed:
        listed = "; ".join(f"{name} was {old!r}, is {new!r}" for name, (old, new) in changed.items())
        raise ValueError(
            f"{checkpoint} belongs to a run with other settings: {listed}. Give them as they were to go on, or another "
            "name=... for a new run (model.init starts it from consolidated weights)"
        )


def device_count(machine: MachineConfig) -> int:
    """Processes per node: as configured, else all GPUs, or one on a CPU."""
    if machine.devices is not None:
        return machine.devices
    return torch.cuda.device_count() if _on_gpu(machine) else 1


def world_size(machine: MachineConfig) -> int:
    """Processes over all nodes."""
    return device_count(machine) * machine.nodes


def _split(config: TrainConfig) -> tuple[int, int]:
    return split_batch(config.optimizer.batch, world_size(config.machine), config.machine.micro_batch)


def _started_by_srun() -> bool:
    # torchrun inside a SLURM job says itself how many processes there are.
    return bool(SLURMEnvironment.detect()) and not TorchElasticEnvironment.detect()


def _on_gpu(machine: MachineConfig) -> bool:
    if machine.accelerator == "cuda" and not torch.cuda.is_available():
        raise ValueError("machine.accelerator: got cuda, but torch sees no GPU; expected cpu or auto here")
    return machine.accelerator != "cpu" and torch.cuda.is_available()


def _half(machine: MachineConfig) -> bool:
    return machine.precision == "bfloat16" or (machine.precision == "auto" and _on_gpu(machine))


def _precision(machine: MachineConfig) -> Literal["32-true", "bf16-mixed"]:
    return "bf16-mixed" if _half(machine) else "32-true"


FEW_TOKENS = 128
"""Up to so many tokens a frame a CPU takes plain products of bfloat16, which were faster at 65 tokens. At 193 torch's
fused kernel was (docs/training_benchmarks.md); between these nothing was measured."""


def attention(config: TrainConfig) -> AbstractContextManager[None]:
    """What computes attention while training, as a context. Plain products take the softmax in float32 too."""
    few = network_sizes(config.model).token_count(*config.model.size) <= FEW_TOKENS
    plain = few and _half(config.machine) and not _on_gpu(config.machine)
    return sdpa_kernel(SDPBackend.MATH) if plain else nullcontext()


def _strategy(machine: MachineConfig, world_size: int) -> str | Strategy:
    if machine.strategy == "fsdp":
        return ModelParallelStrategy(data_parallel_size=world_size, tensor_parallel_size=1)
    if machine.strategy == "ddp" or world_size > 1:
        return DDPStrategy(gradient_as_bucket_view=True)  # Gradients live in the buckets: no second copy of them.
    return "auto"


def _callbacks(config: TrainConfig, data: ClipDataModule, preemption: Preemption) -> list[Callback]:
    # In this order after each batch: count, report and check, answer signals, save.
    quarantine = Quarantine(config.folder, config.data.max_bad_share)
    return [quarantine, Monitor(quarantine, data), preemption, Checkpoints(config), StepProgressBar()]


def _loggers(config: TrainConfig, first_step: int) -> list[Logger]:
    loggers: list[Logger] = [CSVLogger(config.folder, name="metrics", flush_logs_every_n_steps=1)]
    if config.log.tensorboard:
        # What an interrupted run wrote after its last checkpoint is done again.
        loggers.append(TensorBoardLogger(config.folder, name="tensorboard", version="", purge_step=first_step + 1))
    if config.log.wandb_project is not None:
        loggers.append(_wandb(config))
    return loggers


def _wandb(config: TrainConfig) -> Any:
    from lightning.pytorch.loggers import WandbLogger

    try:
        return WandbLogger(
            project=config.log.wandb_project, name=config.name, id=config.name, save_dir=config.folder, resume="allow"
        )
    except ModuleNotFoundError as error:
        raise ValueError("log.wandb_project: the package wandb is not installed; pip install wandb") from error
