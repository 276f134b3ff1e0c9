"""Prompt messages, checked and read."""

import numpy as np
import pytest

pytest.importorskip("rclpy")

from sensor_msgs.msg import Image
from std_msgs.msg import String

from rvm_model.prompt import Prompt
from rvm_ros.prompts import to_prompt

pytestmark = pytest.mark.ros
LABELS = np.arange(12, dtype=np.uint16).reshape(3, 4)


def mask(pixels: np.ndarray, encoding: str, padding: int = 0) -> Image:
    rows = np.pad(pixels.view(np.uint8), ((0, 0), (0, padding)))
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, step=rows.shape[1])
    message.data.frombytes(rows.tobytes())
    message.header.stamp.sec, message.header.stamp.nanosec = 3, 5
    return message


@pytest.mark.parametrize("encoding", ["mono8", "8UC1", "mono16", "16UC1"])
@pytest.mark.parametrize("padding", [0, 3])
def test_label_images_are_read_whatever_their_samples_and_padding(encoding, padding):
    labels = LABELS.astype(np.uint8) if "8" in encoding else LABELS
    prompt = to_prompt(mask(labels, encoding, padding), max_pixels=100)
    np.testing.assert_array_equal(prompt.labels, LABELS)
    assert prompt.labels.dtype.isnative
    assert prompt.stamp_ns == 3_000_000_005


def test_samples_of_the_other_byte_order_are_read():
    message = mask(LABELS.astype(">u2"), "16UC1")
    message.is_bigendian = 1
    np.testing.assert_array_equal(to_prompt(message, max_pixels=100).labels, LABELS)


def test_text_is_read_as_json():
    assert to_prompt(String(data='{"remove": 3}'), max_pixels=1) == Prompt(remove=3)
    with pytest.raises(ValueError, match="expected JSON"):
        to_prompt(String(data="cup"), max_pixels=1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"encoding": "rgb8"}, "got encoding 'rgb8', expected one of mono8, 8UC1, mono16, 16UC1"),
        ({"height": 0}, "got 4x0 pixels, expected 1 to 100"),
        ({"height": 1 << 31, "width": 1 << 31}, "expected 1 to 100"),
        ({"step": 3}, "got step 3 and 12 bytes"),
        ({"step": 1 << 31}, "got step 2147483648 and 12 bytes"),
        ({"height": 2}, "expected a step of at least 4 and step x height bytes"),
    ],
)
def test_a_mask_that_contradicts_itself_is_refused(change, reason):
    message = mask(LABELS.astype(np.uint8), "mono8")
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ValueError, match=reason):
        to_prompt(message, max_pixels=100)
