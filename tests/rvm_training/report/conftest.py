"""A bag with something to see: a gap, and an image that cannot be used."""

import json
import re

import numpy as np
import pytest
from bags import png, raw, write


@pytest.fixture
def eventful(tmp_path):
    """A camera at 10 Hz: six frames, a pause, six more, of which one is damaged."""
    rng = np.random.default_rng(0)
    times = [1 + 0.1 * index + (3 if index >= 6 else 0) for index in range(12)]
    frames = rng.integers(0, 256, (12, 40, 60, 3), np.uint8)
    messages = [png(frame, round(time * 1e9)) for frame, time in zip(frames, times, strict=True)]
    messages[8].data[60:200] = 0
    rear = [raw(frames[0], "rgb8", round(time * 1e9)) for time in times[:6]]
    return write(tmp_path / "run", {"/front/image_raw/compressed": messages, "/rear/image_raw": rear})


@pytest.fixture
def content():
    """Function from a report to the data in it."""

    def read(path):
        found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text("utf-8"), re.S)
        return json.loads(found[1])

    return read
