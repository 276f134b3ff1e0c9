"""A stretch of a larger file as a file of its own: a video inside a tar shard."""

from __future__ import annotations

import io
from typing import Any, BinaryIO


class FileWindow(io.RawIOBase):
    """Reads `size` bytes from `offset` on, and no more than a decoder asks for."""

    def __init__(self, file: BinaryIO, offset: int, size: int, name: str) -> None:
        """Look into an open, seekable file; whoever opened it closes it."""
        super().__init__()
        self.name = name
        self._file = file
        self._offset = offset
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It has places."""
        return True

    def tell(self) -> int:
        """The place in the stretch."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place in the stretch."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"{self.name}: got a seek to {start + offset}, expected 0 or more")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, as far as the stretch goes."""
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self._size - self._position))
        self._file.seek(self._offset + self._position)
        data = self._file.read(wanted)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)
