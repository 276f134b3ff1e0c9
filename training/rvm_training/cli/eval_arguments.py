"""Arguments and output that the protocols of `rvm eval` share."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rvm_model.weights import DEFAULT_MODEL
from rvm_training.cli.arguments import size

if TYPE_CHECKING:
    from rvm_training.evaluation.models import Choice
    from rvm_training.evaluation.result import Result


def add_models(parser: argparse.ArgumentParser, *, size_help: str) -> None:
    """Add which models are evaluated, at which size, and what runs them."""
    from rvm_training.evaluation.models.choose import HELP

    parser.add_argument("--model", nargs="+", default=[DEFAULT_MODEL], help=f"one or several: {HELP}")
    parser.add_argument("--size", type=size, metavar="HxW", help=size_help)
    parser.add_argument(
        "--engine", default="torch", help="what runs RVM weights: torch, openvino, onnx (default: %(default)s)"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:N or auto (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="of a CPU engine (default: one for each physical core)")


def add_davis(parser: argparse.ArgumentParser) -> None:
    """Add which sequences of a folder laid out as DAVIS."""
    parser.add_argument("data", type=Path, help="folder with JPEGImages/480p, Annotations/480p and ImageSets")
    parser.add_argument("--year", type=int, choices=(2016, 2017), default=2017, help="2016: all objects are one")
    parser.add_argument("--split", default="val", help="list of videos (default: %(default)s)")
    parser.add_argument("--only", nargs="+", default=[], metavar="VIDEO", help="these instead of the split's list")


def add_out(parser: argparse.ArgumentParser) -> None:
    """Add where results go."""
    parser.add_argument("--out", type=Path, default=Path("eval_out"), help="folder of results (default: %(default)s)")


def choices(args: argparse.Namespace) -> list[Choice]:
    """The models that the arguments of `add_models` ask for."""
    import torch

    from rvm_training.evaluation.models import Choice

    if args.threads:
        torch.set_num_threads(args.threads)
    return [Choice(model, args.engine, args.device, args.threads) for model in args.model]


def watched(videos: Iterable[Any]) -> Iterable[Any]:
    """Videos, with a bar that shows how far it is."""
    from tqdm import tqdm

    return tqdm(videos, unit="video")


def announce(result: Result, folder: Path) -> None:
    """Save a result and print its figures."""
    if not result.model.trained and result.model.weights:
        print(f"the weights of {result.model.name} are UNTRAINED (random), so that the figures mean nothing")
    path = result.save(folder)
    print(f"{result.protocol}, {result.model.name} ({result.model.kind}), {result.data}: {path}")
    for name, value in result.metrics.items():
        print(f"  {name:<20}{value:.4g}")
