"""Which format a folder has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rvm_training.data.labels.coco import is_coco, read_coco
from rvm_training.data.labels.cvat import read_cvat
from rvm_training.data.labels.found import Labelled
from rvm_training.data.labels.label_studio import is_label_studio, read_label_studio
from rvm_training.data.labels.masks import FOLDERS, read_masks

EXPECTED = (
    f"pictures and masks of the same names in two folders ({', '.join('/ and '.join(each) for each in FOLDERS)}), or "
    "pictures beside an export: JSON of COCO or Label Studio, XML of CVAT"
)


def read_labelled(root: Path) -> Labelled:
    """Read a folder of pictures whose pixels have classes.

    Raises:
        ValueError: it is none, or malformed.
        OSError: a file cannot be read.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"segmentation: no folder at {root}; unpack the export and give its folder")
    contents = _json(root)
    annotations = [path for path in sorted(root.rglob("*.xml")) if "<annotations" in _beginning(path)]
    coco = {path: content for path, content in contents.items() if is_coco(content)}
    studio = {path: content for path, content in contents.items() if is_label_studio(content)}
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
        raise ValueError(f"{root}: got no labelled picture, expected {EXPECTED}")
    return found


def _json(root: Path) -> Mapping[Path, Any]:
    contents = {}
    for path in sorted(root.rglob("*.json")):
        try:
            contents[path] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            continue  # Some other file; one that should have been an export is missed by the caller.
    return contents


def _beginning(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(4096).decode("utf-8", "replace")
