"""Videos with a class each: folders of Something-Something v2 and Kinetics."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rvm_training.data.layouts import videos_below
from rvm_training.data.splits import split_called
from rvm_training.data.walk import files_below

MAX_MISSING = 0.1
"""Share of listed videos that may be missing: more is a download that is not whole."""


@dataclass(frozen=True)
class LabelledVideos:
    """Videos with a class each."""

    classes: tuple[str, ...]
    videos: Mapping[str, tuple[tuple[Path, int], ...]]
    """Split to (file, index of its class)."""
    missing: int = 0
    """Videos that are listed and not there."""


def labelled_videos(root: Path) -> LabelledVideos:
    """Read a folder of Something-Something v2 (labels.json, train.json, validation.json) or Kinetics (class folders).

    Raises:
        ValueError: it is neither, or lacks a split.
        OSError: a file cannot be read.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"classification: no folder at {root}")
    try:
        found = _something(root) if "labels.json" in {path.name for path in files_below(root)} else _kinetics(root)
    except (AttributeError, TypeError, KeyError) as error:
        raise ValueError(
            f"{root}: its labels.json maps no classes to numbers, or its lists have no id and template ({error!r})"
        ) from error
    for split, videos in found.videos.items():
        if not videos:
            raise ValueError(
                f"{root}: got no labelled video of {split}, expected Something-Something v2 (labels.json, train.json, "
                "validation.json and videos) or Kinetics (train/CLASS/*.mp4 and val/CLASS/*.mp4)"
            )
    return found


def _something(root: Path) -> LabelledVideos:
    videos = {path.stem: path for path in sorted(videos_below(root))}
    files = sorted(files_below(root))
    labels = next(path for path in files if path.name == "labels.json")
    numbers = {name: int(index) for name, index in _json(labels).items()}
    classes = tuple(sorted(numbers, key=numbers.__getitem__))
    if sorted(numbers.values()) != list(range(len(classes))):
        raise ValueError(f"{root}: got classes {sorted(numbers.values())} in labels.json, expected 0, 1, 2, ...")
    found: dict[str, tuple[tuple[Path, int], ...]] = {}
    listed = 0
    for split, word in (("train", "train"), ("val", "validation")):
        lists = [path for path in files if path.name.endswith(f"{word}.json")]
        items = _json(lists[0]) if lists else []
        # "Moving [something] up" of a clip is the class "Moving something up".
        named = [(str(item["id"]), str(item["template"]).replace("[", "").replace("]", "")) for item in items]
        if unknown := {name for _, name in named if name not in numbers}:
            raise ValueError(f"{lists[0]}: got the class {min(unknown)!r}, expected one of those in labels.json")
        listed += len(named)
        found[split] = tuple((videos[key], numbers[name]) for key, name in named if key in videos)
    there = sum(map(len, found.values()))
    if listed - there > MAX_MISSING * listed:
        raise ValueError(
            f"{root}: got {there} of {listed} listed videos, expected nearly all; is it unpacked as a whole?"
        )
    return LabelledVideos(classes, found, listed - there)


def _kinetics(root: Path) -> LabelledVideos:
    by_split: dict[str, list[tuple[Path, str]]] = {"train": [], "val": []}
    for path in sorted(videos_below(root)):
        parts = path.relative_to(root).parts
        if len(parts) > 2 and (split := split_called(parts[-3])) in by_split:
            by_split[split].append((path, parts[-2]))
    classes = tuple(sorted({name for videos in by_split.values() for _, name in videos}))
    numbers = {name: index for index, name in enumerate(classes)}
    return LabelledVideos(
        classes, {split: tuple((path, numbers[name]) for path, name in videos) for split, videos in by_split.items()}
    )


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: is no JSON ({error})") from error
