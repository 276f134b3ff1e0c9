"""`export`: from weights and the user's videos to an engine folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from rvm_model.engines.base import arithmetic
from rvm_model.engines.compile import write_engine
from rvm_model.engines.manifest import EngineManifest, Kind, Precision, Rest
from rvm_model.engines.parity import STEPS, Drift
from rvm_model.inference import InferenceStep
from rvm_model.preprocess import resize
from rvm_model.weights import load_weights
from rvm_training.data.video import probe, read_frames
from rvm_training.export.quantize import quantize
from rvm_training.synthetic.generate import SceneConfig, random_scene

Compiled = Literal["onnx", "openvino"]
ExportPrecision = Literal["fp32", "int8"]
TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "int8": 2e-2}
"""Largest relative error of a step for each precision, where the user gives none."""
STRETCHES, STRETCH = 8, 16
"""Stretches of consecutive frames that calibration takes from each video, and the length of each."""
EXPOSURES = (1.0, 1.0, 1.0, 1.0, 0.3, 0.1, 0.0, 4.0)
"""Brightness of the rendered scenes for calibration: a robot also meets night, a covered lens and the sun."""


def export(
    name: str,
    out: Path,
    *,
    engine: Compiled,
    size: tuple[int, int],
    cameras: int = 1,
    precision: ExportPrecision = "fp32",
    calibration: Sequence[Path] = (),
    video: Path | None = None,
    rest: Rest | None = None,
    tolerance: float | None = None,
    steps: int = STEPS,
    show: bool = True,
) -> tuple[EngineManifest, Drift]:
    """Compile a network's step into an engine folder.

    Args:
        name: weights, as `rvm_model.load_weights` takes them.
        out: folder to write; it must not exist.
        engine: the runtime to compile for.
        size: height and width of the frames.
        cameras: largest batch.
        precision: float32, or static 8 bits for the linear layers.
        rest: arithmetic of what is not in 8 bits; None takes bf16 where the runtime and this CPU have it.
        calibration: for 8 bits, videos of what the robot will see, besides rendered scenes.
        video: real frames for the comparison; None takes the first calibration video, or renders scenes.
        tolerance: largest relative error of a step; None takes `TOLERANCE`.
        steps: recurrent steps to compare.
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
    if cameras < 1 or steps < 1:
        raise ValueError(f"export: got {cameras} cameras and {steps} steps, expected at least 1 of each")
    if rest not in (None, "fp32") and not (engine == "openvino" and precision == "int8" and rest == "bf16"):
        raise ValueError(f"export: got rest {rest} for {engine} {precision}, expected fp32, or bf16 for openvino int8")
    if calibration and precision != "int8":
        raise ValueError(f"export: got calibration videos for {precision}, expected them with int8 alone")
    model, weights = load_weights(name)
    frames = comparison_frames(video or (calibration[0] if calibration else None), steps, cameras, size)
    step = InferenceStep(model, size)
    layers = quantize(step, calibration_clips(calibration, size), show=show) if precision == "int8" else None
    return write_engine(
        out, engine, step, model, weights, frames, precision=precision, rest=rest or rest_of(engine, precision),
        quantized=layers, cameras=cameras, tolerance=TOLERANCE[precision] if tolerance is None else tolerance,
        show=show,
    )  # fmt: skip


def rest_of(engine: Kind, precision: Precision) -> Rest:
    """The fastest arithmetic for what is not in 8 bits, that this machine has."""
    if engine == "openvino" and precision == "int8":
        from rvm_model.engines.openvino_engine import has_bf16

        return "bf16" if has_bf16() else "fp32"
    return "fp32"


def calibration_clips(videos: Sequence[Path], size: tuple[int, int]) -> list[Tensor]:
    """Stretches of frames uint8 [steps, H, W, 3]: of rendered scenes, for variety, and spread over the videos."""
    clips = []
    for index, exposure in enumerate(EXPOSURES):
        scene = random_scene(np.random.default_rng([3, index]), *size)
        lit = np.stack([scene.frame(t) for t in range(STRETCH)]) * exposure
        clips.append(torch.from_numpy(lit.clip(0, 255).astype(np.uint8)))
    for video in videos:
        count, fps = probe(str(video))
        for start in np.linspace(0, max(0, count - STRETCH), STRETCHES).astype(int).tolist():
            frames = read_frames(str(video), range(start, min(start + STRETCH, count)), fps)
            clips.append(resize(torch.from_numpy(frames), *size))
    return clips


def comparison_frames(video: Path | None, steps: int, cameras: int, size: tuple[int, int]) -> Tensor:
    """Frames uint8 [steps, cameras, H, W, 3]; cameras see the video shifted in time, or scenes of their own."""
    if video is None:
        scenes = [random_scene(np.random.default_rng([2, camera]), *size, SceneConfig()) for camera in range(cameras)]
        return torch.from_numpy(np.stack([[scene.frame(t) for scene in scenes] for t in range(steps)]))
    count, fps = probe(str(video))
    if count < steps + cameras - 1:
        raise ValueError(f"{video}: got {count} frames, expected at least {steps + cameras - 1} for the comparison")
    shown = resize(torch.from_numpy(read_frames(str(video), range(steps + cameras - 1), fps)), *size)
    return torch.stack([shown[camera : camera + steps] for camera in range(cameras)], dim=1)


def summary(manifest: EngineManifest, drift: Drift) -> str:
    """Sizes and errors as a small table."""
    lines = [
        f"{manifest.kind} {arithmetic(manifest.precision, manifest.rest)}, {manifest.height}x{manifest.width}, "
        f"{manifest.batch}, "
        f"weights {manifest.weights}",
        f"{'step':>6}{'relative error':>16}{'worst token':>13}",
    ]
    last = len(drift.relative)
    for step in _some(last):
        lines.append(f"{step:>6}{drift.relative[step - 1]:>16.2e}{drift.worst_token[step - 1]:>13.2e}")
    return "\n".join(lines)


def _some(last: int) -> Sequence[int]:
    return sorted({*(2**power for power in range(12) if 2**power <= last), last})
