"""Arrays to messages and back."""

import numpy as np
import pytest

pytest.importorskip("sensor_msgs.msg")

from std_msgs.msg import Header

from rvm_model.messages.feature_maps import msg_to_features
from rvm_model.messages.images import image_to_array
from rvm_ros.outgoing import array_to_image, features_to_msg, fill

HEADER = Header(frame_id="front")
HEADER.stamp.sec = 12


def features() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((3, 4, 384), np.float32)


def test_features_survive_the_message_to_the_bit():
    message = features_to_msg(features(), HEADER)
    assert (message.height, message.width, message.encoding, message.step) == (3, 4, "32FC384", 4 * 384 * 4)
    assert message.header == HEADER
    np.testing.assert_array_equal(msg_to_features(message), features())
    assert np.shares_memory(msg_to_features(message), np.frombuffer(message.data, np.uint8))


def test_a_transposed_map_is_stored_by_rows():
    turned = features().transpose(1, 0, 2)
    np.testing.assert_array_equal(msg_to_features(features_to_msg(turned, HEADER)), turned)


@pytest.mark.parametrize(
    ("pixels", "encoding"),
    [
        (np.arange(24, dtype=np.uint8).reshape(2, 4, 3), "rgb8"),
        (np.arange(8, dtype=np.uint8).reshape(2, 4), "mono8"),
    ],
)
def test_pictures_come_back_as_they_were(pixels, encoding):
    message = array_to_image(pixels, HEADER, encoding)
    rgb = image_to_array(message)
    np.testing.assert_array_equal(rgb if encoding == "rgb8" else rgb[..., 0], pixels)
    assert message.header == HEADER


def test_16_bit_labels_have_two_bytes_a_pixel():
    labels = np.array([[1, 65535]], np.uint16)
    message = array_to_image(labels, HEADER, "16UC1")
    assert message.step == 4
    np.testing.assert_array_equal(np.frombuffer(message.data, np.uint16), [1, 65535])


def test_filling_again_reuses_the_buffer():
    message = array_to_image(np.zeros((2, 4, 3), np.uint8), HEADER, "rgb8")
    address = message.data.buffer_info()[0]
    fill(message, np.full((2, 4, 3), 9, np.uint8))
    assert message.data.buffer_info()[0] == address
    assert set(message.data) == {9}


def test_an_array_that_is_not_what_the_encoding_says_is_refused():
    with pytest.raises(ValueError, match="mono8: got float32"):
        array_to_image(np.zeros((2, 2), np.float32), HEADER, "mono8")
    with pytest.raises(ValueError, match="rgb8: got uint8"):
        array_to_image(np.zeros((2, 2), np.uint8), HEADER, "rgb8")
    with pytest.raises(ValueError, match="expected float32"):
        features_to_msg(np.zeros((2, 2, 4)), HEADER)
