"""`rvm bag`: what a bag holds, and making a bag whole that nobody closed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    from rvm_model.bags import BagError, open_bag, repair
    from rvm_model.bags.images import camera_topics

    parser = argparse.ArgumentParser(prog="rvm bag", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True, metavar="WHAT")
    info = actions.add_parser("info", help="topics, and what counts as cameras")
    info.add_argument("bag", type=Path, help="folder, .mcap, .db3, or a .bag of ROS 1")
    mending = actions.add_parser(
        "repair", help="finish the MCAP files of a recorder that was killed, or of a disk that was full, in their place"
    )
    mending.add_argument("bag", type=Path, help="folder, or one .mcap file")
    args = parser.parse_args(arguments)
    if args.action == "repair":
        print(f"{args.bag}: {repair(args.bag)}")
        return 0
    with open_bag(args.bag) as bag:
        for topic, kind in sorted(bag.types.items()):
            print(f"{bag.counts[topic]:>9}  {topic}  {kind}")
        try:
            cameras = camera_topics(bag)
        except BagError:
            print("no cameras")
            return 0
        for camera, topic in cameras.items():
            print(f"camera {camera}: {topic}")
    return 0
