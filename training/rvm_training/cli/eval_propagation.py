"""`rvm eval davis|jhmdb|vip`: labels of a first frame propagated by features, without training."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rvm_training.cli.eval_arguments import add_davis, add_models, add_out, announce, data_name, models, watched

if TYPE_CHECKING:
    from rvm_training.evaluation.models import VideoModel
    from rvm_training.evaluation.result import Result

HELP = {
    "jhmdb": "folder with Rename_Images, joint_positions and splits",
    "vip": "folder with Images, Annotations/Category_ids and lists",
}
"""Protocol to what its data are."""


def main(protocol: str, arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    args = _parse(protocol, arguments)
    size, evaluate = _prepared(protocol, args)
    for model in models(args, size):
        announce(evaluate(model), args.out)
    return 0


def _parse(protocol: str, arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"rvm eval {protocol}", description=__doc__)
    if protocol == "davis":
        add_davis(parser)
        parser.add_argument("--save-masks", action="store_true", help="write them too, for davis2017-evaluation")
    else:
        parser.add_argument("data", type=Path, help=HELP[protocol])
        split = {"type": int, "choices": (1, 2, 3), "default": 1} if protocol == "jhmdb" else {"default": "val"}
        parser.add_argument("--split", help="list of videos (default: %(default)s)", **split)
        parser.add_argument("--only", nargs="+", default=[], metavar="VIDEO", help="these instead of the split's list")
    add_models(parser, size_help="frames are resized to it (default: the protocol's)")
    add_out(parser)
    return parser.parse_args(arguments)


def _prepared(protocol: str, args: argparse.Namespace) -> tuple[tuple[int, int], Callable[[VideoModel], Result]]:
    """Input size, and what evaluates a model of that size."""
    from rvm_training.evaluation import datasets, propagation

    settings = {"davis": propagation.DAVIS, "jhmdb": propagation.JHMDB, "vip": propagation.VIP}[protocol]
    settings = replace(settings, size=args.size or settings.size)
    shared: dict[str, Any] = {"data": data_name(args), "protocol": settings, "progress": watched}
    if protocol == "davis":
        sequences = datasets.davis(args.data, year=args.year, split=args.split, only=args.only)
        masks_to = args.out / "masks" if args.save_masks else None
        year: dict[str, Any] = {"year": args.year, "masks_to": masks_to}
        return settings.size, partial(propagation.evaluate_davis, videos=sequences, **year, **shared)
    if protocol == "jhmdb":
        poses = datasets.jhmdb(args.data, split=args.split, only=args.only)
        return settings.size, partial(propagation.evaluate_jhmdb, videos=poses, **shared)
    videos = datasets.vip(args.data, split=args.split, only=args.only)
    return settings.size, partial(propagation.evaluate_vip, videos=videos, **shared)
