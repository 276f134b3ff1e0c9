"""Hashes of files too large to read at once."""

from __future__ import annotations

import hashlib
from pathlib import Path

BLOCK_BYTES = 1 << 20
"""Bytes read at a time."""


def file_digest(path: Path, algorithm: str = "sha256") -> bytes:
    """Digest of a file's bytes; hashlib.file_digest does this only since Python 3.11."""
    digest = hashlib.new(algorithm)
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.digest()
