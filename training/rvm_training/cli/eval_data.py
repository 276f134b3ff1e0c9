"""`rvm eval data`: small folders laid out as the datasets of protocols and readouts, made of synthetic scenes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rvm_training.cli.arguments import size


def main(protocol: str, arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    from rvm_training.synthetic.benchmarks import WRITERS, BenchmarkConfig
    from rvm_training.synthetic.clips_config import ClipsConfig
    from rvm_training.synthetic.made import make
    from rvm_training.synthetic.readout_clips import CLIP_WRITERS

    defaults, clips = BenchmarkConfig(), ClipsConfig()
    kinds = [*WRITERS, *CLIP_WRITERS]
    parser = argparse.ArgumentParser(prog=f"rvm eval {protocol}", description=__doc__)
    parser.add_argument("out", type=Path, help="folder; each dataset gets one in it, by its name")
    parser.add_argument("--kind", nargs="+", choices=kinds, default=kinds, help="default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes (default: %(default)s)")
    group = parser.add_argument_group(", ".join(WRITERS))
    group.add_argument("--videos", type=int, default=defaults.videos, help="of each (default: %(default)s)")
    group.add_argument("--frames", type=int, default=defaults.frames, help="of each video (default: %(default)s)")
    group.add_argument(
        "--size", type=size, default=(defaults.height, defaults.width), metavar="HxW",
        help=f"of the frames (default: {defaults.height}x{defaults.width})",
    )  # fmt: skip
    group = parser.add_argument_group(", ".join(CLIP_WRITERS), "clips for readouts, named by them")
    group.add_argument(
        "--clips", type=int, nargs=2, default=(clips.train, clips.val), metavar=("TRAIN", "VAL"),
        help=f"of each (default: {clips.train} {clips.val})",
    )  # fmt: skip
    group.add_argument("--clip-frames", type=int, default=clips.frames, help="of each clip (default: %(default)s)")
    group.add_argument("--side", type=int, default=clips.side, help="of their frames (default: %(default)s)")
    args = parser.parse_args(arguments)
    config = BenchmarkConfig(args.videos, args.frames, args.size[0], args.size[1], args.seed)
    train, val = args.clips
    for kind in args.kind:
        folder = args.out / kind
        if kind in WRITERS:
            make(folder, partial(WRITERS[kind], config=config))
            print(f"{folder}: {config.videos} videos of {config.frames} frames")
        else:
            chosen = ClipsConfig(train, val, args.clip_frames, args.side, args.seed)
            make(folder, partial(CLIP_WRITERS[kind], config=chosen))
            print(f"{folder}: {train} and {val} clips")
    return 0
