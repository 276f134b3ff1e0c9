"""`rvm engine`: what an engine folder is, and whether it runs here."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from rvm_model.engines import EngineManifest, load_engine
from rvm_model.engines.base import arithmetic


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    parser = argparse.ArgumentParser(prog="rvm engine", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    showing = actions.add_parser("show", help="print the manifest in short")
    checking = actions.add_parser("check", help="check the files, load the engine and run a step")
    for action in (showing, checking):
        action.add_argument("folder", type=Path)
    checking.add_argument("--device", help="cpu, cuda, cuda:N or xpu (default: cuda for tensorrt, else cpu)")
    args = parser.parse_args(arguments)
    manifest = EngineManifest.read(args.folder)
    print(_text(manifest))
    if args.action == "check":
        device = args.device or ("cuda" if manifest.kind == "tensorrt" else "cpu")
        engine = load_engine(args.folder, device=device)
        info = engine.info
        cameras = manifest.cameras or 1
        frames = torch.zeros(cameras, info.height, info.width, 3, dtype=torch.uint8, device=info.device)
        features, _ = engine.step(frames, engine.init_state(cameras))
        if not bool(features.isfinite().all()):
            raise ValueError(f"{args.folder}: a step gave features that are not finite; export the engine again")
        print(f"runs here on {info.place}, files unchanged")
    return 0


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
        "gpu": "any" if manifest.gpu is None else f"{manifest.gpu.name} ({manifest.gpu.compute_capability})",
    }
    return "\n".join(f"{name:<12}{text}" for name, text in rows.items())
