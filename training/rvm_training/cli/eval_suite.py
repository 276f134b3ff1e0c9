"""`rvm eval suite`: everything that needs no download, on synthetic data, and one HTML page of it.

Each step is a command of its own, printed as one would type it.
"""

from __future__ import annotations

import argparse
import itertools
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from rvm_model.weights import DEFAULT_MODEL
from rvm_training.cli.readout import TASKS


def main(protocol: str, arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    from rvm_model.weights import load_weights
    from rvm_training import __main__ as rvm

    parser = argparse.ArgumentParser(prog=f"rvm eval {protocol}", description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="weights of RVM (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:N or auto (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="as little as shows that all of it runs")
    parser.add_argument("--out", type=Path, default=Path("eval_out"), help="folder (default: %(default)s)")
    args = parser.parse_args(arguments)
    start_s = time.monotonic()
    network, _ = load_weights(args.model)
    commands = steps(args.model, network.config.patch_size, args.device, args.out, quick=args.quick)
    if network.decoder is None:
        print(f"{args.model} has no decoder: reconstruction is left out")
        commands = [words for words in commands if words[1] != "reconstruction"]
    for words in commands:
        print(f"\n$ rvm {shlex.join(words)}", flush=True)
        if status := rvm.main(words):
            return status
    print(f"\nin {(time.monotonic() - start_s) / 60:.1f} minutes")
    return 0


def steps(model: str, patch_size: int, device: str, out: Path, *, quick: bool) -> list[list[str]]:
    """The commands, after `rvm`.

    Args:
        model: weights of RVM.
        patch_size: of its patches in pixels, and of the raw pixels' that stand beside it.
        device: where it runs.
        out: folder of results; the data go into it as well.
        quick: as little as shows that all of it runs.
    """
    data = out / "data"
    wide, square = ("64x112", "64x64") if quick else ("240x432", "256x256")
    videos, frames = ("1", "6") if quick else ("3", "24")
    clips = ["--clips", "1", "--frames", "4", "--taught", "2"] if quick else ["--clips", "4", "--taught", "16"]
    scenes = ["--scenes", "1"] if quick else ["--scenes", "2"]
    horizons = ["4", "6"] if quick else ["8", "16", "24"]
    labelled, small = (["16", "16", "--side", "32"], "32x32") if quick else (["128", "32"], "96x96")
    made = ["--videos", videos, "--frames", frames, "--size", wide, "--clip-frames", "8", "--clips", *labelled]
    one, common = ["--model", model], ["--device", device, "--out", str(out)]
    pixels = f"pixels:{patch_size}"
    beside, several = ["--model", model, pixels], ["--model", model, f"still:{model}", pixels]
    harder = ["--only", "scene-00", "--strengths", "0", "3"]
    evaluations = [
        ["data", str(data), *made],
        ["davis", str(data / "davis"), "--size", wide, *several, *common],
        ["jhmdb", str(data / "jhmdb"), "--size", square, *several, *common],
        ["vip", str(data / "vip"), "--size", wide, *several, *common],
        ["horizon", str(data / "davis"), "--size", wide, "--frames", *horizons, *several, *common],
        ["noise-square", "--size", square, *clips, *beside, *common],
        ["robustness", str(data / "davis"), "--size", wide, *harder, *beside, *common],
        ["retrieval", str(data / "classification"), "--size", small, *several, *common],
        ["videos", "--size", square, "--frames", frames, *scenes, *one, *common],
        ["reconstruction", "--size", square, *scenes, "--deltas", "4", "8", *one, *common],
        ["cost", "--size", square, "--counts", "2", "4", "8", "--rounds", "1", *one, *common],
    ]  # fmt: skip
    counts = ("2", "1", "2", "16") if quick else ("300", "50", "100", "8")
    names = ("--steps", "--warmup-steps", "--validate-every", "--batch")
    fit = [*itertools.chain(*zip(names, counts, strict=True)), "--seeds", "1", "--lr", "2e-3"]
    width = ["--width", "16", "--heads", "2"] if quick else ["--width", "192", "--heads", "4"]
    readouts = [
        [task, str(data / task), "--size", small, *fit, *beside, "--cache", str(out / "cache"), *common]
        + ([] if task == "segmentation" else ["--frames", "8", *width])
        for task in TASKS
    ]
    return [
        *(["eval", *words] for words in evaluations),
        *(["readout", *words] for words in readouts),
        ["eval", "table", str(out), "--out", str(out)],
        ["eval", "report", str(out), "--title", f"rvm eval suite: {model}"],
    ]
