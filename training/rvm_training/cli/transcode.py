"""`rvm transcode`: make videos as training reads them, in the folders and under the names that they had."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from rvm_training.cli.arguments import add_share, add_video


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status: 1 where a video could not be transcoded."""
    from rvm_training.offline.encoding import VideoSettings
    from rvm_training.offline.share import share, share_of
    from rvm_training.offline.transcode import jobs, transcode

    parser = argparse.ArgumentParser(prog="rvm transcode", description=__doc__)
    parser.add_argument("inputs", type=Path, nargs="+", metavar="INPUT", help="video, or folder of videos at any depth")
    parser.add_argument("--out", type=Path, required=True, help="folder; videos of a folder keep their place below it")
    add_video(parser)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="videos at once (default: all cores)")
    parser.add_argument("--resume", action="store_true", help="leave out videos whose results are there")
    add_share(parser)
    args = parser.parse_args(arguments)
    settings = VideoSettings(args.short_side, args.gop, args.crf)
    todo = share(jobs(args.inputs, args.out), *share_of(args.shard))
    there = [job for job in todo if job.target.exists()]
    if there and not args.resume:
        raise ValueError(f"{there[0].target}: is there; go on with --resume, or give another --out")
    todo = [job for job in todo if job not in there]
    with tqdm(total=len(todo), unit=" videos") as bar:
        problems = transcode(todo, settings, workers=args.workers, on_done=lambda: bar.update())
    made = sum(job.target.exists() for job in todo)
    print(f"{args.out}: {made} videos" + (f", {len(there)} were there" if there else ""))
    print("".join(f"  {problem}\n" for problem in problems), end="")
    return 0 if made == len(todo) else 1
