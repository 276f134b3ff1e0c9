"""Making an engine folder: compile the step, compare it with the float32 network, write it if it is near enough."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from rvm_model.engines import onnx_graph
from rvm_model.engines.base import EngineInfo
from rvm_model.engines.load import run_engine
from rvm_model.engines.manifest import EngineManifest, Kind, Precision, Rest
from rvm_model.engines.onnx_graph import QuantizedLinear
from rvm_model.engines.parity import Drift, measure
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
    quantized: Mapping[nn.Linear, QuantizedLinear] | None = None,
    cameras: int | None = None,
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
        built_with = _COMPILERS[kind](onnx_graph.build(step, quantized), partial)
        height, width = (side * step.patch_size for side in step.grid)
        info = EngineInfo(
            kind=kind, weights=weights.identity, trained=weights.trained, device="cpu", precision=precision,
            height=height, width=width, patch_size=step.patch_size, dim=step.dim, cameras=cameras, rest=rest,
        )  # fmt: skip
        drift = measure(run_engine(partial, kind, info), network, frames, show=show)
        _check(drift, tolerance)
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
        )
        manifest.write(partial)
        partial.chmod(0o755)  # mkdtemp's folders are for their owner alone.
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return manifest, drift


def _onnx(graph: onnx.ModelProto, folder: Path) -> dict[str, str]:
    onnx_graph.save(graph, folder / "step.onnx")
    return {}


def _openvino(graph: onnx.ModelProto, folder: Path) -> dict[str, str]:
    from rvm_model.engines.openvino_engine import convert  # The only file that imports openvino.

    files = onnx_graph.save(graph, folder / "step.onnx")
    versions = convert(files[0], folder / "step.xml")
    for file in files:
        file.unlink()
    return versions


_COMPILERS: dict[Kind, Callable[[onnx.ModelProto, Path], dict[str, str]]] = {"onnx": _onnx, "openvino": _openvino}
"""Each writes the engine's files into a folder and returns the versions of what it used."""


def _check(drift: Drift, limit: float) -> None:
    beyond = [step for step, error in enumerate(drift.relative) if not error <= limit]
    if beyond:
        raise ParityError(
            f"engine: its features differ from the float32 network's by {drift.relative[beyond[0]]:.2e} at "
            f"step {beyond[0] + 1} and {max(drift.relative):.2e} at the worst, expected at most {limit:.0e}; nothing "
            "was written. Take a higher precision, or --tolerance where that is good enough for you"
        )
