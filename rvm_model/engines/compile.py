"""Making an engine folder: compile the step, compare it with the float32 network, write it if it is near enough."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from rvm_model.engines import cuda, onnx_graph
from rvm_model.engines.base import EngineInfo
from rvm_model.engines.layers import layer_errors, watched
from rvm_model.engines.load import PACKAGES, needing, run_engine, runtime_version
from rvm_model.engines.manifest import (
    START_FILES,
    EngineError,
    EngineManifest,
    Gpu,
    Kind,
    Precision,
    Rest,
    check_arithmetic,
)
from rvm_model.engines.onnx_graph import EightBits
from rvm_model.engines.parity import TOLERANCE, Drift, measure
from rvm_model.engines.tensorrt_build import PlanConfig, build_plan
from rvm_model.engines.tensorrt_refit import refit_plan
from rvm_model.hashing import file_digest
from rvm_model.inference import InferenceStep
from rvm_model.rvm import RVM
from rvm_model.weights import WeightsInfo


class ParityError(ValueError):
    """An engine that is too far from the network; nothing was written."""


@dataclass(frozen=True)
class EngineConfig:
    """What an engine is compiled for."""

    kind: Kind
    """The runtime."""
    precision: Precision = "fp32"
    """Arithmetic of the linear layers."""
    rest: Rest = "fp32"
    """Arithmetic of the rest of the step."""
    cameras: int | None = None
    """Largest batch; None takes any, which TensorRT cannot."""
    device: str = "cpu"
    """Where it is built and compared."""
    plan: PlanConfig = field(default_factory=PlanConfig)
    """For TensorRT, how the plan is built."""

    def __post_init__(self) -> None:
        """Check that the kind has the arithmetic, and a batch and a plan where it needs and can have them.

        Raises:
            EngineError: it has not.
        """
        check_arithmetic(self.kind, self.precision, self.rest)
        if self.kind == "tensorrt" and self.cameras is None:
            raise EngineError("engine: a TensorRT plan needs a largest number of cameras; give --cameras")
        if self.kind != "tensorrt" and self.plan != PlanConfig():
            raise EngineError(f"engine: got options of a TensorRT plan for {self.kind}, which has none; leave them out")


def write_engine(
    out: Path,
    config: EngineConfig,
    step: InferenceStep,
    network: RVM,
    weights: WeightsInfo,
    frames: Tensor,
    *,
    quantized: Mapping[nn.Linear, EightBits] | None = None,
    tolerance: float | None = None,
    tell: Callable[[str], object] = print,
    debug_layers: bool = False,
    show: bool = True,
) -> tuple[EngineManifest, Drift]:
    """Compile a step into an engine folder. The folder appears at once and whole, or not at all.

    Args:
        out: folder to write; it must not exist.
        config: what is compiled for.
        step: what is compiled.
        network: the float32 network that it has to agree with.
        weights: where the network came from.
        frames: uint8 [steps, cameras, H, W, 3] to compare them on.
        quantized: linear layers of the step in 8 bits, for int8 and fp8.
        tolerance: largest relative error of a step; None takes that of the precision.
        tell: takes lines on the progress of a long build.
        debug_layers: where the engine is too far off, compare its layers and tell which is off first.
        show: draw a progress bar.

    Returns:
        The manifest and the errors by step.

    Raises:
        FileExistsError: `out` exists.
        ParityError: the engine is too far from the network; the message says from which step on.
    """
    if out.exists():
        raise FileExistsError(f"engine: {out} exists; remove it, or give another folder")
    limit = TOLERANCE[config.precision] if tolerance is None else tolerance
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        gpu = _gpu(config)
        info = _info(config, step, weights, gpu)
        built_with = _compile(config, _graph(config, step, quantized), partial, info, tell)
        drift = measure(run_engine(partial, info), network, frames, show=show)
        first = drift.beyond(limit)
        if first is not None:
            problem = _problem(drift, first, limit)
            if debug_layers and config.kind == "tensorrt":
                problem += "\nLayers are compared for onnx and openvino alone: export for onnx with the same precision"
            elif debug_layers:
                graph = _graph(config, step, quantized, watch=watched(step))
                problem += "\n" + _layers(layer_errors(info, graph, step, frames, first), limit)
            raise ParityError(problem)
        manifest = EngineManifest(
            kind=config.kind,
            model=weights.name,
            weights=info.weights,
            trained=info.trained,
            height=info.height,
            width=info.width,
            patch_size=info.patch_size,
            dim=info.dim,
            cameras=info.cameras,
            precision=config.precision,
            rest=config.rest,
            in_float=_in_float(step, quantized),
            opset=onnx_graph.OPSET,
            files={path.name: file_digest(path).hex() for path in sorted(partial.iterdir())},
            built_with={"torch": str(torch.__version__), "onnx": onnx.__version__, **built_with},
            parity=drift.parity(limit),
            gpu=gpu,
        )
        manifest.write(partial)
        # Folders of mkdtemp and some writers' files are for their owner alone; a node may run as another user.
        partial.chmod(0o755)
        for path in partial.iterdir():
            path.chmod(0o644)
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return manifest, drift


def _info(config: EngineConfig, step: InferenceStep, weights: WeightsInfo, gpu: Gpu | None) -> EngineInfo:
    rows, columns = step.grid
    return EngineInfo(
        kind=config.kind,
        weights=weights.identity,
        trained=weights.trained,
        device=config.device,
        precision=config.precision,
        height=rows * step.patch_size,
        width=columns * step.patch_size,
        patch_size=step.patch_size,
        dim=step.dim,
        cameras=config.cameras,
        rest=config.rest,
        version_compatible=gpu is not None and gpu.version_compatible,
    )


def _in_float(step: InferenceStep, quantized: Mapping[nn.Linear, EightBits] | None) -> list[str]:
    """Names of the linear layers that are not in 8 bits, of a step that has others which are."""
    if quantized is None:
        return []
    layers = {name: module for name, module in step.named_modules() if isinstance(module, nn.Linear)}
    return [name for name, module in layers.items() if module not in quantized]


def _graph(
    config: EngineConfig,
    step: InferenceStep,
    quantized: Mapping[nn.Linear, EightBits] | None,
    watch: Iterable[str] = (),
) -> onnx.ModelProto:
    # OpenVINO takes its types at run time, the others from the graph.
    rest: Rest = "fp32" if config.kind == "openvino" else config.rest
    return onnx_graph.build(step, quantized, rest=rest, tensorrt=config.kind == "tensorrt", watch=watch)


def _compile(
    config: EngineConfig, graph: onnx.ModelProto, folder: Path, info: EngineInfo, tell: Callable[[str], object]
) -> dict[str, str]:
    """Write the engine's files into a folder; returns the versions of what made them."""
    files = onnx_graph.save(graph, folder / START_FILES["onnx"])
    start = folder / START_FILES[config.kind]
    if config.kind == "onnx":
        return {PACKAGES["onnx"]: runtime_version("onnx")}
    if config.kind == "openvino":
        with needing("openvino"):
            from rvm_model.engines.openvino_engine import convert  # The only file that imports openvino.
        versions = convert(files[0], start)
    elif config.plan.refit:
        versions = refit_plan(config.plan.refit, files[0], start, info)
    else:
        versions = build_plan(files[0], start, info, config.plan, tell)
    for file in files:
        file.unlink()
    return versions


def _gpu(config: EngineConfig) -> Gpu | None:
    """What a plan is bound to: the GPU here, and the base's compatibilities where it is refitted."""
    if config.kind != "tensorrt":
        return None
    cuda.require(config.device, config.kind)
    plan = config.plan
    if plan.refit:
        return EngineManifest.read(plan.refit).gpu
    return Gpu(*cuda.gpu(config.device), plan.hardware_compatible, plan.version_compatible, plan.refittable)


def _problem(drift: Drift, first: int, limit: float) -> str:
    return (
        f"engine: its features differ from the float32 network's by {drift.relative[first]:.2e} at step {first + 1} "
        f"and {max(drift.relative):.2e} at the worst, expected at most {limit:.0e}; nothing was written. Take a higher "
        "precision, or --tolerance where that is good enough for you; --debug-layers tells where it comes from"
    )


def _layers(errors: Mapping[str, float], limit: float) -> str:
    """Errors by layer as a table, and the first one that is off."""
    first = next((name for name, error in errors.items() if not error <= limit), None)
    lines = [f"{name:<20}{error:>10.2e}" for name, error in errors.items()]
    lines.append(f"first above {limit:.0e} in that step: {first or 'none; the errors add up over the steps'}")
    return "\n".join(lines)
