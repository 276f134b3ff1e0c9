"""cv_bridge for the raw images that nothing else knows."""

from __future__ import annotations

import sys
import types
from array import array

import numpy as np
import pytest
from plain_messages import Image

from rvm_model.messages.images import ImageError, image_to_array
from rvm_ros import bridge

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)


def decoded() -> np.ndarray:
    """An image of an encoding that is not known here."""
    return image_to_array(
        Image(height=6, width=8, encoding="argb8", step=32, data=array("B", bytes(192))), others=bridge.decoder
    )


@pytest.fixture
def cv_bridge(monkeypatch):
    """Function that puts a module in place of cv_bridge."""
    bridge._cv_bridge.cache_clear()
    yield lambda module: monkeypatch.setitem(sys.modules, "cv_bridge", module)
    bridge._cv_bridge.cache_clear()


def fails(*_):
    raise ImportError("numpy.core.multiarray failed to import")


def test_a_cv_bridge_that_cannot_be_used_is_told_for_the_image_that_needs_it(cv_bridge):
    cv_bridge(types.SimpleNamespace(CvBridge=fails))
    with pytest.raises(ImageError, match="expected one of rgb8.*cannot be imported: numpy.core.multiarray failed"):
        decoded()


def test_cv_bridge_is_looked_for_once_and_not_at_every_frame(cv_bridge):
    made = []

    class Bridge:
        def __init__(self):
            made.append(self)

        def imgmsg_to_cv2(self, *_):
            return RGB

    cv_bridge(types.SimpleNamespace(CvBridge=Bridge))
    for _ in range(3):
        np.testing.assert_array_equal(decoded(), RGB)
    assert len(made) == 1


def test_whatever_cv_bridge_raises_is_about_that_one_image(cv_bridge):
    class Bridge:
        def imgmsg_to_cv2(self, *_):
            raise KeyError("argb8")

    cv_bridge(types.SimpleNamespace(CvBridge=Bridge))
    with pytest.raises(ImageError, match="which cv_bridge refused: 'argb8'"):
        decoded()
