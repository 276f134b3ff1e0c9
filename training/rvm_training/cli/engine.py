"""`rvm engine`: what an engine folder is, and whether it runs here."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from rvm_model.engines import Engine, EngineError, EngineManifest, load_engine
from rvm_model.engines.base import arithmetic
from rvm_model.engines.parity import measure
from rvm_model.rvm import RVM
from rvm_model.weights import load_weights


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    parser = argparse.ArgumentParser(prog="rvm engine", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    showing = actions.add_parser("show", help="print the manifest in short")
    checking = actions.add_parser("check", help="check the files, load the engine and run it")
    for action in (showing, checking):
        action.add_argument("folder", type=Path)
    checking.add_argument("--device", help="cpu, cuda, cuda:N or xpu (default: cuda for tensorrt, else cpu)")
    checking.add_argument("--model", help="the weights that it was exported from, to compare it with them here")
    checking.add_argument("--video", type=Path, help="video or bag to compare on (default: rendered scenes)")
    args = parser.parse_args(arguments)
    if args.action == "check" and args.video and not args.model:
        checking.error("--video: got no --model, expected the weights to compare the engine with")
    manifest = EngineManifest.read(args.folder)
    print(_text(manifest))
    if args.action == "check":
        device = args.device or ("cuda" if manifest.kind == "tensorrt" else "cpu")
        print(_check(args.folder, manifest, device, args.model, args.video))
    return 0


def _check(folder: Path, manifest: EngineManifest, device: str, name: str | None, video: Path | None) -> str:
    """Load an engine, and compare it with the weights of a name; returns what was found, in a sentence.

    Raises:
        ValueError: it does not run here, or not like the network; or these are not its weights.
    """
    model = _network(folder, manifest, name) if name else None
    engine = load_engine(folder, device=device)
    runs = f"runs here on {engine.info.place}, files unchanged"
    if model is None:
        _run_a_step(folder, engine)
        return f"{runs}; its numbers were not compared on this machine: give --model {manifest.model}"
    worst = _compare(folder, manifest, engine, model, video)
    frames = f"{manifest.parity.steps} steps on {video or 'rendered scenes'}"
    return f"{runs}; relative error against {name}: {worst:.1e} at the worst of {frames}"


def _network(folder: Path, manifest: EngineManifest, name: str) -> RVM:
    """The float32 network that the engine was made from.

    Raises:
        EngineError: the name means other weights.
    """
    model, weights = load_weights(name)
    if weights.identity != manifest.weights:
        raise EngineError(
            f"{folder}: got --model {name} ({weights.identity}), expected the weights that the engine was exported "
            f"from ({manifest.weights}, there called {manifest.model}); give those, or export the engine again"
        )
    return model


def _run_a_step(folder: Path, engine: Engine) -> None:
    """Run one step on black frames.

    Raises:
        EngineError: the features are not finite.
    """
    info = engine.info
    cameras = info.cameras or 1
    frames = torch.zeros(cameras, info.height, info.width, 3, dtype=torch.uint8, device=info.device)
    features, _ = engine.step(frames, engine.init_state(cameras))
    if not bool(features.isfinite().all()):
        raise EngineError(f"{folder}: a step gave features that are not finite; export the engine again")


def _compare(folder: Path, manifest: EngineManifest, engine: Engine, model: RVM, video: Path | None) -> float:
    """Measure as the export did, on this machine; returns the largest relative error of a step.

    Raises:
        EngineError: the error is above the manifest's tolerance.
        ValueError: the video cannot be read, or is too short.
    """
    from rvm_training.export.frames import comparison_frames  # It imports the readers of videos and bags.

    parity, size = manifest.parity, (manifest.height, manifest.width)
    drift = measure(engine, model, comparison_frames(video, parity.steps, manifest.cameras or 1, size))
    first = drift.beyond(parity.tolerance)
    if first is not None:
        raise EngineError(
            f"{folder}: on {engine.info.place} of this machine its features differ from the float32 network's by "
            f"{drift.relative[first]:.2e} at step {first + 1} and {max(drift.relative):.2e} at the worst, on "
            f"{video or 'rendered scenes'}, expected at most {parity.tolerance:.1e}; where it was exported the worst "
            f"was {parity.worst:.2e}. Compare on that export's --video, or export it again on this machine or in a "
            "higher precision"
        )
    return max(drift.relative)


def _text(manifest: EngineManifest) -> str:
    parity = manifest.parity
    rows = {
        "engine": f"{manifest.kind} {arithmetic(manifest.precision, manifest.rest)}",
        "weights": f"{manifest.model} ({manifest.weights}{'' if manifest.trained else ', UNTRAINED'})",
        "input": f"{manifest.height}x{manifest.width}, {manifest.batch}",
        "features": f"{manifest.height // manifest.patch_size}x{manifest.width // manifest.patch_size}x{manifest.dim}",
        "parity": f"{parity.worst:.1e} at the worst of {parity.steps} steps, {parity.last:.1e} at the last "
        f"({parity.growth:.1f} times the first ones), "
        f"{parity.worst_token:.1e} in a token; tolerance {parity.tolerance:.0e}",
        "built with": ", ".join(f"{name} {version}" for name, version in manifest.built_with.items()),
        "gpu": _gpu(manifest),
    }
    if manifest.in_float:
        rows["not in 8 bits"] = ", ".join(manifest.in_float)
    return "\n".join(f"{name:<14}{text}" for name, text in rows.items())


def _gpu(manifest: EngineManifest) -> str:
    gpu = manifest.gpu
    if gpu is None:
        return "any, or none"
    also = {
        "other GPUs from Ampere on": gpu.hardware_compatible,
        "later TensorRT versions": gpu.version_compatible,
        "other weights (--refit)": gpu.refittable,
    }
    words = ", ".join(name for name, holds in also.items() if holds)
    return f"{gpu.name} ({gpu.compute_capability}){'; takes ' + words if words else ''}"
