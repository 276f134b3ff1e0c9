"""`rvm bench`: time every engine, the heads and the cost over time on this machine, in one run; write the page."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

import torch

from rvm_model.engines import Engine, TorchEngine, load_engine
from rvm_model.weights import cache_dir, load_weights
from rvm_training.benchmark.engines import TORCH, compile_all, time_steps
from rvm_training.benchmark.report import Report, markdown, write
from rvm_training.benchmark.roofline import measure
from rvm_training.benchmark.shares import shares
from rvm_training.benchmark.stream import space_time, steadiness
from rvm_training.cli.arguments import size

CAMERA = (720, 1280)
"""Height and width of the images in the heads' shares."""


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    parser = argparse.ArgumentParser(prog="rvm bench", description=__doc__)
    parser.add_argument("--model", default="untrained:rvm_small16_256", help="weights (default: %(default)s)")
    parser.add_argument(
        "--sizes", type=size, nargs="+", default=[(256, 256), (480, 640)], metavar="HxW",
        help="frames; the last size is that of the heads' shares (default: 256x256 480x640)",
    )  # fmt: skip
    parser.add_argument("--cameras", type=int, nargs="+", default=[1, 4], help="batches (default: 1 4)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--authors", type=Path, metavar="NOTEBOOK", help="time the authors' step too; see docs")
    parser.add_argument(
        "--calibrate",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="for int8: videos and bags",
    )
    parser.add_argument("--video", type=Path, help="recording that errors are measured on (default: rendered scenes)")
    parser.add_argument("--rounds", type=int, default=20, help="measured runs of each (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=1000, help="length of the long stream (default: %(default)s)")
    parser.add_argument(
        "--window", type=int, nargs="+", default=[1, 2, 4, 8], help="frames of the space-time transformer"
    )
    parser.add_argument("--keep", type=Path, help="folder of the exported engines, made once (default: in the cache)")
    parser.add_argument("--out", type=Path, help="folder for benchmarks.md, its figures as .json and its picture")
    args = parser.parse_args(arguments)
    if min(args.rounds, args.frames, *args.cameras, *args.window) < 1:
        raise ValueError("rvm bench: rounds, frames, cameras and window have to be at least 1")

    network, weights = load_weights(args.model)
    device, keep = torch.device(args.device), args.keep or cache_dir() / "bench"
    steps, folders = [], {}
    compiled = {}
    for shape in args.sizes:
        # The exported engines here are those of a CPU.
        if device.type == "cpu":
            compiled[shape] = compile_all(network, weights, shape, args.calibrate, args.video, keep)
        folders = compiled.get(shape, {})
        steps += time_steps(
            network, weights, shape, args.cameras, folders, notebook=args.authors, device=device, rounds=args.rounds
        )
    # The heads' shares at the last size, of torch and of the fastest; the stream at the first one, with the fastest.
    engines: dict[str, Engine] = {TORCH: TorchEngine(network, weights, size=args.sizes[-1], device=device)}
    engines |= {name: load_engine(folder) for name, folder in folders.items() if name.startswith("openvino")}
    streaming: Engine = TorchEngine(network, weights, size=args.sizes[0], device=device)
    ours = [
        row for row in steps if (row.height, row.width) == args.sizes[0] and row.name in compiled.get(args.sizes[0], {})
    ]
    fastest = min(ours, key=lambda row: row.timing.median_ms / row.cameras).name if ours else TORCH
    if ours:
        streaming = load_engine(compiled[args.sizes[0]][fastest])
    window, step = space_time(network.to(device), args.sizes[0], args.window, args.rounds)
    report = Report(
        command=_command(arguments),
        weights=weights.identity,
        device=args.device,
        rounds=args.rounds,
        steps=steps,
        shares={name: shares(engine, CAMERA, args.rounds) for name, engine in engines.items()},
        shares_size=args.sizes[-1],
        stream=steadiness(streaming, args.frames, max(args.rounds, 50)),
        stream_engine=f"{fastest} at {args.sizes[0][0]}x{args.sizes[0][1]}",
        window=window,
        window_size=args.sizes[0],
        machine=measure(device),
        config=network.config,
        network_step=step,
    )
    print(markdown(report))
    if args.out:
        print("written:", *write(report, args.out))
    return 0


def _command(arguments: Sequence[str]) -> str:
    """The command for the page, which is for other machines: names of files alone, and not where it was written."""
    words = ["rvm", "bench"]
    left = iter(part for word in arguments for part in (word.split("=", 1) if word.startswith("--") else [word]))
    for word in left:
        if word in ("--out", "--keep"):
            next(left)
        else:
            words.append(Path(word).name if "/" in word else word)
    return shlex.join(words)
