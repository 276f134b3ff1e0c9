"""A window into a file reads like a file of its own."""

import io

import pytest

from rvm_training.data.window import FileWindow

WHOLE = bytes(range(100))


class Counted(io.BytesIO):
    def __init__(self, data):
        super().__init__(data)
        self.taken = 0

    def read(self, size=-1):
        data = super().read(size)
        self.taken += len(data)
        return data


def test_it_holds_its_stretch_and_nothing_else():
    window = FileWindow(io.BytesIO(WHOLE), 10, 20, "w")
    assert window.read() == WHOLE[10:30]
    assert window.read(5) == b""
    assert window.seek(-3, io.SEEK_END) == 17
    assert window.read(100) == WHOLE[27:30]
    assert window.seek(4) == window.tell() == 4
    assert window.read(2) == WHOLE[14:16]
    assert window.seek(1, io.SEEK_CUR) == 7
    window.seek(50)
    assert window.read() == b""
    with pytest.raises(ValueError, match="seek to -1"):
        window.seek(-1)


def test_only_what_is_asked_for_is_read():
    file = Counted(WHOLE)
    FileWindow(file, 10, 80, "w").read(7)
    assert file.taken == 7


def test_where_the_file_ends_early_the_window_does_too():
    assert FileWindow(io.BytesIO(WHOLE), 90, 20, "w").read() == WHOLE[90:]
