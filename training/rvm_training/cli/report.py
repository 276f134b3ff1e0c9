"""`rvm report`: one HTML file that shows a run, to be opened in any browser, without a network.

Bags that a perception node recorded are shown as they are; of other bags and videos, the features are made now, by the
engine that --model and the like choose.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from rvm_training.cli.arguments import add_engine, add_recordings_of, chosen_engine


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    from rvm_training.offline.recordings import recordings
    from rvm_training.report.write import is_recorded, of_engine, of_recorded

    parser = argparse.ArgumentParser(prog="rvm report", description=__doc__)
    add_recordings_of(parser)
    add_engine(parser)
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="file (default: %(default)s)")
    parser.add_argument(
        "--frames", type=int, default=300, help="of each camera that are shown at most (default: %(default)s)"
    )
    parser.add_argument("--anew", action="store_true", help="make the features now, also where some were recorded")
    args = parser.parse_args(arguments)
    found = recordings(args.inputs, cameras=dict(args.camera), rate_hz=args.rate)
    paths = [recording.path for recording in found]
    if not args.anew and is_recorded(paths):
        cameras = of_recorded(paths, args.out, args.frames, dict(args.camera))
    elif len(found) > 1:
        raise ValueError(
            f"got {len(found)} inputs to make features of, expected one; or bags of which one has features"
        )
    else:
        engine = chosen_engine(args, cameras=len(found[0].lengths()))
        with tqdm(total=sum(found[0].lengths().values()), unit=" frames", mininterval=1) as bar:
            cameras = of_engine(found[0], engine, args.out, args.frames, on_frame=lambda: bar.update())
    print(f"{args.out}: {', '.join(cameras)}; {args.out.stat().st_size / 1e6:.1f} MB, open it in a browser")
    return 0
