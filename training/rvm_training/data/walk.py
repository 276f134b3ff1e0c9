"""Files of a folder at any depth: links are followed, since large datasets are often put together of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def files_below(folder: Path) -> Iterator[Path]:
    """Files at any depth, but for hidden ones and what macOS puts beside them."""
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        yield from (Path(parent, name) for name in names if not name.startswith("."))
