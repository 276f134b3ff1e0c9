"""What datasets call their splits."""

from __future__ import annotations

SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validate", "validation"),
    "test": ("test", "testing"),
}
"""Split to the names that folders, files and lists give it, in small letters."""


def split_called(name: str) -> str | None:
    """The split that a name stands for, in letters of any size; None for another name."""
    return next((split for split, names in SPLITS.items() if name.lower() in names), None)
