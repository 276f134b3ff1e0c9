"""`rvm eval videos`: features as colours (PCA) and clusters (k-means) beside the video, for any models."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rvm_training.cli.eval_arguments import add_footage, add_models, add_out, footage, models


def main(protocol: str, arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    import numpy as np

    from rvm_model.heads.palette import palette
    from rvm_training.evaluation.clip_pictures import clip_clusters, enlarged, pca_colours
    from rvm_training.offline.encoding import write_video

    parser = argparse.ArgumentParser(prog=f"rvm eval {protocol}", description=__doc__)
    add_footage(parser)
    add_models(parser, size_help="of the frames (default: 256x256)")
    parser.add_argument("--frames", type=int, default=64, help="of each video (default: %(default)s)")
    parser.add_argument("--clusters", type=int, default=5, help="default: %(default)s")
    add_out(parser)
    args = parser.parse_args(arguments)
    size = args.size or (256, 256)
    clips, _ = footage(args, args.frames, size)
    for model in models(args, size):
        for name, frames in clips:
            features = model.features(frames)
            colours = enlarged(pca_colours(features), size)
            clusters = palette(args.clusters)[clip_clusters(features, args.clusters, size)]
            path = args.out / f"{name}_{model.info.file_name}.mp4"
            write_video(path, np.concatenate([frames, colours, clusters], axis=2))
            print(path)
    return 0
