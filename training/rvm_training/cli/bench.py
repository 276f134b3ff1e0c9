"""`rvm bench`: time every engine, the heads and the cost over time on this machine, in one run; write the page."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Container, Sequence
from pathlib import Path

import torch

from rvm_model.config import preset
from rvm_model.engines import Engine, TorchEngine, load_engine
from rvm_model.weights import BUNDLED, UNTRAINED_SMALL, cache_dir, load_weights
from rvm_training.benchmark.authors import authors_step
from rvm_training.benchmark.engines import TORCH, StepTiming, compile_all, label, time_steps
from rvm_training.benchmark.report import Network, Report, markdown, write
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

    # All that can be wrong with the arguments is found, and all engines are made, before anything is timed.
    jobs = [*((args.model, shape) for shape in args.sizes), *args.also]
    loaded = {name: load_weights(name) for name, _ in jobs}
    networks = {label(its): Network(each.config, its.identity, its.trained) for each, its in loaded.values()}
    if len(networks) < len(loaded):
        raise ValueError(f"rvm bench: got networks {list(loaded)}, expected different names, folders left out")
    device, keep = torch.device(args.device), args.keep or cache_dir() / "bench"
    network, weights = loaded[args.model]
    if args.authors:
        authors_step(args.authors, network.config, device)
    folders: dict[tuple[str, tuple[int, int]], dict[str, Path]] = {job: {} for job in jobs}
    if device.type == "cpu":  # The exported engines here are those of a CPU.
        folders = {job: compile_all(*loaded[job[0]], job[1], args.calibrate, args.video, keep) for job in jobs}

    steps = []
    for name, shape in jobs:
        steps += time_steps(
            *loaded[name], shape, args.cameras, folders[name, shape], notebook=args.authors, device=device,
            rounds=args.rounds,
        )  # fmt: skip
    # The heads' shares at the last size, of torch and of OpenVINO; the stream at the first one, with the fastest.
    first, last = args.sizes[0], args.sizes[-1]
    engines: dict[str, Engine] = {TORCH: TorchEngine(network, weights, size=last, device=device)}
    compiled = folders[args.model, last]
    engines |= {name: load_engine(folder) for name, folder in compiled.items() if name.startswith("openvino")}
    compiled = folders[args.model, first]
    if compiled:
        fastest = _fastest(steps, label(weights), first, min(args.cameras), compiled)
        streaming = load_engine(compiled[fastest])
        starts = start_ups({"the default": "", "the fastest": str(compiled[fastest])}, args.model, first, STARTS)
    else:
        fastest, starts = TORCH, {}
        streaming = TorchEngine(network, weights, size=first, device=device)
    window, step = space_time(network.to(device), first, args.window, args.rounds)
    report = Report(
        command=_command(arguments),
        device=args.device,
        rounds=args.rounds,
        steps=steps,
        starts=starts,
        starts_size=first,
        shares={name: shares(engine, CAMERA, args.rounds) for name, engine in engines.items()},
        shares_size=last,
        camera=CAMERA,
        stream=steadiness(streaming, args.frames, max(args.rounds, PAIRS)),
        stream_engine=f"{fastest} at {first[0]}x{first[1]}",
        window=window,
        window_size=first,
        machine=measure(device),
        networks=networks,
        network_step=step,
    )
    print(markdown(report))
    if args.out:
        print("written:", *write(report, args.out))
    return 0


def _fastest(
    steps: Sequence[StepTiming], network: str, shape: tuple[int, int], cameras: int, among: Container[str]
) -> str:
    rows = [
        row for row in steps
        if (row.network, row.height, row.width, row.cameras) == (network, *shape, cameras) and row.name in among
    ]  # fmt: skip
    return min(rows, key=lambda row: row.timing.median_ms).name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rvm bench", description=__doc__)
    parser.add_argument("--model", default=UNTRAINED_SMALL, help="weights (default: %(default)s)")
    parser.add_argument(
        "--sizes", type=size, nargs="+", default=[(256, 256), (480, 640)], metavar="HxW",
        help="frames; the last size is that of the heads' shares (default: 256x256 480x640)",
    )  # fmt: skip
    parser.add_argument(
        "--also", type=_at_size, nargs="*", default=[(name, preset(name).image_size) for name in BUNDLED],
        metavar="MODEL@HxW", help="other networks, each at a size of its own: their steps alone (default: the bundled)",
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
        "--window", type=int, nargs="+", default=[1, 2, 4, 8, 16], help="frames of the space-time transformer"
    )
    parser.add_argument("--keep", type=Path, help="folder of the exported engines, made once (default: in the cache)")
    parser.add_argument("--out", type=Path, help="folder for benchmarks.md, its figures as .json and its picture")
    return parser


def _at_size(text: str) -> tuple[str, tuple[int, int]]:
    name, _, shape = text.rpartition("@")
    return name, size(shape)


def _command(arguments: Sequence[str]) -> str:
    """The command for the page, which is for other machines: names of files alone, and not where it was written."""
    # They decide how fast torch is, and `make bench` sets them.
    words = [f"{name}={os.environ[name]}" for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT") if name in os.environ]
    words += ["rvm", "bench"]
    left = iter(part for word in arguments for part in (word.split("=", 1) if word.startswith("--") else [word]))
    for word in left:
        if word in ("--out", "--keep"):
            next(left)
        else:
            words.append(Path(word).name if "/" in word else word)
    return shlex.join(words)
