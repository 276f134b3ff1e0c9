"""`rvm train`: pretrain or fine-tune a network; run it again to go on where it stopped."""

from __future__ import annotations

import argparse
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

from rvm_model.checkpoint import save_checkpoint
from rvm_training import configuration
from rvm_training.pretraining.config import TrainConfig
from rvm_training.pretraining.run_folder import WEIGHTS, find_checkpoint

REQUEUE = 75
"""Exit status of a run that a signal ended after a checkpoint: run it again. It is EX_TEMPFAIL of sysexits.h."""


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    parser = argparse.ArgumentParser(prog="rvm train", description=__doc__)
    parser.add_argument("--config", type=Path, help="YAML file; what it leaves out has the paper's value")
    parser.add_argument("--print-config", action="store_true", help="print every field with its meaning, and stop")
    parser.add_argument("--plan", action="store_true", help="print memory and computation that it needs, and stop")
    parser.add_argument("--tflops", type=float, help="with --plan: what a device sustains, for the time that it takes")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="for example optimizer.lr=3e-4")
    args = parser.parse_args(arguments)
    if args.tflops is not None and (not args.plan or args.tflops <= 0):
        raise ValueError(f"--tflops: got {args.tflops:g}, expected a rate above 0, together with --plan")
    config = configuration.load(TrainConfig, args.config, args.settings)
    if args.print_config:
        print(configuration.commented(config))
        return 0
    if args.plan:
        from rvm_training.pretraining.plan import plan  # It imports Lightning: seconds.

        print(plan(config, args.tflops))
        return 0
    from rvm_training.pretraining.consolidate import consolidate, origin
    from rvm_training.pretraining.fit import fit  # Lightning takes seconds to import.
    from rvm_training.pretraining.module import TrainingStopped

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # Its advertisements and states of loops.
    warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)  # Lightning's own use of torch.
    try:
        result = fit(config)
    except TrainingStopped as stopped:
        raise ValueError(str(stopped)) from stopped
    if not result.reports:
        # One process's status is enough: where a child of its own ends with another than 0, Lightning kills them all.
        return 0
    if result.preempted is not None:
        print(f"stopped by {result.preempted.name} after step {result.step}; the same command goes on from there")
        return REQUEUE
    made = "curve.png, pictures/, metrics/, checkpoints/"
    if result.step >= config.optimizer.steps:  # And not only to machine.stop_at_step.
        last = find_checkpoint(result.folder)
        save_checkpoint(consolidate(last), result.folder / WEIGHTS, metadata=origin(last))
        made = f"{WEIGHTS}, {made}"
    print(f"{result.folder}: {result.step} of {config.optimizer.steps} steps, {made}")
    return 0
