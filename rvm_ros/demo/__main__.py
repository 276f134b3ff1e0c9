"""`python -m rvm_ros.demo`: play a video through a real perception node and write down what it saw."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rvm_ros.demo.session import DemoError, DemoOptions, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit status."""
    defaults = DemoOptions(video=Path(), out=Path())
    parser = argparse.ArgumentParser(prog="python -m rvm_ros.demo", description=__doc__)
    parser.add_argument("--video", type=Path, required=True, help="video file, or folder of images")
    parser.add_argument("--out", type=Path, required=True, help="folder for demo.mp4, contact_sheet.png, report.json")
    parser.add_argument(
        "--masks",
        type=Path,
        help="masks.npz of `rvm demo-clip`: marks what to follow, and scores it",
    )
    parser.add_argument(
        "--model", default=defaults.model, help="weights, as the node's parameter (default: the node's)"
    )
    parser.add_argument(
        "--engine", default=defaults.engine, help="engine, as the node's parameter (default: the node's)"
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=defaults.rate_hz,
        help="frames per second to play (default: %(default)s)",
    )
    parser.add_argument(
        "--frames", type=int, default=defaults.max_frames, help="stop after so many (default: %(default)s)"
    )
    args = parser.parse_args(arguments)
    try:
        run(
            DemoOptions(
                video=args.video,
                out=args.out,
                masks=args.masks,
                model=args.model,
                engine=args.engine,
                rate_hz=args.rate,
                max_frames=args.frames,
            )
        )
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
