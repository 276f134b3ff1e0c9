"""The step of every engine at several sizes and numbers of cameras, against plain torch and the authors' own."""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

import rvm_training.data
import rvm_training.export
import rvm_training.synthetic
from rvm_model.engines import Engine, TorchEngine, load_engine
from rvm_model.engines.base import arithmetic
from rvm_model.engines.choose import code_digest
from rvm_model.engines.compile import EngineConfig, write_engine
from rvm_model.engines.load import runtime_version
from rvm_model.engines.manifest import EngineManifest, Kind, Precision
from rvm_model.engines.parity import STEPS
from rvm_model.hashing import file_digest
from rvm_model.inference import InferenceStep
from rvm_model.rvm import RVM
from rvm_model.weights import WeightsInfo
from rvm_training.benchmark.authors import authors_step
from rvm_training.benchmark.timing import Timing, interleaved, synchronizer
from rvm_training.export.build import rest_of
from rvm_training.export.frames import calibration_clips, comparison_frames
from rvm_training.export.quantize import quantize

AUTHORS, EAGER, TORCH = "authors' torch", "plain torch", "torch engine"
COMPILED: tuple[tuple[Kind, Precision], ...] = (
    ("onnx", "fp32"), ("openvino", "fp32"), ("onnx", "int8"), ("openvino", "int8"),
)  # fmt: skip


@dataclass(frozen=True)
class StepTiming:
    """One engine of one network at one size and number of cameras."""

    network: str
    """The weights' name."""
    name: str
    """The engine."""
    height: int
    width: int
    cameras: int
    timing: Timing
    error: float | None = None
    """Largest relative error over the compared steps; None where the numbers are the network's own, or not ours."""
    load_s: float | None = None
    """Seconds from the folder to the first features."""


def compile_all(
    network: RVM,
    weights: WeightsInfo,
    size: tuple[int, int],
    videos: Sequence[Path],
    compared_on: Path | None,
    folder: Path,
) -> dict[str, Path]:
    """Export the network for every CPU runtime and precision, where `folder` does not have the very same engine.

    Args:
        network: the float32 network.
        weights: where it came from.
        size: height and width of the frames.
        videos: calibration for 8 bits, besides rendered scenes.
        compared_on: what the errors are measured on, and not calibrated on; None renders other scenes.
        folder: where the engines are kept.

    Returns:
        Name to the engine's folder.
    """
    out = {}
    step, layers = InferenceStep(network, size), None
    frames: Tensor | None = None
    made_of = _made_of(tuple(videos), compared_on)
    for kind, precision in COMPILED:
        config = EngineConfig(kind, precision, rest_of(kind, precision))
        content = [weights.identity, *size, kind, runtime_version(kind), precision, config.rest, *made_of]
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
        path = folder / f"{kind}-{size[0]}x{size[1]}-{precision}-{digest}"
        out[f"{kind} {arithmetic(precision, config.rest)}"] = path
        if path.exists():
            continue
        if frames is None:
            frames = comparison_frames(compared_on, STEPS, 1, size)
        if precision == "int8" and layers is None:
            layers = quantize(step, calibration_clips(videos, size))
        write_engine(path, config, step, network, weights, frames, quantized=layers if precision == "int8" else None)
    return out


@functools.cache
def _made_of(videos: tuple[Path, ...], compared_on: Path | None) -> list[str]:
    """Digests of what an engine's numbers come from, besides the weights: the code, and the recordings."""
    recordings = [*videos, *([compared_on] if compared_on else [])]
    files = []
    for package in (rvm_training.export, rvm_training.data, rvm_training.synthetic):
        files += sorted(Path(package.__path__[0]).rglob("*.py"))
    for recording in recordings:
        paths = sorted(recording.rglob("*")) if recording.is_dir() else [recording]
        files += [path for path in paths if path.is_file()]
    return [code_digest(), *(file_digest(path).hex() for path in files)]


def time_steps(
    network: RVM,
    weights: WeightsInfo,
    size: tuple[int, int],
    counts: Sequence[int],
    folders: dict[str, Path],
    *,
    notebook: Path | None,
    device: torch.device,
    rounds: int,
) -> list[StepTiming]:
    """Time one step of everything, in turn.

    Args:
        network: the float32 network.
        weights: where it came from.
        size: height and width of the frames.
        counts: numbers of cameras in a batch.
        folders: engine folders by name, from `compile_all`.
        notebook: of the authors, for their step; None leaves it out.
        device: where everything runs.
        rounds: measured steps of each.
    """
    engines: dict[str, Engine] = {TORCH: TorchEngine(network, weights, size=size, device=device)}
    errors, loads = {}, {}
    for name, folder in folders.items():
        start = time.perf_counter()
        engines[name] = engine = load_engine(folder, device=str(device))
        engine.step(torch.zeros(1, *size, 3, dtype=torch.uint8, device=device), engine.init_state(1))
        loads[name] = time.perf_counter() - start
        errors[name] = EngineManifest.read(folder).parity.worst
    steps: dict[str, Callable[[Tensor, Tensor], object]] = {}
    if notebook is not None:
        steps[AUTHORS] = authors_step(notebook, network.config, device)
    steps[EAGER] = torch.inference_mode()(network.step)
    steps |= {name: engine.step for name, engine in engines.items()}
    actions = {
        (name, cameras): partial(step, *_inputs(engines[TORCH], cameras, device))
        for cameras in counts
        for name, step in steps.items()
    }
    timings = interleaved(
        {f"{cameras} {name}": action for (name, cameras), action in actions.items()},
        rounds,
        synchronizer(device),
        what=f"{size[0]}x{size[1]}",
    )
    return [
        StepTiming(
            label(weights), name, *size, cameras, timings[f"{cameras} {name}"], errors.get(name), loads.get(name)
        )
        for name, cameras in actions
    ]


def label(weights: WeightsInfo) -> str:
    """The network's name on a page for other machines: a file without its folder."""
    return Path(weights.name).name


def _inputs(engine: Engine, cameras: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Frames and a state of some steps, the same for everything that is timed."""
    generator = torch.Generator().manual_seed(cameras)
    frames = torch.randint(
        0, 256, (cameras, engine.info.height, engine.info.width, 3), dtype=torch.uint8, generator=generator
    )
    frames, state = frames.to(device), engine.init_state(cameras)
    for _ in range(3):
        _, state = engine.step(frames, state)
    return frames, state.clone()
