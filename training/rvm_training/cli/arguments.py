"""Command-line arguments that several subcommands take."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from rvm_model.weights import DEFAULT_MODEL

if TYPE_CHECKING:
    from rvm_model.engines import Engine

MODEL_HELP = "weights: rvm_nano, a file, a downloaded released model, untrained:PRESET"


def size(text: str) -> tuple[int, int]:
    """Height and width from a text like `480x640`."""
    if not (match := re.fullmatch(r"(\d+)x(\d+)", text)):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected HEIGHTxWIDTH, for example 480x640")
    return int(match[1]), int(match[2])


def add_recordings(parser: argparse.ArgumentParser, *, compared_on: str) -> None:
    """Add `--calibrate` and `--video`.

    Args:
        parser: of the subcommand.
        compared_on: what the command compares on without `--video`, in words.
    """
    parser.add_argument(
        "--calibrate", type=Path, nargs="+", default=[], metavar="PATH",
        help="for 8 bits: videos and bags of what the robot sees",
    )  # fmt: skip
    parser.add_argument("--video", type=Path, help=f"video or bag to compare on (default: {compared_on})")


def add_recordings_of(parser: argparse.ArgumentParser) -> None:
    """Add the inputs of the offline tools, and how their cameras are found."""
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT",
        help="bag (folder, .mcap, .db3, ROS 1 .bag), video, folder of images or of recordings, or a pattern of such",
    )  # fmt: skip
    parser.add_argument(
        "--camera", type=_camera, action="append", default=[], metavar="NAME=TOPIC",
        help="of bags: take this topic as this camera, and no others but those given (default: all, named by topic)",
    )  # fmt: skip
    parser.add_argument(
        "--rate", type=float, default=30.0, help="images per second of image sequences (default: %(default)s)"
    )


def add_share(parser: argparse.ArgumentParser) -> None:
    """Add `--shard`."""
    parser.add_argument("--shard", default="", metavar="I/N", help="of the inputs (default: as torchrun or SLURM say)")


def add_video(parser: argparse.ArgumentParser) -> None:
    """Add how videos for training are written."""
    parser.add_argument("--short-side", type=int, default=256, help="pixels at most (default: %(default)s)")
    parser.add_argument("--gop", type=int, default=30, help="frames between keyframes (default: %(default)s)")
    parser.add_argument("--crf", type=int, default=18, help="quality, 0 to 51, less is better (default: %(default)s)")


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add what chooses an engine, with the names that the node's parameters have."""
    parser.add_argument("--model", default=DEFAULT_MODEL, help=f"{MODEL_HELP} (default: %(default)s)")
    parser.add_argument(
        "--engine",
        default="",
        help="folder of `rvm export`, torch, openvino, onnx or tensorrt (default: the fastest)",
    )
    parser.add_argument("--size", type=size, metavar="HxW", help="frames (default: as the weights are made for)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:N or auto (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="of a CPU engine (default: one for each physical core)")


def chosen_engine(args: argparse.Namespace, *, cameras: int) -> Engine:
    """Load the engine that the arguments of `add_engine` ask for.

    Raises:
        ValueError: what was asked for does not fit together, or this machine.
        OSError: it is not there.
    """
    import torch

    from rvm_model.engines import choose_engine

    if args.threads:
        torch.set_num_threads(args.threads)  # What the torch engine runs on, and the resize of frames.
    engine = choose_engine(
        args.engine, model=args.model, size=args.size, device=args.device, threads=args.threads, cameras=cameras
    )
    if not engine.info.trained:
        print(f"the weights are UNTRAINED (random), so that the features mean nothing: {engine.info.weights}")
    return engine


def _camera(text: str) -> tuple[str, str]:
    name, _, topic = text.partition("=")
    if not re.fullmatch(r"[A-Za-z]\w*", name) or not topic.startswith("/"):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected NAME=/TOPIC, for example front=/front/image_raw")
    return name, topic
