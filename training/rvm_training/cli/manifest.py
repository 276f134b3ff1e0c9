"""`rvm manifest`: list the clips of a dataset for training, merge such lists, pack videos into tar shards."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rvm_training.data.build import probe_clips, write_problems
from rvm_training.data.layouts import LAYOUTS, read_layout
from rvm_training.data.manifest import Clip, Manifest, check_suffix
from rvm_training.data.shards import index_shards, merge, pack


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    args = _parser().parse_args(arguments)
    # Before videos are opened, which may take hours.
    if args.action == "pack":
        check_suffix(args.manifest)
    else:
        check_suffix(args.out)
        args.out.parent.mkdir(parents=True, exist_ok=True)
    if getattr(args, "weight", 1.0) < 0:
        raise ValueError(f"--weight: got {args.weight:g}, expected 0 or more")
    match args.action:
        case "merge":
            _finish(merge(args.manifests, args.out.parent), args.out)
        case "pack":
            packed, problems = pack(Manifest.read(args.manifest), args.out, shard_bytes=args.shard_mb * 2**20)
            out = args.out / f"manifest{args.manifest.suffix}"
            _report(problems, out)
            _finish(packed, out)
        case "shards":
            clips, problems = index_shards(
                args.folder,
                source=args.source,
                manifest_folder=args.out.parent,
                val_share=args.val_share,
            )
            _write(clips, problems, args.out)
        case layout:
            clips, problems = probe_clips(
                read_layout(layout, args.folder, args.val_share),
                source=args.source or LAYOUTS[layout].source,
                folder=args.out.parent,
                weight=args.weight,
            )
            _write(clips, problems, args.out)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rvm manifest", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True, metavar="WHAT")
    for name, layout in LAYOUTS.items():
        action = actions.add_parser(name, help=layout.describes)
        _folder_options(action)
        action.add_argument("--weight", type=float, default=1.0, help="of every row (default: %(default)s)")
    _folder_options(actions.add_parser("shards", help="tar files in webdataset's layout, with <key>.mp4 inside"))
    merging = actions.add_parser("merge", help="one manifest of several")
    merging.add_argument("manifests", type=Path, nargs="+")
    merging.add_argument("--out", type=Path, required=True, help=".parquet or .csv")
    packing = actions.add_parser("pack", help="copy a manifest's videos into tar shards")
    packing.add_argument("manifest", type=Path)
    packing.add_argument("--out", type=Path, required=True, help="folder for shards and their manifest")
    packing.add_argument("--shard-mb", type=int, default=1024, help="size of a shard (default: %(default)s)")
    return parser


def _folder_options(action: argparse.ArgumentParser) -> None:
    action.add_argument("folder", type=Path)
    action.add_argument("--out", type=Path, required=True, help="manifest to write, .parquet or .csv")
    action.add_argument("--source", help="name for the mixture (default: the layout's)")
    action.add_argument(
        "--val-share", type=float, default=0.01, help="of clips, where the dataset has no splits (default: %(default)s)"
    )


def _write(clips: list[Clip], problems: list[str], out: Path) -> None:
    _report(problems, out)
    _finish(Manifest.of(clips, out.parent), out)


def _report(problems: list[str], out: Path) -> None:
    if problems:
        print(f"left out {len(problems)} that cannot be used: {write_problems(problems, out)}")


def _finish(manifest: Manifest, out: Path) -> None:
    if not len(manifest):
        raise ValueError(f"no usable video; see {out.with_suffix('.quarantine.txt')}")
    manifest.write(out)
    seconds = (manifest.table["frames"].to_numpy() / manifest.table["fps"].to_numpy()).sum()
    print(f"{out}: {len(manifest)} clips, {seconds / 3600:.2f} hours")
