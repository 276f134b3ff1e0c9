"""`rvm eval`: how good a model's features are, by the field's protocols."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence

PROTOCOLS: dict[str, tuple[str, str]] = {
    "davis": ("rvm_training.cli.eval_propagation", "masks of a first frame followed: J&F of DAVIS-2017 or 2016"),
    "jhmdb": ("rvm_training.cli.eval_propagation", "joints of a first frame followed: PCK of JHMDB"),
    "vip": ("rvm_training.cli.eval_propagation", "parts of people followed: mIoU of VIP"),
    "noise-square": ("rvm_training.cli.eval_noise_square", "what only motion shows, with and without recurrence"),
    "horizon": ("rvm_training.cli.eval_horizon", "J&F over the first 16, 32, ... 80 frames"),
    "robustness": ("rvm_training.cli.eval_robustness", "J&F under blur, noise, lost frames, exposure, occlusion, JPEG"),
    "reconstruction": ("rvm_training.cli.eval_reconstruction", "PSNR and SSIM of masked later frames"),
    "retrieval": ("rvm_training.cli.eval_retrieval", "clips found by a clip, actions within a longer video"),
    "videos": ("rvm_training.cli.eval_videos", "features as colours and clusters beside the video"),
    "cost": ("rvm_training.cli.eval_cost", "time and memory against the number of frames"),
    "table": ("rvm_training.cli.eval_table", "results of several models side by side"),
    "report": ("rvm_training.cli.eval_report", "one HTML page of a folder of results"),
    "card": ("rvm_training.cli.eval_card", "a model card of weights, their results and what people say of them"),
    "suite": ("rvm_training.cli.eval_suite", "everything that needs no download, and one HTML page of it"),
    "data": ("rvm_training.cli.eval_data", "small folders laid out as the datasets, made of synthetic scenes"),
}
"""Protocol to (module with a `main(protocol, arguments) -> exit status`, what it does)."""


def main(arguments: Sequence[str]) -> int:
    """Run one protocol; returns the exit status."""
    lines = [f"  {name:<16}{text}" for name, (_, text) in PROTOCOLS.items()]
    parser = argparse.ArgumentParser(
        prog="rvm eval", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="protocols:\n" + "\n".join(lines) + "\n\n`rvm eval PROTOCOL --help` tells the rest.",
    )  # fmt: skip
    parser.add_argument("protocol", choices=PROTOCOLS, metavar="PROTOCOL", help="one of those below")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="what the protocol takes")
    args = parser.parse_args(arguments)
    return int(importlib.import_module(PROTOCOLS[args.protocol][0]).main(args.protocol, args.rest))
