"""`rvm eval reconstruction`: PSNR and SSIM of masked later frames, and of the last source in their place."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rvm_training.cli.eval_arguments import add_footage, add_models, add_out, announce, footage, networks


def main(protocol: str, arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    import cv2
    import torch

    from rvm_training.evaluation.plots import plot_curves
    from rvm_training.evaluation.reconstruction import ReconstructionSettings, evaluate_reconstruction, reconstruct
    from rvm_training.pretraining.pictures import reconstruction_grid, titled

    defaults = ReconstructionSettings()
    parser = argparse.ArgumentParser(prog=f"rvm eval {protocol}", description=__doc__)
    add_footage(parser)
    add_models(parser, size_help="of the frames (default: 256x256)", engines=False)
    parser.add_argument("--deltas", type=int, nargs="+", default=defaults.deltas, help=f"default: {defaults.deltas}")
    parser.add_argument(
        "--mask-ratios", type=float, nargs="+", default=defaults.mask_ratios, help=f"default: {defaults.mask_ratios}"
    )
    parser.add_argument(
        "--delta-origin", choices=("last", "first"), default=defaults.delta_origin,
        help="source frame that deltas count from, as the network was trained (default: %(default)s)",
    )  # fmt: skip
    add_out(parser)
    args = parser.parse_args(arguments)
    settings = ReconstructionSettings(
        size=args.size or defaults.size, deltas=tuple(args.deltas), mask_ratios=tuple(args.mask_ratios),
        delta_origin=args.delta_origin,
    )  # fmt: skip
    clips, data = footage(args, settings.frames, settings.size)
    (name, first), *_ = clips
    shown = torch.from_numpy(first)[None, [*range(settings.sources), *settings.targets]].float() / 255
    results = []
    for network, weights, title in networks(args):
        results.append(evaluate_reconstruction(network, weights, title, clips, data=data, settings=settings))
        announce(results[-1], args.out)
        out = reconstruct(network, first, settings, settings.mask_ratios[-1])
        grid = reconstruction_grid(shown.to(out.frames.device), out, settings.sources, network.config.patch_size)
        path = args.out / f"reconstruction_{results[-1].model.file_name}.png"
        cv2.imwrite(str(path), titled(grid)[..., ::-1])
        print(f"{path}: {name} at deltas {', '.join(map(str, settings.deltas))}")
    path = args.out / "reconstruction.png"
    curves = [curve for curve in results[0].curves if curve.startswith("PSNR")]
    plot_curves(path, results, "delta", curves, title="PSNR in dB", low=None)
    print(path)
    return 0
