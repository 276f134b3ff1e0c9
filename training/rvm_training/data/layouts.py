"""How public video datasets lie on a disk: which files are clips, of which split, and which part of them counts.

A reader looks at names and annotation files only; nothing is decoded. Videos may lie at any depth below the folder.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rvm_training.data.walk import files_below

VIDEO_SUFFIXES = frozenset((".mp4", ".webm", ".mkv", ".avi", ".mov", ".m4v"))


@dataclass(frozen=True)
class Found:
    """A stretch of video that a dataset names."""

    path: Path
    split: str
    seconds: tuple[float, float] | None = None
    """Begin and end within the video; None is all of it."""


@dataclass(frozen=True)
class Layout:
    """A dataset's layout."""

    source: str
    """Name in the manifest and in the mixture."""
    describes: str
    """What is expected in the folder."""
    read: Callable[[Path, float], Iterator[Found]]
    """From folder and share of validation clips (for datasets without splits) to what is there."""


def read_layout(name: str, folder: Path, val_share: float = 0.01) -> list[Found]:
    """What a dataset's folder holds, in order of the paths.

    Raises:
        FileNotFoundError: the folder, or an annotation file that the layout needs, is not there.
        ValueError: no video was found, or an annotation file is malformed.
    """
    layout = LAYOUTS[name]
    if not folder.is_dir():
        raise FileNotFoundError(f"manifest: no folder at {folder}")
    if not 0 <= val_share < 1:
        raise ValueError(f"val_share: got {val_share}, expected a share of at least 0 and below 1")
    found = sorted(layout.read(folder, val_share), key=lambda item: (str(item.path), item.seconds or (0.0, 0.0)))
    if not found:
        raise ValueError(f"{folder}: no videos of the layout {name!r}, which expects {layout.describes}")
    return found


def hashed_splits(keys: Iterable[str], val_share: float) -> dict[str, str]:
    """`val` for about that share of keys and `train` for the others, by a hash: stable when files are added.

    Where a share is asked for, at least one of several keys is `val`: training needs some.
    """
    place = {key: int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64 for key in keys}
    splits = {key: "val" if number < val_share else "train" for key, number in place.items()}
    if val_share > 0 and len(splits) > 1 and "val" not in splits.values():
        splits[min(place, key=place.__getitem__)] = "val"
    return splits


def videos_below(folder: Path) -> Iterator[Path]:
    """Videos of a folder at any depth."""
    for path in files_below(folder):
        if path.suffix.lower() in VIDEO_SUFFIXES:
            yield path


def _folder(folder: Path, val_share: float) -> Iterator[Found]:
    paths = {str(path.relative_to(folder)): path for path in videos_below(folder)}
    named = {key: top for key in paths if (top := Path(key).parts[0]) in ("train", "val")}
    share = 0.0 if "val" in named.values() else val_share
    splits = hashed_splits(paths.keys() - named.keys(), share) | named
    return (Found(path, splits[key]) for key, path in paths.items())


def _by_id(folder: Path, val_share: float) -> Iterator[Found]:
    paths = list(videos_below(folder))
    splits = hashed_splits((path.stem for path in paths), val_share)
    return (Found(path, splits[path.stem]) for path in paths)


def _kinetics(folder: Path, _: float) -> Iterator[Found]:
    # <split>/[<class>/]<youtube id>_<begin>_<end>.mp4: the split is the folder that says so. Test clips are not for us.
    for path in videos_below(folder):
        parts = set(path.relative_to(folder).parts[:-1])
        for names, split in ((("train",), "train"), (("val", "validate", "validation"), "val")):
            if parts.intersection(names):
                yield Found(path, split)


def _ssv2(folder: Path, _: float) -> Iterator[Found]:
    videos = {path.stem: path for path in videos_below(folder)}
    for word, split in (("train", "train"), ("validation", "val")):
        labels = sorted(folder.rglob(f"*{word}.json"))
        if not labels:
            raise FileNotFoundError(
                f"{folder}: no file that ends in {word}.json; it says which videos are of that split"
            )
        try:
            ids = [str(item["id"]) for item in json.loads(labels[0].read_text(encoding="utf-8"))]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{labels[0]}: expected a JSON list of objects with an id ({error!r})") from error
        # Downloads are often partial: what is listed and not there is no error.
        yield from (Found(videos[key], split) for key in ids if key in videos)


def _ytbb(folder: Path, val_share: float) -> Iterator[Found]:
    videos = {path.stem: path for path in videos_below(folder)}
    tables = sorted(folder.rglob("yt_bb_detection_*.csv"))
    if not tables:
        raise FileNotFoundError(f"{folder}: no yt_bb_detection_train.csv; it says which seconds of each video count")
    for table in tables:
        split = "val" if "validation" in table.stem else "train"
        segments: dict[tuple[str, str, str], list[float]] = {}
        with table.open(newline="", encoding="utf-8") as file:
            for row in csv.reader(file):
                try:
                    youtube_id, milliseconds, class_id, _, object_id = row[:5]
                    if youtube_id in videos:
                        segments.setdefault((youtube_id, class_id, object_id), []).append(int(milliseconds) / 1000)
                except ValueError as error:
                    raise ValueError(
                        f"{table}: got the row {row[:5]}, expected youtube_id, timestamp_ms, class_id, class_name, "
                        "object_id"
                    ) from error
        # Several objects are annotated over the same seconds.
        stretches = {(key[0], min(times), max(times)) for key, times in segments.items()}
        for youtube_id, begin, end in stretches:
            yield Found(videos[youtube_id], split, (begin, end))


LAYOUTS: dict[str, Layout] = {
    "folder": Layout("videos", "videos at any depth; train/ and val/ at the top are the splits", _folder),
    "howto100m": Layout("howto100m", "videos named by their YouTube id", _by_id),
    "kinetics700": Layout(
        "k700", "train/ and val/ (or validate/) with <id>_<begin>_<end>.mp4, or class folders", _kinetics
    ),
    "ssv2": Layout("ssv2", "<id>.webm, and label files that end in train.json and validation.json", _ssv2),
    "ytbb": Layout("ytbb", "<youtube id>.mp4 and yt_bb_detection_{train,validation}.csv", _ytbb),
    "yt8m": Layout("yt8m", "videos named by their YouTube id", _by_id),
}
"""Layouts by their names on the command line."""
