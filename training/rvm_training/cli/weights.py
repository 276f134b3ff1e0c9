"""`rvm weights`: download, convert and show weights."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from rvm_model.checkpoint import (
    RELEASED_GRID,
    CheckpointError,
    flax_arrays,
    is_trained,
    load_checkpoint,
    save_checkpoint,
)
from rvm_model.config import PRESETS
from rvm_model.download import download
from rvm_model.rvm import RVM
from rvm_model.weights import BUNDLED, RELEASE_URL, RELEASED, cache_dir, file_sha256, weights_path

SIZES = {name.removeprefix("rvm_").removesuffix("16_256"): name for name in RELEASED}
"""Short name of each released model on the command line."""
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    args = _parser().parse_args(arguments)
    match args.action:
        case "list":
            _list()
        case "download":
            _download(args.size, args.out, args.url)
        case "convert":
            _convert(args)
        case "show":
            _show(weights_path(args.input), _grid(args.base_grid))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rvm weights", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="the bundled and the released models, and which are on this machine")
    fetch = actions.add_parser("download", help="fetch a released model; goes on where an earlier attempt stopped")
    fetch.add_argument("size", choices=SIZES, help="which model")
    fetch.add_argument("--out", type=Path, default=None, help="folder (default: the cache, where the node looks)")
    fetch.add_argument("--url", default=RELEASE_URL, help="folder URL to fetch from (default: %(default)s)")
    convert = actions.add_parser("convert", help="between the released .npz and our .safetensors, either way")
    convert.add_argument("input", type=Path)
    convert.add_argument("output", type=Path)
    convert.add_argument("--dtype", choices=DTYPES, default="float32", help="type to store, for .safetensors")
    convert.add_argument("--no-decoder", action="store_true", help="keep encoder and core only: all that a robot needs")
    show = actions.add_parser("show", help="sizes, parameters and hash of a checkpoint")
    show.add_argument("input", help="a file, rvm_nano, or the name of a downloaded released model")
    for action in (convert, show):
        action.add_argument(
            "--base-grid", type=int, nargs=2, metavar=("ROWS", "COLUMNS"), default=None,
            help="patch grid of the position code, for .npz (default: 16 16, as released)",
        )  # fmt: skip
    return parser


def _grid(values: list[int] | None) -> tuple[int, int] | None:
    return None if values is None else (values[0], values[1])


def _list() -> None:
    for name, path in BUNDLED.items():
        print(f"{name.removeprefix('rvm_'):<7}{name:<17}{path}")
    for size, name in SIZES.items():
        path = cache_dir() / RELEASED[name]
        print(f"{size:<7}{name:<17}{path if path.is_file() else f'not here: rvm weights download {size}'}")


def _download(size: str, folder: Path | None, url: str) -> None:
    name = SIZES[size]
    path = (folder or cache_dir()) / RELEASED[name]
    download(url.rstrip("/") + "/" + RELEASED[name], path)
    try:
        load_checkpoint(path)
    except CheckpointError as error:
        # Told now and not on the robot; and out of the way, so that the next download is a new one.
        bad = path.with_name(path.name + ".bad")
        path.replace(bad)
        raise ValueError(f"{error}; it was moved to {bad}, so that the command can be run again") from error
    print(f"{path}\n{path.stat().st_size} bytes, sha256 {file_sha256(path)}")
    where = name if folder is None else str(path)
    print(f"use it with: ros2 launch rvm_ros perception.launch.py model:={where}")


def _convert(args: argparse.Namespace) -> None:
    model = load_checkpoint(args.input, base_grid=_grid(args.base_grid))
    if args.no_decoder:
        model = without_decoder(model)
    if args.output.suffix == ".npz":
        if args.dtype != "float32":
            raise ValueError(f"--dtype: got {args.dtype} for .npz, expected float32, the released files' type")
        if model.config.position != "flattened":
            raise ValueError(
                f"{args.input}: its position code is one of {model.config.position}, which a .npz does not hold and "
                "the authors' code does not know; convert to .safetensors"
            )
        if model.config.decoder is not None and model.config.decoder.sees != "all":
            raise ValueError(
                f"{args.input}: its decoder sees the {model.config.decoder.sees} source frame alone, which a .npz does "
                "not hold and the authors' code does not know; convert to .safetensors, or leave it out: --no-decoder"
            )
        if model.config.trained_grid or model.config.run_grid:
            height, width = model.config.image_size
            print(f"a .npz does not hold the size that it is made for: run it with --size {height}x{width}")
        if model.config.base_grid != RELEASED_GRID:
            rows, columns = model.config.base_grid
            print(f"a .npz does not hold the patch grid: load it with --base-grid {rows} {columns}")
        np.savez(args.output, **flax_arrays(model))  # type: ignore[arg-type]  # numpy types its keywords as allow_pickle
    else:
        source = f"{args.input.name} sha256:{file_sha256(args.input)}"
        save_checkpoint(
            model,
            args.output,
            dtype=DTYPES[args.dtype],
            trained=is_trained(args.input),
            metadata={"converted_from": source},
        )
    print(f"{args.output}: {args.output.stat().st_size} bytes, sha256 {file_sha256(args.output)}")


def without_decoder(model: RVM) -> RVM:
    """The same network, its weights shared, without the decoder that only pretraining needs."""
    config = dataclasses.replace(model.config, decoder=None)
    with torch.device("meta"):
        bare = RVM(config)
    kept = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("decoder.")}
    bare.load_state_dict(kept, strict=True, assign=True)
    return bare


def _show(path: Path, base_grid: tuple[int, int] | None) -> None:
    model = load_checkpoint(path, base_grid=base_grid)
    config = model.config
    bare = dataclasses.replace(config, decoder=None, trained_grid=None, run_grid=None)
    matching = [
        name for name, sizes in PRESETS.items() if dataclasses.replace(sizes, decoder=None, run_grid=None) == bare
    ]
    print(f"file        {path} ({path.stat().st_size} bytes)")
    print(f"sha256      {file_sha256(path)}")
    print(f"preset      {matching[0] if matching else 'none: sizes of its own'}")
    for field in dataclasses.fields(config):
        if field.name != "decoder":
            print(f"{field.name:<18}{getattr(config, field.name)}")
    print(f"{'decoder':<18}{config.decoder or 'none: it encodes, and cannot reconstruct'}")
    print("parameters")
    for part in ("tokenizer", "encoder", "core", "decoder"):
        module = getattr(model, part)
        if isinstance(module, nn.Module):
            print(f"  {part:<16}{sum(p.numel() for p in module.parameters()):>12,}")
    print(f"  {'all':<16}{sum(p.numel() for p in model.parameters()):>12,}")
