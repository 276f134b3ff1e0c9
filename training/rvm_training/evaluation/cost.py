"""Time and memory against the number of frames (the authors' runtime notebook): recurrent, and all frames at once.

A recurrent network needs the same for every frame, so that its time grows with their number and its memory not at all.
The other way stands beside it with the network's own encoder: every patch of every frame attends to all others, as in
VideoMAE.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from rvm_model.rvm import RVM
from rvm_model.weights import WeightsInfo
from rvm_training.benchmark.timing import interleaved, synchronizer
from rvm_training.evaluation.models import ModelInfo
from rvm_training.evaluation.result import Result

COUNTS = (2, 4, 8, 16, 32)
"""Frames that are taken in."""


def evaluate_cost(
    network: RVM,
    weights: WeightsInfo,
    name: str,
    *,
    size: tuple[int, int],
    counts: Sequence[int] = COUNTS,
    rounds: int = 3,
) -> list[Result]:
    """Measure a network both ways, in turn, in one run.

    Args:
        network: with the recurrent core, on the device to measure.
        weights: where it came from.
        name: what tables call it.
        size: rows and columns of the frames.
        counts: numbers of frames, rising.
        rounds: measured runs of each; the median counts.

    Returns:
        The recurrent network and the other way, each with the curves `ms` and `MB` over `frames`. MB (10^6 bytes) is
        the peak above what was in use before; NaN where the system does not tell.

    Raises:
        ValueError: counts that do not rise, or no recurrent core.
    """
    if len(counts) < 2 or counts[0] < 1 or list(counts) != sorted(set(counts)):
        raise ValueError(f"counts: got {list(counts)}, expected two or more rising numbers of frames")
    config, device = network.config, network.cls_token.device
    frame = torch.zeros(1, *size, 3, dtype=torch.uint8, device=device)
    tokens = config.token_count(*size)

    @torch.inference_mode()
    def recurrent(count: int) -> Tensor:
        state = torch.zeros(1, tokens, config.dim, device=device)
        for _ in range(count):
            _, state = network.step(frame, state)
        return state

    @torch.inference_mode()
    def at_once(count: int) -> Tensor:
        return network.encoder(torch.zeros(1, count * tokens, config.dim, device=device))

    ways = {"recurrent": recurrent, "clips": at_once}
    actions = {(way, count): partial(run, count) for way, run in ways.items() for count in counts}
    named = {f"{way} {count}": action for (way, count), action in actions.items()}
    timings = interleaved(named, rounds, synchronizer(device), what="cost")
    results = []
    for way, title in (("recurrent", name), ("clips", f"{name}, all frames at once")):
        ms = [timings[f"{way} {count}"].median_ms for count in counts]
        mb = [_peak_bytes(actions[way, count], device) / 1e6 for count in counts]
        info = ModelInfo(title, way, weights.identity, weights.trained, "fp32", f"torch on {device}", config.patch_size)
        first, last = counts[0], counts[-1]
        metrics = {
            f"ms a frame at {first}": ms[0] / first,
            f"ms a frame at {last}": ms[-1] / last,
            f"MB at {first}": mb[0],
            f"MB at {last}": mb[-1],
        }
        settings = {"size": size, "rounds": rounds}
        curves: dict[str, Sequence[float]] = {"frames": list(counts), "ms": ms, "MB": mb}
        results.append(Result("cost", info, "zeros", settings, metrics, curves=curves))
    return results


def _peak_bytes(action: Callable[[], object], device: torch.device) -> float:
    """Most memory in use while something runs, above what was in use before; NaN where the system does not tell."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        allocated = torch.cuda.memory_allocated(device)
        action()
        torch.cuda.synchronize(device)
        return float(torch.cuda.max_memory_allocated(device) - allocated)
    try:
        # What was freed goes back to the system, or it would be used again without showing (glibc).
        ctypes.CDLL(None).malloc_trim(0)
        # Linux: sets the high-water mark of this process back to what it uses now.
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        return float("nan")
    resident = _status_bytes("VmRSS")
    action()
    return max(0.0, _status_bytes("VmHWM") - resident)


def _status_bytes(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * float(next(line for line in lines if line.startswith(f"{field}:")).split()[1])
