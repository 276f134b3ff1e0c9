"""Arguments and output that the protocols of `rvm eval` share."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rvm_model.weights import DEFAULT_MODEL
from rvm_training.cli.arguments import size

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rvm_model import RVM
    from rvm_model.weights import WeightsInfo
    from rvm_training.evaluation.models import Choice, VideoModel
    from rvm_training.evaluation.result import Result

    U8 = npt.NDArray[np.uint8]


def add_models(parser: argparse.ArgumentParser, *, size_help: str, engines: bool = True) -> None:
    """Add which models are evaluated, at which size, and what runs them; without engines it is torch."""
    from rvm_training.evaluation.models.choose import HELP

    parser.add_argument(
        "--model", nargs="+", type=named, default=[("", DEFAULT_MODEL)], metavar="[NAME=]MODEL",
        help=f"one or several, with the names that tables shall give them: {HELP}" if engines else "weights of RVM",
    )  # fmt: skip
    parser.add_argument("--size", type=size, metavar="HxW", help=size_help)
    if engines:
        kinds = ("torch", "openvino", "onnx", "tensorrt")
        parser.add_argument("--engine", choices=kinds, default="torch", help="runs RVM weights (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:N or auto (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="of a CPU engine (default: one for each physical core)")


def add_davis(parser: argparse.ArgumentParser) -> None:
    """Add which sequences of a folder laid out as DAVIS."""
    parser.add_argument("data", type=Path, help="folder with JPEGImages/480p, Annotations/480p and ImageSets")
    parser.add_argument("--year", type=int, choices=(2016, 2017), default=2017, help="2016: all objects are one")
    parser.add_argument("--split", default="val", help="list of videos (default: %(default)s)")
    parser.add_argument("--only", nargs="+", default=[], metavar="VIDEO", help="these instead of the split's list")


def data_name(args: argparse.Namespace) -> str:
    """What results call the data: the folder, which of its videos, and whether they were made here."""
    from rvm_training.evaluation.result import MADE
    from rvm_training.synthetic.made import is_made

    name = f"{args.data.resolve().name} {', '.join(getattr(args, 'only', [])) or args.split}"
    return name + (MADE if is_made(args.data) else "")


def add_out(parser: argparse.ArgumentParser) -> None:
    """Add where results go."""
    parser.add_argument("--out", type=Path, default=Path("eval_out"), help="folder of results (default: %(default)s)")


def add_footage(parser: argparse.ArgumentParser) -> None:
    """Add which clips are looked at."""
    parser.add_argument("videos", nargs="*", help="video files or folders of images (default: synthetic scenes)")
    parser.add_argument("--scenes", type=int, default=4, help="synthetic ones, where no video is given")


def footage(args: argparse.Namespace, frames: int, size: tuple[int, int]) -> tuple[list[tuple[str, U8]], str]:
    """The clips (name, frames [T, H, W, 3]) that the arguments of `add_footage` ask for, and what to call them.

    Raises:
        ValueError: a video cannot be read, or is shorter.
    """
    from rvm_training.evaluation import footage as source

    if args.videos:
        clips = list(source.footage(args.videos, frames, size))
        names = [name for name, _ in clips]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"videos: got several called {', '.join(twice)}, expected different names")
        return clips, ", ".join(Path(each).name for each in args.videos)
    if args.scenes < 1:
        raise ValueError(f"scenes: got {args.scenes}, expected at least 1")
    return list(source.scenes(args.scenes, frames, size)), "synthetic"


def chosen(args: argparse.Namespace) -> list[Choice]:
    """The models that the arguments of `add_models` ask for, not yet loaded.

    Raises:
        ValueError: two have the same name.
    """
    import torch

    from rvm_training.evaluation.models import Choice
    from rvm_training.evaluation.models.base import file_name

    if args.threads:
        torch.set_num_threads(args.threads)
    choices = [
        Choice(spec, name, getattr(args, "engine", "torch"), args.device, args.threads) for name, spec in args.model
    ]
    titles = [file_name(choice.title) for choice in choices]
    if twice := {title for title in titles if titles.count(title) > 1}:
        raise ValueError(f"model: got several called {', '.join(twice)}; name them, as --model NAME=MODEL")
    return choices


def models(args: argparse.Namespace, size: tuple[int, int]) -> Iterator[VideoModel]:
    """Load the models that the arguments of `add_models` ask for, one after the other.

    Raises:
        ValueError: two have the same name, or one cannot be for this size.
        OSError: one is not there.
    """
    from rvm_training.evaluation.models import load_model

    for choice in chosen(args):
        yield load_model(choice, size)


def networks(args: argparse.Namespace) -> Iterator[tuple[RVM, WeightsInfo, str]]:
    """Load the networks that the arguments of `add_models` (without engines) ask for, on their device, with names.

    Raises:
        ValueError: two have the same name, or one is no network.
        OSError: one is not there.
    """
    from rvm_model.weights import load_weights

    for choice in chosen(args):
        network, weights = load_weights(choice.model)
        yield network.to(choice.torch_device).eval(), weights, choice.title


def named(text: str) -> tuple[str, str]:
    """Name and the rest of `NAME=REST`; the name is empty where none is given."""
    # A folder's name may have an equals sign, a model's may not.
    match = re.fullmatch(r"([^/=]+)=(.+)", text)
    return (match[1], match[2]) if match else ("", text)


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
    width = max([18, *map(len, result.metrics)]) + 2
    for name, value in result.metrics.items():
        print(f"  {name:<{width}}{value:.4g}")
