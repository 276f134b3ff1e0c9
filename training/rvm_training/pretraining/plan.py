"""What a run needs before it is started: memory, computation, clips per second, room for checkpoints."""

from __future__ import annotations

import dataclasses
from typing import get_args

import torch

from rvm_model.rvm import RVM
from rvm_training.pretraining.config import TrainConfig
from rvm_training.pretraining.flops import step_flops
from rvm_training.pretraining.layout import Checkpointing, split_batch
from rvm_training.pretraining.memory import memory_plan, weight_bytes
from rvm_training.pretraining.network import network_sizes


def plan(config: TrainConfig, tflops: float | None = None) -> str:
    """The needs of a run, as text; a CPU counts as one process and GPUs as configured.

    Args:
        config: the run.
        tflops: what one device sustains, in 1e12 operations per second of the network's own work, recomputation not
            counted; with it the time is told too.
    """
    machine = config.machine
    devices = (machine.devices or 1) * machine.nodes
    return f"{_memory(config, devices)}\n\n{_computation(config, devices, tflops)}"


def _memory(config: TrainConfig, devices: int) -> str:
    machine = config.machine
    micro_batch = split_batch(config.optimizer.batch, devices, machine.micro_batch)[0]
    shards = devices if machine.strategy == "fsdp" else 1
    sizes = network_sizes(config.model)
    lines = [
        f"{config.name}: {devices} devices, {shards} shards, micro-batches of {micro_batch} clips, "
        f"{'float32' if machine.precision == 'float32' else 'bfloat16'}; GiB on each device",
        f"{'checkpointing':<15}{'weights':>9}{'gradients':>11}{'AdamW':>8}{'average':>9}{'gathered':>10}"
        f"{'activations':>13}{'all':>8}",
    ]
    for checkpointing in get_args(Checkpointing):
        needs = memory_plan(
            sizes,
            config.model.size,
            config.data.frames,
            micro_batch=micro_batch,
            mask_ratio=config.objective.mask_ratio,
            checkpointing=checkpointing,
            half=machine.precision != "float32",
            average=config.optimizer.ema is not None,
            shards=shards,
        )
        weights, gradients, adamw, average, gathered, activations, total = (
            value / 2**30 for value in (*dataclasses.astuple(needs), needs.total)
        )
        chosen = " (configured)" if checkpointing == machine.checkpointing else ""
        lines.append(
            f"{checkpointing:<15}{weights:>9.2f}{gradients:>11.2f}{adamw:>8.2f}{average:>9.2f}{gathered:>10.2f}"
            f"{activations:>13.2f}{total:>8.2f}{chosen}"
        )
    return "\n".join(lines)


def _computation(config: TrainConfig, devices: int, tflops: float | None) -> str:
    sizes, frames, mask_ratio = network_sizes(config.model), config.data.frames, config.objective.mask_ratio
    clip = step_flops(sizes, config.model.size, frames, mask_ratio)
    clips = config.optimizer.batch * config.optimizer.steps
    with torch.device("meta"):
        weights = weight_bytes(RVM(sizes))
    checkpoint = weights * (3 if config.optimizer.ema is None else 4)  # AdamW's moments, the average.
    lines = [
        f"a checkpoint: {checkpoint / 1e9:.2f} GB",
        f"computation: {clip / 1e12:.3f} TFLOP per clip, forward and backward, recomputation not counted",
        f"the run: {clips:,} clips, {clips * (frames.sources + frames.targets):,} frames, {clip * clips:.2e} FLOP",
    ]
    if tflops is None:
        lines.append("time: give --tflops, what one device sustains (rvm bench-train tells)")
    else:
        rate = devices * tflops * 1e12 / clip
        lines.append(
            f"at {tflops:g} TFLOP/s on each of {devices} devices: {rate:,.0f} clips/s, "
            f"{clips / rate / 86400:,.1f} days, {clips / rate / 3600 * devices:,.0f} device hours"
        )
    return "\n".join(lines)
