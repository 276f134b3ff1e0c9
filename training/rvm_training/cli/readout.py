"""`rvm readout`: heads trained on a frozen encoder's features, by the protocol of Scaling 4D Representations."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rvm_training.cli.eval_arguments import add_models, add_out, announce, models, watched

if TYPE_CHECKING:
    from rvm_training.evaluation.models import VideoModel
    from rvm_training.evaluation.result import Result
    from rvm_training.readout.fit import FitSettings
    from rvm_training.readout.task import Fitted, Sample, Task

TASKS = {
    "classification": "which action a clip shows: Something-Something v2 (labels.json) or Kinetics (class folders)",
    "depth": "how far away everything is: ScanNet (SCAN/color, SCAN/depth)",
    "boxes": "where the boxes of the first frame go: Waymo, version 2 (camera_image, camera_box)",
    "points": "where points go: TAP-Vid (train/*.pkl, val/*.pkl) or the Perception Test",
    "segmentation": "what every pixel is: masks, or an export of COCO, CVAT or Label Studio; writes the node's head",
}
"""Task to what it reads."""
SYNTHETIC = "synthetic"
"""In place of a folder: clips that are made."""


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    from rvm_training.readout.choose import READOUTS
    from rvm_training.readout.fit import FitSettings

    parser = argparse.ArgumentParser(
        prog="rvm readout", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="tasks:\n" + "\n".join(f"  {name:<16}{text}" for name, text in TASKS.items()),
    )  # fmt: skip
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("data", type=Path, help="the dataset's folder, or `synthetic`, which is made in --cache")
    sizes = {name: "x".join(map(str, each.protocol.size)) for name, each in READOUTS.items()}
    add_models(parser, size_help=f"of the frames (default: {_each(sizes)})")
    _add_clips(parser)
    _add_fit(parser)
    add_out(parser)
    args = parser.parse_args(arguments)
    settings = FitSettings(
        steps=args.steps, batch=args.batch, warmup_steps=args.warmup_steps, weight_decay=args.weight_decay,
        validate_every=args.validate_every, patience=args.patience, seeds=args.seeds, workers=args.workers,
    )  # fmt: skip
    # Its tips and its list of what the machine lacks say nothing of the readout.
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    task, data = _task(args)
    samples = {split: task.samples(split) for split in ("train", "val")}
    for line in task.remarks():
        print(line)
    for model in models(args, task.clips.size):
        result, fits = _run(model, task, samples, data, settings, args)
        announce(result, args.out)
        for line in task.finish(args.out, fits, model, data):
            print(line)
    return 0


def _each(values: Mapping[str, str]) -> str:
    """A value for all tasks but some, in words."""
    most = max(values.values(), key=list(values.values()).count)
    others = [f"{name} {value}" for name, value in values.items() if value != most]
    return ", ".join([most, *others])


def _add_clips(parser: argparse.ArgumentParser) -> None:
    from rvm_training.readout.choose import READOUTS
    from rvm_training.readout.task import Task

    clips = Task.protocol
    frames = {name: str(each.protocol.frames) for name, each in READOUTS.items()}
    windowed = ", ".join(name for name, each in READOUTS.items() if each.windowed)
    group = parser.add_argument_group("clips")
    group.add_argument("--frames", type=int, help=f"of a clip (default: {_each(frames)})")
    group.add_argument(
        "--stride", type=int,
        help=f"{windowed}: frames of the video for one of the clip (default: {clips.stride})",
    )  # fmt: skip
    group.add_argument(
        "--per-video", type=int,
        help=f"{windowed}: most clips of a video, spread over all of it (default: {clips.per_video})",
    )  # fmt: skip
    group.add_argument(
        "--context", choices=("still", "video"),
        help="segmentation: what comes before a labelled picture: itself (still, the default), or the pictures before "
        "it in its folder",
    )  # fmt: skip
    group.add_argument(
        "--cache", type=Path, default=Path("readout_cache"), help="folder of features (default: %(default)s)"
    )


def _add_fit(parser: argparse.ArgumentParser) -> None:
    from rvm_training.readout.fit import FitSettings

    protocol = FitSettings()
    group = parser.add_argument_group("training")
    group.add_argument("--steps", type=int, default=protocol.steps, help="at most (default: %(default)s)")
    group.add_argument("--batch", type=int, default=protocol.batch, help="clips of a step (default: %(default)s)")
    group.add_argument(
        "--lr", type=float, nargs="+", default=[protocol.lr],
        help="learning rates; of several the best is taken (default: %(default)s; the protocol tries 1e-4 3e-4 1e-3)",
    )  # fmt: skip
    group.add_argument("--warmup-steps", type=int, default=protocol.warmup_steps, help="default: %(default)s")
    group.add_argument("--weight-decay", type=float, default=protocol.weight_decay, help="default: %(default)s")
    group.add_argument("--validate-every", type=int, default=protocol.validate_every, help="steps (%(default)s)")
    group.add_argument(
        "--patience", type=int, default=protocol.patience,
        help="validations without a better figure that end the training (default: %(default)s)",
    )  # fmt: skip
    group.add_argument("--seeds", type=int, default=protocol.seeds, help="trainings (default: %(default)s)")
    group.add_argument("--workers", type=int, default=protocol.workers, help="that read the cache (%(default)s)")
    group.add_argument("--width", type=int, help="of the readout, not of segmentation (default: the protocol's)")
    group.add_argument("--heads", type=int, help="of its attention (default: the protocol's)")
    group.add_argument("--hidden", type=int, help="segmentation: width of a hidden layer (default: 0, none)")


def _task(args: argparse.Namespace) -> tuple[Task, str]:
    """The task, and what to call its data."""
    from rvm_training.evaluation.result import MADE
    from rvm_training.readout.choose import READOUTS, options
    from rvm_training.readout.task import ClipSettings
    from rvm_training.synthetic.clips_config import ClipsConfig
    from rvm_training.synthetic.made import is_made, make
    from rvm_training.synthetic.readout_clips import CLIP_WRITERS

    task = READOUTS[args.task]
    known = {"size", "frames", *(("stride", "per_video") if task.windowed else ())}
    names = ("size", "frames", "stride", "per_video", "width", "heads", "context", "hidden")
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    if unknown := sorted(given.keys() - known - options(args.task)):
        takes = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(known | options(args.task)))
        raise ValueError(f"{args.task}: got --{unknown[0].replace('_', '-')}, expected only {takes}")
    clips = ClipSettings(**{**asdict(task.protocol), **{name: given.pop(name) for name in known & given.keys()}})
    root = args.data
    if str(root) == SYNTHETIC:
        root = args.cache / SYNTHETIC / args.task
        if not is_made(root):
            make(root, partial(CLIP_WRITERS[args.task], config=ClipsConfig()))
    return task(root, clips, **given), root.resolve().name + (MADE if is_made(root) else "")


def _run(
    model: VideoModel, task: Task, samples: Mapping[str, Sequence[Sample]], data: str, settings: FitSettings,
    args: argparse.Namespace,
) -> tuple[Result, list[Fitted]]:  # fmt: skip
    from safetensors import safe_open

    from rvm_training.evaluation.models import Choice
    from rvm_training.readout.cache import FEATURES, cache_features
    from rvm_training.readout.fit import best_rate, fit_head, summarise

    cached = {
        split: cache_features(model, task, split, each, args.cache, progress=watched) for split, each in samples.items()
    }
    for split, each in cached.items():
        if each.refused:
            print(f"{len(each.refused)} clips of {split} are left out; the first: {each.refused[0]}")
    with safe_open(cached["train"].files[0], "pt") as file:
        dim = file.get_slice(FEATURES).get_shape()[-1]
    device = Choice("", device=args.device).torch_device

    def train(settings: FitSettings, seed: int) -> Fitted:
        return fit_head(
            task, cached["train"], cached["val"], dim=dim, grid=model.grid, settings=settings, seed=seed, device=device
        )

    chosen, fits = best_rate(args.lr, settings, train, task)
    clips = {f"{split} clips": len(each.files) for split, each in cached.items()}
    return summarise(task, model, fits, data=data, settings=chosen, clips=clips), fits
