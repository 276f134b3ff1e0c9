"""`rvm readout`: heads trained on a frozen encoder's features, by the protocol of Scaling 4D Representations."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rvm_training.cli.eval_arguments import add_models, add_out, announce, models, watched

if TYPE_CHECKING:
    from rvm_training.evaluation.models import VideoModel
    from rvm_training.evaluation.result import Result
    from rvm_training.readout.fit import FitSettings, Fitted
    from rvm_training.readout.task import ClipSettings, Task

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
    from rvm_training.readout.task import ClipSettings

    parser = argparse.ArgumentParser(
        prog="rvm readout", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="tasks:\n" + "\n".join(f"  {name:<16}{text}" for name, text in TASKS.items()),
    )  # fmt: skip
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("data", type=Path, help="the dataset's folder, or `synthetic`, which is made in --cache")
    add_models(parser, size_help="of the frames (default: 224x224; boxes and segmentation 256x256)")
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
    protocol = READOUTS[args.task].protocol
    clips = ClipSettings(args.frames or protocol.frames, args.size or protocol.size, args.stride, args.per_video)
    task, data = _task(args, clips)
    for model in models(args, clips.size):
        announce(_run(model, task, data, settings, args), args.out)
    return 0


def _add_clips(parser: argparse.ArgumentParser) -> None:
    from rvm_training.readout.task import Task

    clips = Task.protocol
    group = parser.add_argument_group("clips")
    group.add_argument("--frames", type=int, help=f"of a clip (default: {clips.frames}; segmentation 4)")
    group.add_argument(
        "--stride", type=int, default=clips.stride,
        help="depth, boxes, points: frames of the video for one of the clip (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--per-video", type=int, default=clips.per_video,
        help="depth, boxes, points: most clips of a video, spread over all of it (default: %(default)s)",
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


def _task(args: argparse.Namespace, clips: ClipSettings) -> tuple[Task, str]:
    """The task, and what to call its data."""
    from rvm_training.readout.choose import READOUTS, options
    from rvm_training.synthetic.clips_config import ClipsConfig
    from rvm_training.synthetic.readout_clips import CLIP_WRITERS

    names = ("width", "heads", "context", "hidden")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if unknown := sorted(given.keys() - options(args.task)):
        raise ValueError(f"{args.task}: got --{unknown[0]}, expected only {sorted(options(args.task))}")
    root, data = args.data, args.data.resolve().name
    if str(root) == SYNTHETIC:
        root, data = args.cache / SYNTHETIC / args.task, SYNTHETIC
        done = root / "made"
        if not done.is_file():
            CLIP_WRITERS[args.task](root, ClipsConfig())
            done.touch()
    return READOUTS[args.task](root, clips, **given), data


def _run(model: VideoModel, task: Task, data: str, settings: FitSettings, args: argparse.Namespace) -> Result:
    from safetensors import safe_open

    from rvm_training.evaluation.models import Choice
    from rvm_training.readout.cache import FEATURES, cache_features
    from rvm_training.readout.fit import best_rate, fit_head, summarise
    from rvm_training.readout.segmentation import Segmentation

    cached = {
        split: cache_features(model, task, split, task.samples(split), args.cache, progress=watched)
        for split in ("train", "val")
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
    if isinstance(task, Segmentation):
        task.write_head(args.out, fits, model, data)
    clips = {f"{split} clips": len(each.files) for split, each in cached.items()}
    return summarise(task, model, fits, data=data, settings=chosen, clips=clips)
