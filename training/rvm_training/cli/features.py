"""`rvm features`: the features of bags, videos and image sequences, as bags or as shards for training heads."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rvm_model.messages.judge import ON_GAP, Rules
from rvm_model.messages.recoding import CODINGS
from rvm_training.cli.arguments import add_engine, add_recordings_of, add_share, chosen_engine

if TYPE_CHECKING:
    from rvm_training.offline.features import Done


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status: 1 where an input could not be processed to its end."""
    from rvm_training.offline.features import FORMATS, Target, extract
    from rvm_training.offline.pipeline import Settings
    from rvm_training.offline.recordings import recordings
    from rvm_training.offline.share import share, share_of

    parser = argparse.ArgumentParser(prog="rvm features", description=__doc__)
    add_recordings_of(parser)
    add_engine(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder; each input gets one of its own in it")
    parser.add_argument("--format", choices=FORMATS, default="bag", help="of the results (default: %(default)s)")
    parser.add_argument(
        "--outputs", nargs="+", default=["features"], metavar="NAME",
        choices=["features", "cls_token", "pca", "segmentation", "overlay", "confidence"],
        help="topics of a bag, by the names that the live node gives them (default: features)",
    )  # fmt: skip
    parser.add_argument("--features", choices=CODINGS, default="float32", help="coding (default: %(default)s)")
    parser.add_argument("--components", type=int, default=32, help="numbers a token, with --features pca")
    parser.add_argument("--node", default="/perception", help="node that a bag's topics are of (default: %(default)s)")
    parser.add_argument("--shard-mb", type=int, default=256, help="size of shards (default: %(default)s)")
    parser.add_argument("--batch", type=int, help="cameras that go through the engine at once (default: 8, on a CPU 1)")
    parser.add_argument("--max-gap", type=float, default=Rules().max_gap_s, help="seconds (default: %(default)s)")
    parser.add_argument("--on-gap", choices=ON_GAP, default=Rules().on_gap, help="the state (default: %(default)s)")
    parser.add_argument("--resume", action="store_true", help="leave out inputs whose results are there")
    add_share(parser)
    args = parser.parse_args(arguments)
    index, count = share_of(args.shard)
    inputs = share(recordings(args.inputs, cameras=dict(args.camera), rate_hz=args.rate), index, count)
    if not inputs:
        print(f"nothing to do for share {index}/{count}")
        return 0
    target = Target(
        args.out, args.format, tuple(args.outputs), args.node, args.features, args.components, args.shard_mb * 10**6
    )
    target.check()
    engine = chosen_engine(args, cameras=args.batch or 8)
    batch = args.batch or (8 if engine.info.device.startswith("cuda") else 1)
    settings = Settings(batch, Rules(args.max_gap, args.on_gap))
    done = extract(inputs, engine, target, settings, resume=args.resume, show_progress=True)
    print(_summary(done))
    return 1 if done.failed else 0


def _summary(done: Done) -> str:
    spent = done.spent
    lines = []
    for outcome in done.outcomes:
        if outcome.error:
            continue
        frames = ", ".join(f"{camera} {count}" for camera, count in outcome.frames.items()) or "no frames"
        notes = [f"{number} {what}" for what, number in (
            ("refused", outcome.refused.total()),
            ("twice or late", outcome.skipped.total()),
            ("resets", outcome.resets.total()),
        ) if number]  # fmt: skip
        lines.append(f"{outcome.recording.name}: {', '.join([frames, *notes])}")
        if outcome.first_refusal:
            lines.append(f"  first refused: {outcome.first_refusal}")
    if done.skipped:
        lines.append(f"left out, their results are there: {len(done.skipped)}")
    if spent.frames:
        lines.append(
            f"{spent.frames} frames in {spent.whole_s:.1f} s: {spent.frames / spent.whole_s:.1f} a second, "
            f"{spent.engine_s / spent.whole_s:.0%} of the time in the engine"
        )
    if done.failed:
        lines.append(f"{len(done.failed)} inputs could not be processed:")
        lines += [f"  {outcome.recording.path}: {outcome.error}" for outcome in done.failed]
    return "\n".join(lines)
