"""The `rvm` command: one table from subcommand to module. A subcommand's imports are paid only when it runs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

COMMANDS: dict[str, tuple[str, str]] = {
    "weights": ("rvm_training.cli.weights", "download, convert and show weights"),
    "demo-clip": ("rvm_training.cli.demo_clip", "render the demo's video and its true masks"),
    "manifest": ("rvm_training.cli.manifest", "list the clips of a dataset, pack them into shards"),
    "train": ("rvm_training.cli.train", "pretrain or fine-tune a network"),
    "curves": ("rvm_training.cli.curves", "what several training runs measured, in one picture"),
    "checkpoint": ("rvm_training.cli.checkpoint", "list a run's checkpoints, make one file of weights of them"),
    "export": ("rvm_training.cli.export", "compile a network into an engine folder, and compare them"),
    "engine": ("rvm_training.cli.engine", "what an engine folder is, and whether it runs here"),
    "bag": ("rvm_training.cli.bag", "what a bag holds; make one whole that nobody closed"),
    "features": ("rvm_training.cli.features", "features of bags, videos and image sequences"),
    "clips": ("rvm_training.cli.clips", "cut training clips from bags and videos"),
    "transcode": ("rvm_training.cli.transcode", "make videos as training reads them"),
    "eval": ("rvm_training.cli.eval", "how good features are: DAVIS, JHMDB, VIP and more"),
    "readout": ("rvm_training.cli.readout", "train heads on frozen features: actions, depth, boxes, points, pixels"),
    "report": ("rvm_training.cli.report", "one HTML page that shows a run"),
    "replay-check": ("rvm_training.cli.replay_check", "whether an engine makes of a recording what it made before"),
    "bench": ("rvm_training.cli.bench", "time the engine's step and the heads on this machine"),
    "bench-features": ("rvm_training.cli.bench_features", "time rvm features beside its bare engine"),
    "bench-train": ("rvm_training.cli.bench_train", "time decoding, transfer and training steps on this machine"),
}
"""Subcommand to (module with a `main(arguments) -> exit status`, what it does)."""


def usage() -> str:
    """The help text."""
    lines = [f"  {name:<16}{text}" for name, (_, text) in COMMANDS.items()]
    return "usage: rvm COMMAND [...]\n\ncommands:\n" + "\n".join(lines) + "\n\n`rvm COMMAND --help` tells the rest."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        arguments: the command line without the program's name; sys.argv's when None.

    Returns:
        The exit status: 0, 1 for a failure that was explained, 2 for a wrong command line.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        print(usage())
        return 0 if words else 2
    if words[0] not in COMMANDS:
        print(f"rvm: got command {words[0]!r}, expected one of {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    module = importlib.import_module(COMMANDS[words[0]][0])
    try:
        return int(module.main(words[1:]))
    except (ValueError, OSError) as error:  # What a user can do wrong; anything else keeps its traceback.
        print(f"rvm {words[0]}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # As a shell reports an interrupt.


if __name__ == "__main__":
    sys.exit(main())
