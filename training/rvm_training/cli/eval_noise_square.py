"""`rvm eval noise-square`: a square of white noise that moves over the same noise, which single frames do not show.

Every model of the recurrent kind is evaluated a second time, started anew at each frame.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rvm_training.cli.eval_arguments import add_models, add_out, announce, models

if TYPE_CHECKING:
    from rvm_training.evaluation.models import VideoModel
    from rvm_training.evaluation.noise_square import NoiseSquare


def main(protocol: str, arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    from rvm_training.evaluation.models.rvm import RecurrentModel
    from rvm_training.evaluation.noise_square import NoiseSquare, evaluate_noise_square

    defaults = NoiseSquare()
    parser = argparse.ArgumentParser(prog=f"rvm eval {protocol}", description=__doc__)
    add_models(parser, size_help=f"of the frames (default: {defaults.size[0]}x{defaults.size[1]})")
    parser.add_argument("--clips", type=int, default=defaults.clips, help="default: %(default)s")
    parser.add_argument("--frames", type=int, default=defaults.frames, help="of a clip (default: %(default)s)")
    parser.add_argument("--clusters", type=int, default=defaults.clusters, help="default: %(default)s")
    parser.add_argument(
        "--taught", type=int, default=defaults.taught,
        help="other clips that the linear readout is fitted on (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the clips (default: %(default)s)")
    add_out(parser)
    args = parser.parse_args(arguments)
    settle = min(defaults.settle, args.frames // 2)
    settings = NoiseSquare(
        args.size or defaults.size, args.clips, args.frames, settle, args.clusters, args.seed, args.taught
    )
    chosen: list[VideoModel] = []
    for model in models(args, settings.size):
        chosen.append(model)
        if isinstance(model, RecurrentModel) and model.info.kind == "recurrent":
            chosen.append(model.frame_by_frame(f"still:{model.info.name}"))
    for model in chosen:
        announce(evaluate_noise_square(model, settings), args.out)
    path = args.out / "noise-square.mp4"
    _write_video(path, chosen, settings)
    print(f"{path}: the first clip, its square, and the cluster of {', '.join(model.info.name for model in chosen)}")
    return 0


def _write_video(path: Path, models: Sequence[VideoModel], settings: NoiseSquare) -> None:
    """The first clip beside what was found in it."""
    import numpy as np

    from rvm_training.evaluation.noise_square import clips, found_square
    from rvm_training.offline.encoding import write_video

    clip = next(clips(settings))
    masks = [clip.square, *(found_square(model.features(clip.frames), clip, settings) for model in models)]
    columns = [clip.frames, *(np.repeat(mask[..., None] * np.uint8(255), 3, axis=3) for mask in masks)]
    write_video(path, np.concatenate(columns, axis=2))
