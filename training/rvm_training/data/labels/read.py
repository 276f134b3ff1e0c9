"""Which format a folder has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rvm_training.data.labels.coco import is_coco, read_coco
from rvm_training.data.labels.cvat import read_cvat
from rvm_training.data.labels.found import Labelled
from rvm_training.data.labels.label_studio import is_label_studio, read_label_studio
from rvm_training.data.labels.masks import FOLDERS, read_masks
from rvm_training.data.walk import files_below

EXPECTED = (
    f"pictures and masks of the same names in two folders ({', '.join('/ and '.join(each) for each in FOLDERS)}), or "
    "pictures beside an export: JSON of COCO or Label Studio (not JSON-MIN), XML of CVAT"
)


def read_labelled(root: Path) -> Labelled:
    """Read a folder of pictures whose pixels have classes.

    Raises:
        ValueError: it is none, malformed, or two files label one picture.
        OSError: a file cannot be read.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"segmentation: no folder at {root}; unpack the export and give its folder")
    coco: dict[Path, Any] = {}
    studio: dict[Path, Any] = {}
    unreadable = []
    files = sorted(files_below(root))
    for path in (each for each in files if each.suffix.lower() == ".json"):
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
        except ValueError as error:
            unreadable.append(f"{path} is no JSON ({error})")
            continue
        if is_coco(content):
            coco[path] = content
        elif is_label_studio(content):
            studio[path] = content
    annotations = [path for path in files if path.suffix.lower() == ".xml" and "<annotations" in _beginning(path)]
    formats = {"COCO": coco, "Label Studio": studio, "CVAT": annotations}
    there = [name for name, files in formats.items() if files]
    if len(there) > 1:
        raise ValueError(f"{root}: got files of {' and '.join(there)}, expected those of one format")
    if coco:
        found: Labelled | None = read_coco(coco, root)
    elif studio:
        found = read_label_studio(studio, root)
    elif annotations:
        found = read_cvat(annotations, root)
    else:
        found = read_masks(root)
    if found is None or not found.pictures:
        left_out = [f"{count} {what}" for what, count in (found.left_out if found else {}).items()]
        got = "; ".join(["no labelled picture", *there, *left_out, *unreadable])
        raise ValueError(f"{root}: got {got}; expected {EXPECTED}")
    seen: dict[Path, Path] = {}
    for picture in found.pictures:
        if picture.path in seen:
            raise ValueError(f"{picture.path}: got labels in {seen[picture.path]} and {picture.source}, expected one")
        seen[picture.path] = picture.source
    return found


def _beginning(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(4096).decode("utf-8", "replace")
