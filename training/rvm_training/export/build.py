"""`export`: from weights and the user's videos to an engine folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rvm_model.engines.base import arithmetic
from rvm_model.engines.compile import EngineConfig, ParityError, write_engine
from rvm_model.engines.load import needing
from rvm_model.engines.manifest import EngineManifest, Kind, Precision, Rest
from rvm_model.engines.parity import STEPS, Drift
from rvm_model.engines.tensorrt_build import PlanConfig
from rvm_model.inference import InferenceStep
from rvm_model.weights import load_weights
from rvm_training.export.frames import calibration_clips, comparison_frames
from rvm_training.export.quantize import quantize

BAR = 40
"""Characters of a bar as long as the tolerance."""


def export(
    name: str,
    out: Path,
    *,
    engine: Kind,
    size: tuple[int, int] | None = None,
    cameras: int | None = None,
    precision: Precision = "fp32",
    calibration: Sequence[Path] = (),
    video: Path | None = None,
    rest: Rest | None = None,
    tolerance: float | None = None,
    steps: int = STEPS,
    device: str | None = None,
    plan: PlanConfig | None = None,
    debug_layers: bool = False,
    show: bool = True,
) -> tuple[EngineManifest, Drift]:
    """Compile a network's step into an engine folder.

    Args:
        name: weights, as `rvm_model.load_weights` takes them.
        out: folder to write; it must not exist.
        engine: the runtime to compile for.
        size: height and width of the frames; None takes those that the network is made for.
        cameras: largest batch; None takes any, and 1 for TensorRT.
        precision: of the linear layers; int8 is static and calibrated.
        rest: arithmetic of what is not in 8 bits; None takes float16 for TensorRT, bfloat16 for OpenVINO on a CPU that
            has it, and float32 else.
        calibration: for 8 bits, videos of what the robot will see, besides rendered scenes.
        video: real frames for the comparison; None takes the first calibration video, or renders scenes.
        tolerance: largest relative error of a step; None takes that of the precision.
        steps: recurrent steps to compare.
        device: where the engine is built and compared; None takes CUDA for TensorRT and the CPU for the others.
        plan: for TensorRT, how the plan is built.
        debug_layers: where the engine is too far off, tell which layer is off first.
        show: draw progress bars.

    Returns:
        The manifest and the errors by step.

    Raises:
        FileExistsError: `out` exists.
        ParityError: the engine is too far from the network; the message says from which step on.
        ValueError: weights, size or video are not usable.
    """
    if out.exists():
        raise FileExistsError(f"export: {out} exists; remove it, or give another folder")
    if (cameras is not None and cameras < 1) or steps < 1:
        raise ValueError(f"export: got {cameras} cameras and {steps} steps, expected at least 1 of each")
    config = EngineConfig(
        engine, precision, rest or rest_of(engine, precision), cameras or (1 if engine == "tensorrt" else None),
        device or ("cuda" if engine == "tensorrt" else "cpu"), plan or PlanConfig(),
    )  # fmt: skip
    if calibration and precision not in ("int8", "fp8"):
        raise ValueError(f"export: got calibration videos for {precision}, expected them with int8 and fp8 alone")
    model, weights = load_weights(name)
    size = size or model.config.image_size
    if warning := model.config.beyond_training(*size):
        print(warning)
    frames = comparison_frames(video or (calibration[0] if calibration else None), steps, cameras or 1, size)
    step = InferenceStep(model, size)
    layers = None
    if precision in ("int8", "fp8"):
        layers = quantize(step, calibration_clips(calibration, size), float8=precision == "fp8", show=show)
    try:
        return write_engine(
            out, config, step, model, weights, frames, quantized=layers, tolerance=tolerance,
            debug_layers=debug_layers, show=show,
        )  # fmt: skip
    except ParityError as error:
        if layers is None or calibration:
            raise
        raise ParityError(
            f"{error}\nIts 8 bits were calibrated on rendered scenes alone: try --calibrate with videos of what the "
            "robot sees"
        ) from error


def rest_of(engine: Kind, precision: Precision) -> Rest:
    """The fastest arithmetic for what is not in 8 bits, that this machine has."""
    if precision in ("fp16", "bf16"):
        return precision
    if precision in ("int8", "fp8") and engine == "tensorrt":
        return "fp16"
    if precision == "int8" and engine == "openvino":
        with needing("openvino"):
            from rvm_model.engines.openvino_engine import has_bf16
        return "bf16" if has_bf16() else "fp32"
    return "fp32"


def summary(manifest: EngineManifest, drift: Drift) -> str:
    """Sizes and errors as a small table; the bars go up to the tolerance."""
    limit = manifest.parity.tolerance
    lines = [
        f"{manifest.kind} {arithmetic(manifest.precision, manifest.rest)}, {manifest.height}x{manifest.width}, "
        f"{manifest.batch}, weights {manifest.weights}",
        f"{'step':>6}{'relative error':>16}{'worst token':>13}  of the tolerance {limit:.0e}",
    ]
    for step in _some(len(drift.relative)):
        error = drift.relative[step - 1]
        bar = "#" * max(1, round(BAR * error / limit))
        lines.append(f"{step:>6}{error:>16.2e}{drift.worst_token[step - 1]:>13.2e}  {bar}")
    if manifest.in_float:
        lines.append(f"not in 8 bits: {', '.join(manifest.in_float)}")
    lines.append(f"last quarter of the steps: {manifest.parity.growth:.2f} times the error of the first")
    return "\n".join(lines)


def _some(last: int) -> Sequence[int]:
    return sorted({1, 2, 4, *range(8, last, 8), last} & set(range(1, last + 1)))
