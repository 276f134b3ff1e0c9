"""`rvm eval data`: small folders laid out as DAVIS, JHMDB, VIP and Something-Something v2, made of synthetic scenes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rvm_training.cli.arguments import size

ACTIONS = "actions"
"""Name of the folder of clips with a class each."""


def main(protocol: str, arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    from rvm_training.synthetic.action_clips import write_actions
    from rvm_training.synthetic.benchmarks import WRITERS, BenchmarkConfig
    from rvm_training.synthetic.clips_config import ClipsConfig

    defaults, actions = BenchmarkConfig(), ClipsConfig()
    parser = argparse.ArgumentParser(prog=f"rvm eval {protocol}", description=__doc__)
    parser.add_argument("out", type=Path, help="folder; each dataset gets one in it, by its name")
    parser.add_argument(
        "--kind", nargs="+", choices=[*WRITERS, ACTIONS], default=[*WRITERS, ACTIONS], help="default: all"
    )
    parser.add_argument("--videos", type=int, default=defaults.videos, help="of each (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=defaults.frames, help="of each video (default: %(default)s)")
    parser.add_argument(
        "--size", type=size, default=(defaults.height, defaults.width), metavar="HxW",
        help=f"of the frames (default: {defaults.height}x{defaults.width})",
    )  # fmt: skip
    parser.add_argument(
        "--clips", type=int, nargs=2, default=(actions.train, actions.val), metavar=("TRAIN", "VAL"),
        help=f"of actions (default: {actions.train} {actions.val})",
    )  # fmt: skip
    parser.add_argument("--side", type=int, default=actions.side, help="of clips of actions (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes (default: %(default)s)")
    args = parser.parse_args(arguments)
    config = BenchmarkConfig(args.videos, args.frames, args.size[0], args.size[1], args.seed)
    for kind in args.kind:
        folder = args.out / kind
        if kind == ACTIONS:
            train, val = args.clips
            write_actions(folder, ClipsConfig(train, val, side=args.side, seed=args.seed))
            print(f"{folder}: {train} and {val} clips")
        else:
            WRITERS[kind](folder, config)
            print(f"{folder}: {config.videos} videos of {config.frames} frames")
    return 0
