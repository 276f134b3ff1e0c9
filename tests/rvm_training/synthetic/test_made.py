"""What was made is made anew; what others put there stays."""

import pytest

from rvm_training.synthetic.made import is_made, make


def test_a_folder_is_made_anew_without_what_was_there(tmp_path):
    folder = tmp_path / "made"
    make(folder, lambda root: (root / "old").touch())
    assert is_made(folder)
    make(folder, lambda root: (root / "new").touch())
    assert not (folder / "old").exists()
    assert (folder / "new").exists()


def test_what_others_put_there_stays(tmp_path):
    (tmp_path / "mine").touch()
    with pytest.raises(ValueError, match="got a folder with other files in it, expected a new or empty one"):
        make(tmp_path, lambda root: None)
    assert (tmp_path / "mine").exists()


def test_a_making_that_was_cut_short_is_none(tmp_path):
    def cut(root):
        (root / "half").touch()
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        make(tmp_path / "made", cut)
    assert not is_made(tmp_path / "made")
    make(tmp_path / "made", lambda root: None)
    assert is_made(tmp_path / "made")
    assert not (tmp_path / "made" / "half").exists()
