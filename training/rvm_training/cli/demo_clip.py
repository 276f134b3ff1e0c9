"""`rvm demo-clip`: render the demo's video and its true masks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rvm_training.synthetic.demo_clip import DemoClipConfig, write


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    defaults = DemoClipConfig()
    parser = argparse.ArgumentParser(prog="rvm demo-clip", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for clip.mp4 and masks.npz")
    parser.add_argument("--frames", type=int, default=defaults.frames, help="number of frames (default: %(default)s)")
    parser.add_argument(
        "--procedural", type=int, metavar="SEED", help="procedural textures in place of the photographs"
    )
    args = parser.parse_args(arguments)
    video, masks = write(args.out, DemoClipConfig(frames=args.frames, procedural=args.procedural))
    print(f"{video}\n{masks}")
    return 0
