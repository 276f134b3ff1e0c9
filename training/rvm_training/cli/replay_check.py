"""`rvm replay-check`: compare what an engine makes of a recording with a reference, before it goes to a robot.

The same engine on the same machine must give the same bits; another one must be as near as its precision allows.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rvm_model.messages.judge import ON_GAP, Rules
from rvm_training.cli.arguments import add_engine, add_recordings_of, chosen_engine


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status: 1 where the engine is not what the reference says."""
    from rvm_training.offline.pipeline import Settings
    from rvm_training.offline.recordings import recordings
    from rvm_training.offline.replay import compare, load, run, save

    parser = argparse.ArgumentParser(prog="rvm replay-check", description=__doc__)
    add_recordings_of(parser)
    add_engine(parser)
    parser.add_argument("--against", type=Path, required=True, metavar="REF", help="the reference, .safetensors")
    parser.add_argument("--write", action="store_true", help="make the reference instead of comparing with it")
    parser.add_argument("--tolerance", type=float, help="relative error of a frame (default: as the precisions allow)")
    parser.add_argument("--max-gap", type=float, default=Rules().max_gap_s, help="seconds (default: %(default)s)")
    parser.add_argument("--on-gap", choices=ON_GAP, default=Rules().on_gap, help="the state (default: %(default)s)")
    args = parser.parse_args(arguments)
    found = recordings(args.inputs, cameras=dict(args.camera), rate_hz=args.rate)
    if len(found) != 1:
        raise ValueError(f"got {len(found)} recordings, expected one for each reference")
    if args.write and args.against.exists():
        raise ValueError(f"{args.against}: is there; remove it first, or compare with it without --write")
    reference = None if args.write else load(args.against)  # Before minutes are spent.
    settings = Settings(rules=Rules(args.max_gap, args.on_gap))
    made = run(found[0], chosen_engine(args, cameras=1), settings, reference)
    if reference is None:
        save(made, args.against)
        frames = ", ".join(f"{camera} {len(each.stamps_ns)}" for camera, each in made.cameras.items())
        print(f"{args.against}: {frames} frames, {args.against.stat().st_size / 1e6:.1f} MB")
        return 0
    verdict = compare(made, reference, args.tolerance)
    expected = "the same bits" if verdict.exact else f"relative errors of at most {verdict.tolerance:.0e}"
    print(f"{verdict.why}: expected {expected}")
    for camera in verdict.cameras:
        worst = f"largest relative error {camera.worst:.2e} at frame {camera.worst_frame}"
        print(f"{camera.camera}: {camera.frames} frames, {worst}: {camera.problem or 'as expected'}")
    print("passed" if verdict.passed else "FAILED")
    return 0 if verdict.passed else 1
