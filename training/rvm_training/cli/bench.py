"""`rvm bench`: time every engine, the heads and the cost over time on this machine, in one run; write the page."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

import torch

from rvm_model.engines import Engine, TorchEngine, load_engine
from rvm_model.rvm import RVM
from rvm_model.weights import WeightsInfo, cache_dir, load_weights
from rvm_training.benchmark.engines import TORCH, StepTiming, compile_all, label, time_steps
from rvm_training.benchmark.report import Report, markdown, write
from rvm_training.benchmark.roofline import measure
from rvm_training.benchmark.shares import shares
from rvm_training.benchmark.start_up import start_ups
from rvm_training.benchmark.stream import space_time, steadiness
from rvm_training.cli.arguments import add_recordings, size

CAMERA = (720, 1280)
"""Height and width of the images in the heads' shares."""
PAIRS = 200
"""Steps early and late in a stream that are compared: their ratio is told to a hundredth."""
STARTS = 5
"""Processes that are started of each kind."""


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    args = _parser().parse_args(arguments)
    if min(args.rounds, args.frames, *args.cameras, *args.window) < 1:
        raise ValueError("rvm bench: rounds, frames, cameras and window have to be at least 1")

    device, keep = torch.device(args.device), args.keep or cache_dir() / "bench"
    steps: list[StepTiming] = []

    def time_all(network: RVM, weights: WeightsInfo, shape: tuple[int, int]) -> dict[str, Path]:
        # The exported engines here are those of a CPU.
        folders = {}
        if device.type == "cpu":
            folders = compile_all(network, weights, shape, args.calibrate, args.video, keep)
        steps.extend(
            time_steps(
                network, weights, shape, args.cameras, folders, notebook=args.authors, device=device, rounds=args.rounds
            )
        )
        return folders

    network, weights = load_weights(args.model)
    configs = {label(weights): network.config}
    first, last = args.sizes[0], args.sizes[-1]
    folders = {shape: time_all(network, weights, shape) for shape in args.sizes}
    for name, shape in args.also:
        other, its_weights = load_weights(name)
        configs[label(its_weights)] = other.config
        time_all(other, its_weights, size(shape))
    # The heads' shares at the last size, of torch and of the fastest; the stream at the first one, with the fastest.
    engines: dict[str, Engine] = {TORCH: TorchEngine(network, weights, size=last, device=device)}
    engines |= {name: load_engine(folder) for name, folder in folders[last].items() if name.startswith("openvino")}
    exported = [
        row for row in steps
        if (row.network, row.height, row.width) == (label(weights), *first) and row.name in folders[first]
    ]  # fmt: skip
    if exported:
        fastest = min(exported, key=lambda row: row.timing.median_ms / row.cameras).name
        streaming = load_engine(folders[first][fastest])
        starts = start_ups({"": "the default", str(folders[first][fastest]): fastest}, args.model, first, STARTS)
    else:
        fastest, starts = TORCH, {}
        streaming = TorchEngine(network, weights, size=first, device=device)
    window, step = space_time(network.to(device), first, args.window, args.rounds)
    report = Report(
        command=_command(arguments),
        weights=weights.identity,
        device=args.device,
        rounds=args.rounds,
        steps=steps,
        starts=starts,
        shares={name: shares(engine, CAMERA, args.rounds) for name, engine in engines.items()},
        shares_size=last,
        stream=steadiness(streaming, args.frames, max(args.rounds, PAIRS)),
        stream_engine=f"{fastest} at {first[0]}x{first[1]}",
        window=window,
        window_size=first,
        machine=measure(device),
        configs=configs,
        network_step=step,
    )
    print(markdown(report))
    if args.out:
        print("written:", *write(report, args.out))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rvm bench", description=__doc__)
    parser.add_argument("--model", default="untrained:rvm_small16_256", help="weights (default: %(default)s)")
    parser.add_argument(
        "--sizes", type=size, nargs="+", default=[(256, 256), (480, 640)], metavar="HxW",
        help="frames; the last size is that of the heads' shares (default: 256x256 480x640)",
    )  # fmt: skip
    parser.add_argument(
        "--also", nargs=2, action="append", default=[], metavar=("MODEL", "HxW"),
        help="another network, at one size of its own: its steps alone",
    )  # fmt: skip
    parser.add_argument("--cameras", type=int, nargs="+", default=[1, 4], help="batches (default: 1 4)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument(
        "--authors", type=Path, metavar="NOTEBOOK", help="time the authors' step too: docs/benchmarks.md"
    )
    add_recordings(parser, compared_on="rendered scenes")
    parser.add_argument("--rounds", type=int, default=20, help="measured runs of each (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=1000, help="length of the long stream (default: %(default)s)")
    parser.add_argument(
        "--window", type=int, nargs="+", default=[1, 2, 4, 8], help="frames of the space-time transformer"
    )
    parser.add_argument("--keep", type=Path, help="folder of the exported engines, made once (default: in the cache)")
    parser.add_argument("--out", type=Path, help="folder for benchmarks.md, its figures as .json and its picture")
    return parser


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
