"""`rvm eval retrieval`: clips found by a clip, and an action within a longer video, by features alone."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rvm_training.cli.eval_arguments import add_models, add_out, announce, data_name, models, watched


def main(protocol: str, arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    from rvm_training.data.labelled import labelled_videos
    from rvm_training.evaluation.footage import spread_frames
    from rvm_training.evaluation.retrieval import RetrievalSettings, evaluate_retrieval

    defaults = RetrievalSettings()
    parser = argparse.ArgumentParser(prog=f"rvm eval {protocol}", description=__doc__)
    parser.add_argument("data", type=Path, help="labelled videos: Something-Something v2 or Kinetics")
    add_models(parser, size_help=f"of the frames (default: {defaults.size[0]}x{defaults.size[1]})")
    parser.add_argument("--split", choices=("train", "val"), default="val", help="default: %(default)s")
    parser.add_argument("--clips", type=int, default=1000, help="at most, spread over all (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=defaults.frames, help="of a clip (default: %(default)s)")
    parser.add_argument("--parts", type=int, default=defaults.parts, help="of its time (default: %(default)s)")
    parser.add_argument("--joined", type=int, default=defaults.joined, help="clips of a video (default: %(default)s)")
    add_out(parser)
    args = parser.parse_args(arguments)
    settings = RetrievalSettings(args.size or defaults.size, args.frames, args.parts, args.joined)
    if args.clips < 1:
        raise ValueError(f"clips: got {args.clips}, expected at least 1")
    videos = labelled_videos(args.data).videos[args.split]
    clips = [
        (partial(spread_frames, path, settings.frames, settings.size), label)
        for path, label in videos[:: -(-len(videos) // args.clips)]
    ]
    name = data_name(args)
    for model in models(args, settings.size):
        announce(evaluate_retrieval(model, clips, data=name, settings=settings, progress=watched), args.out)
    return 0
