"""Making an engine folder: compile the step, compare it with the float32 network, write it if it is near enough."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from rvm_model.engines import cuda, onnx_graph
from rvm_model.engines.base import EngineInfo
from rvm_model.engines.layers import layer_errors, watched
from rvm_model.engines.load import run_engine
from rvm_model.engines.manifest import EngineManifest, Gpu, Kind, Precision, Rest
from rvm_model.engines.onnx_graph import EightBits
from rvm_model.engines.parity import Drift, measure
from rvm_model.engines.tensorrt_build import PlanConfig, build_plan
from rvm_model.hashing import file_digest
from rvm_model.inference import InferenceStep
from rvm_model.rvm import RVM
from rvm_model.weights import WeightsInfo


class ParityError(ValueError):
    """An engine that is too far from the network; nothing was written."""


def write_engine(
    out: Path,
    kind: Kind,
    step: InferenceStep,
    network: RVM,
    weights: WeightsInfo,
    frames: Tensor,
    *,
    tolerance: float,
    precision: Precision = "fp32",
    rest: Rest = "fp32",
    quantized: Mapping[nn.Linear, EightBits] | None = None,
    cameras: int | None = None,
    device: str = "cpu",
    plan: PlanConfig | None = None,
    tell: Callable[[str], object] = print,
    debug_layers: bool = False,
    show: bool = True,
) -> tuple[EngineManifest, Drift]:
    """Compile a step into an engine folder. The folder appears at once and whole, or not at all.

    Args:
        out: folder to write; it must not exist.
        kind: the runtime to compile for.
        step: what is compiled.
        network: the float32 network that it has to agree with.
        weights: where the network came from.
        frames: uint8 [steps, cameras, H, W, 3] to compare them on.
        tolerance: largest relative error of a step.
        precision: arithmetic of the linear layers.
        rest: arithmetic of the rest of the step.
        quantized: linear layers of the step in 8 bits, for int8 and fp8.
        cameras: largest batch; None takes any.
        device: where the engine is built and compared.
        plan: for TensorRT, how the plan is built.
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
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        height, width = (side * step.patch_size for side in step.grid)
        info = EngineInfo(
            kind=kind, weights=weights.identity, trained=weights.trained, device=device, precision=precision,
            height=height, width=width, patch_size=step.patch_size, dim=step.dim, cameras=cameras, rest=rest,
            version_compatible=plan is not None and plan.version_compatible,
        )  # fmt: skip
        # OpenVINO takes its types at run time, the others from the graph.
        typed: Rest = "fp32" if kind == "openvino" else rest
        graph = onnx_graph.build(step, quantized, rest=typed, tensorrt=kind == "tensorrt")
        built_with = _compile(kind, graph, partial, info, plan or PlanConfig(), tell)
        drift = measure(run_engine(partial, kind, info), network, frames, show=show)
        if problem := _problem(drift, tolerance):
            if debug_layers and kind == "tensorrt":
                problem += "\nLayers are compared for onnx and openvino alone: export for onnx with the same precision"
            elif debug_layers and (first := drift.beyond(tolerance)) is not None:
                watch = watched(step)
                graph = onnx_graph.build(step, quantized, rest=typed, watch=watch)
                errors = layer_errors(info, graph, step, frames, first)
                problem += "\n" + _layers(errors, tolerance)
            raise ParityError(problem)
        manifest = EngineManifest(
            kind=kind,
            model=weights.name,
            weights=info.weights,
            trained=info.trained,
            height=height,
            width=width,
            patch_size=info.patch_size,
            dim=info.dim,
            cameras=cameras,
            precision=precision,
            rest=rest,
            opset=onnx_graph.OPSET,
            files={path.name: file_digest(path).hex() for path in sorted(partial.iterdir())},
            built_with={"torch": str(torch.__version__), "onnx": onnx.__version__, **built_with},
            parity=drift.parity(tolerance),
            gpu=_gpu(device, plan or PlanConfig()) if kind == "tensorrt" else None,
        )
        manifest.write(partial)
        partial.chmod(0o755)  # mkdtemp's folders are for their owner alone.
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return manifest, drift


def _compile(
    kind: Kind,
    graph: onnx.ModelProto,
    folder: Path,
    info: EngineInfo,
    plan: PlanConfig,
    tell: Callable[[str], object],
) -> dict[str, str]:
    """Write the engine's files into a folder; returns the versions of what made them."""
    files = onnx_graph.save(graph, folder / "step.onnx")
    if kind == "onnx":
        return {}
    if kind == "openvino":
        from rvm_model.engines.openvino_engine import convert  # The only file that imports openvino.

        versions = convert(files[0], folder / "step.xml")
    else:
        versions = build_plan(files[0], folder / "step.plan", info, plan, tell)
    for file in files:
        file.unlink()
    return versions


def _gpu(device: str, plan: PlanConfig) -> Gpu:
    return Gpu(
        *cuda.gpu(device), hardware_compatible=plan.hardware_compatible, version_compatible=plan.version_compatible
    )


def _problem(drift: Drift, limit: float) -> str:
    """What is wrong with the errors, if anything."""
    first = drift.beyond(limit)
    if first is None:
        return ""
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
