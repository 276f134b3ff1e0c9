"""`rvm bench`: time the torch engine's step, the resize and the heads on this machine, interleaved in one run."""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import trange

from rvm_model.engines import TorchEngine
from rvm_model.perception import Perception, PerceptionConfig, Wanted
from rvm_model.weights import load_weights


@dataclass(frozen=True)
class Timing:
    """Durations of one measured thing in milliseconds."""

    median_ms: float
    p10_ms: float
    p90_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Timing:
        """Summary of durations in seconds."""
        p10, median, p90 = np.percentile(seconds, [10, 50, 90]) * 1e3
        return cls(float(median), float(p10), float(p90))


def interleaved(
    actions: Mapping[str, Callable[[], object]], rounds: int, synchronize: Callable[[], object] = lambda: None
) -> dict[str, Timing]:
    """Time several actions in turn, so that a machine that slows down slows all of them.

    Args:
        actions: name to what is timed; each runs once unmeasured first.
        rounds: measured runs of each.
        synchronize: waits for the device, within the measured time.
    """
    durations: dict[str, list[float]] = {name: [] for name in actions}
    for round_ in trange(rounds + 1, unit="round", desc="bench"):
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            synchronize()
            if round_:
                durations[name].append(time.perf_counter() - start)
    return {name: Timing.of(values) for name, values in durations.items()}


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    parser = argparse.ArgumentParser(prog="rvm bench", description=__doc__)
    parser.add_argument("--model", default="untrained:rvm_small16_256", help="weights (default: %(default)s)")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=(256, 256),
        metavar=("H", "W"),
        help="engine input (default: 256 256)",
    )
    parser.add_argument(
        "--camera",
        type=int,
        nargs=2,
        default=(480, 640),
        metavar=("H", "W"),
        help="camera image (default: 480 640)",
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="measured runs of each (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args(arguments)
    if args.rounds < 1:
        raise ValueError(f"--rounds: got {args.rounds}, expected at least 1")
    if args.json and not args.json.parent.is_dir():
        raise ValueError(f"--json: got {args.json}, expected a file in an existing folder")

    model, weights = load_weights(args.model)
    engine = TorchEngine(model, weights, size=tuple(args.size), device=args.device)
    perception = Perception(engine, PerceptionConfig())
    image = np.random.default_rng(0).integers(0, 256, (*args.camera, 3), np.uint8)
    batch = perception.prepare({"a": image})
    features = perception.encode(["a"], batch)["a"]
    timings = interleaved(
        {
            "resize": lambda: perception.prepare({"a": image}),
            "engine step": lambda: perception.encode(["a"], batch),
            "engine step, 4 cameras": lambda: perception.encode(list("abcd"), batch.expand(4, -1, -1, -1)),
            "head: pca": lambda: perception.render("a", image, features, Wanted(pca=True)),
            "head: segmentation": lambda: perception.render("a", image, features, Wanted(segmentation=True)),
            "head: overlay": lambda: perception.render("a", image, features, Wanted(overlay=True)),
        },
        args.rounds,
        (lambda: torch.cuda.synchronize(args.device)) if args.device.startswith("cuda") else (lambda: None),
    )
    step_ms = timings["engine step"].median_ms
    where = (
        torch.cuda.get_device_name(args.device)
        if args.device.startswith("cuda")
        else f"CPU, {torch.get_num_threads()} threads"
    )
    print(
        f"{weights.name} at {args.size[0]}x{args.size[1]}, torch {torch.__version__} {engine.info.precision}, {where}"
    )
    print(f"{'':<26}{'median ms':>10}{'p10':>9}{'p90':>9}{'of a step':>11}")
    for name, timing in timings.items():
        share = timing.median_ms / step_ms
        print(f"{name:<26}{timing.median_ms:>10.2f}{timing.p10_ms:>9.2f}{timing.p90_ms:>9.2f}{share:>11.3f}")
    if args.json:
        report = {
            "weights": weights.identity,
            "size": list(args.size),
            "torch": torch.__version__,
            "machine": platform.machine(),
            "where": where,
            "timings": {name: vars(timing) for name, timing in timings.items()},
        }
        args.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0
