"""Bags that nobody closed: of a recorder that was killed, a machine that lost its power, or a disk that was full."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from rvm_model.bags.errors import BagError
from rvm_model.bags.mcap_file import Finished, finish, is_finished
from rvm_model.bags.metadata import NAME, Part, describe, read_part
from rvm_model.bags.writer import RESERVE


def repair(bag: Path) -> str:
    """Make a bag of MCAP files whole, in its place; returns what was done.

    Args:
        bag: its folder, or one file.

    Raises:
        BagError: there is nothing to repair, there are no MCAP files, or none that can be read.
        OSError: a file cannot be read or written.
    """
    if bag.is_file():
        return _told(bag, finish(bag))
    files = sorted(bag.glob("*.mcap"), key=lambda file: _place(bag, file))
    if not files:
        raise BagError(f"{bag}: got no .mcap files, expected a bag's folder")
    (bag / RESERVE).unlink(missing_ok=True)
    done, parts, lost = [], [], []
    for file in files:
        try:
            if not is_finished(file):
                done.append(_told(file, finish(file)))
            parts.append(_named(bag, file, files))
        except BagError as error:  # One that is no bag's is nothing to the others.
            lost.append(f"{error}; it is left out")
    if not parts:
        raise BagError("; ".join(lost))
    if not done and _listed(bag) == [part.name for part in parts]:
        raise BagError(f"{bag}: all of its files are whole, there is nothing to repair")
    describe(bag, parts)
    return "; ".join([*done, *lost, f"{NAME} lists {len(parts)} files"])


def _named(bag: Path, file: Path, files: list[Path]) -> Part:
    """The part that was written to gets the next number; no other is touched."""
    if file.stem == bag.name:
        last = max((_number(bag, each) for each in files), default=-1)
        file = file.rename(file.with_name(f"{bag.name}_{last + 1}.mcap"))
    return read_part(file)


def _place(bag: Path, file: Path) -> tuple[bool, int, str]:
    """Numbered parts by their number; the one that was written to has none, and is the last."""
    return file.stem == bag.name, _number(bag, file), file.name


def _number(bag: Path, file: Path) -> int:
    """Of a part; -1 for other files. The bag's own name may end in a number, as a time does."""
    match = re.fullmatch(rf"{re.escape(bag.name)}_(\d+)", file.stem)
    return int(match[1]) if match else -1


def _listed(bag: Path) -> list[str]:
    """The files that metadata.yaml lists."""
    try:
        content = yaml.safe_load((bag / NAME).read_text(encoding="utf-8"))
        return list(content["rosbag2_bagfile_information"]["relative_file_paths"])
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return []


def _told(part: Path, result: Finished) -> str:
    return f"{part.name}: {result.messages} messages kept, {result.dropped_bytes} bytes dropped"
