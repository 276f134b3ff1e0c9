"""Pictures on the disk, and a function reading their labels."""

import numpy as np
import pytest
from PIL import Image

from rvm_training.data.labels import read_labelled

SIZE = 20, 30


@pytest.fixture
def pictures(tmp_path):
    """Function writing grey pictures of 20x30 below the test's folder."""

    def write(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((*SIZE, 3), 99, np.uint8)).save(path)

    return write


@pytest.fixture
def labels(tmp_path):
    """Function giving what was found, and the labels of each picture by its name."""

    def read():
        found = read_labelled(tmp_path)
        return found, {picture.path.name: picture.labels(SIZE) for picture in found.pictures}

    return read
