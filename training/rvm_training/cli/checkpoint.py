"""`rvm checkpoint`: what a run has saved, and one file of weights made of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rvm_model.checkpoint import save_checkpoint
from rvm_training.cli.weights import DTYPES, without_decoder
from rvm_training.pretraining.run_folder import complete, find_checkpoint, step_of


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    parser = argparse.ArgumentParser(prog="rvm checkpoint", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    listing = actions.add_parser("list", help="the complete checkpoints of a run")
    listing.add_argument("run", type=Path, help="the run's folder")
    merging = actions.add_parser("consolidate", help="one .safetensors of a checkpoint, sharded or not")
    merging.add_argument("checkpoint", type=Path, help="a folder step_..., or the run's for its newest")
    merging.add_argument("output", type=Path, help="file to write, .safetensors")
    merging.add_argument(
        "--weights", choices=("average", "current"), help="moving average or current weights (default: average if kept)"
    )
    merging.add_argument("--dtype", choices=DTYPES, default="float32", help="type to store (default: %(default)s)")
    merging.add_argument("--no-decoder", action="store_true", help="keep encoder and core only: all that a robot needs")
    args = parser.parse_args(arguments)
    if args.action == "list":
        for path in complete(args.run / "checkpoints"):
            print(path)
        return 0
    from rvm_training.pretraining.consolidate import consolidate, origin  # A second of imports.

    folder = find_checkpoint(args.checkpoint).resolve()
    network = consolidate(folder, args.weights)
    if args.no_decoder:
        network = without_decoder(network)
    save_checkpoint(network, args.output, dtype=DTYPES[args.dtype], trained=True, metadata=origin(folder))
    print(f"{args.output}: {args.output.stat().st_size} bytes, step {step_of(folder)} of {folder.parents[1]}")
    return 0
