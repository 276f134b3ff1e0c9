"""Images come out of bags as they went in; what cannot be read is told."""

from collections import Counter

import cv2
import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.image import message_to_cvimage
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from rvm_model.preprocess import resize
from rvm_training.data.bag import BagError, image_topics, is_bag, read_images
from rvm_training.export.frames import calibration_clips, comparison_frames

STORE = get_typestore(Stores.ROS2_HUMBLE)
TYPES = STORE.types


def header():
    return TYPES["std_msgs/msg/Header"](TYPES["builtin_interfaces/msg/Time"](1, 0), "camera")


def raw(frame, encoding):
    data = frame[..., ::-1] if encoding == "bgr8" else frame
    height, width = frame.shape[:2]
    return TYPES["sensor_msgs/msg/Image"](
        header(), height, width, encoding, 0, 3 * width, np.ascontiguousarray(data).reshape(-1)
    )


def png(frame):
    data = cv2.imencode(".png", frame[..., ::-1])[1].reshape(-1)
    return TYPES["sensor_msgs/msg/CompressedImage"](header(), "png", data)


def write(path, topics, storage=StoragePlugin.MCAP):
    """A bag of topic to messages; the messages of all topics in turn."""
    with Writer(path, version=9, storage_plugin=storage) as writer:
        connections = {
            topic: writer.add_connection(topic, messages[0].__msgtype__, typestore=STORE)
            for topic, messages in topics.items()
        }
        for index in range(max(len(messages) for messages in topics.values())):
            for topic, messages in topics.items():
                if index < len(messages):
                    data = STORE.serialize_cdr(messages[index], messages[index].__msgtype__)
                    writer.write(connections[topic], 1_000_000 * index, data)
    return path


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 256, (80, 24, 40, 3), np.uint8)


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_chosen_images_of_a_topic_come_out_as_they_went_in(frames, tmp_path, storage):
    path = write(
        tmp_path / "bag",
        {
            "/front": [raw(frame, "bgr8") for frame in frames[:9]],
            "/rear/compressed": [png(frame) for frame in frames[:5]],
            "/text": [TYPES["std_msgs/msg/String"]("hello")],
        },
        storage,
    )
    assert is_bag(path)
    assert image_topics(path) == {"/front": 9, "/rear/compressed": 5}
    assert np.array_equal(list(read_images(path, "/front", [1, 4, 8])), frames[[1, 4, 8]])
    assert np.array_equal(list(read_images(path, "/rear/compressed", range(2, 5))), frames[2:5])


def test_more_images_than_there_are_is_told(frames, tmp_path):
    path = write(tmp_path / "bag", {"/front": [raw(frame, "rgb8") for frame in frames[:3]]})
    with pytest.raises(BagError, match="got 1 of 2 images of /front; the bag ends before"):
        list(read_images(path, "/front", [2, 3]))


def test_a_bag_without_images_and_a_broken_one_are_told(tmp_path):
    path = write(tmp_path / "bag", {"/text": [TYPES["std_msgs/msg/String"]("hello")]})
    with pytest.raises(
        BagError, match=r"got messages of \['std_msgs/msg/String'\], expected images of 8 bits in sensor"
    ):
        image_topics(path)
    (path / "metadata.yaml").write_text("no: bag")
    with pytest.raises(BagError, match="is no bag that can be read"):
        image_topics(path)


def test_depth_and_silent_topics_are_left_out_and_told(frames, tmp_path, caplog):
    depth = raw(frames[0], "rgb8")
    depth.encoding, depth.step, depth.width = "16UC1", 120, 60
    path = write(tmp_path / "bag", {"/depth": [depth], "/front": [raw(frames[0], "rgb8")]})
    assert image_topics(path) == {"/front": 1}
    assert "/depth is left out, it holds 16UC1" in caplog.text


def test_a_file_out_of_a_bags_folder_is_told(frames, tmp_path):
    path = write(tmp_path / "bag", {"/front": [raw(frames[0], "rgb8")]})
    (part,) = path.glob("*.mcap")
    with pytest.raises(BagError, match="is a part of a bag; expected its folder"):
        is_bag(part)


def test_an_image_that_cannot_be_decoded_is_told(frames, tmp_path):
    message = png(frames[0])
    message.data[8:] = 0
    path = write(tmp_path / "bag", {"/front": [message]})
    with pytest.raises(BagError, match="image 0 of /front cannot be decoded"):
        list(read_images(path, "/front", [0]))


@pytest.fixture
def two_topics(frames, tmp_path):
    """A bag of 80 images in front, and the first 20 of them at the rear."""
    rear = [raw(frame, "bgr8") for frame in frames[:20]]
    return write(tmp_path / "bag", {"/front": [raw(frame, "rgb8") for frame in frames], "/rear": rear})


def test_engines_are_calibrated_and_compared_on_bags(frames, two_topics):
    alone, both = calibration_clips([], (24, 40)), calibration_clips([two_topics], (24, 40))
    front, rear = both[len(alone) : len(alone) + 8], both[len(alone) + 8 :]
    for clip, start in zip(front, [0, 9, 18, 27, 36, 45, 54, 64], strict=True):
        assert np.array_equal(clip, frames[start : start + 16])
    for clip, start in zip(rear, range(5), strict=True):
        assert np.array_equal(clip, frames[start : start + 16])
    shown = comparison_frames(two_topics, 64, 2, (24, 40))
    assert np.array_equal(shown[:, 1], frames[1:65])


def test_calibration_walks_a_topic_once_and_keeps_no_full_size_images(two_topics, monkeypatch):
    walked, waiting, most = [], 0, 0

    def messages(reader, connections):
        for message in read(reader, connections):
            walked.append(message[0].topic)
            yield message

    def decoded(message, encoding):
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        return decode(message, encoding)

    def resized(image, height, width):
        nonlocal waiting
        waiting -= 1
        return resize(image, height, width)

    read, decode = AnyReader.messages, message_to_cvimage
    monkeypatch.setattr(AnyReader, "messages", messages)
    monkeypatch.setattr("rvm_training.data.bag.message_to_cvimage", decoded)
    monkeypatch.setattr("rvm_training.export.frames.resize", resized)
    clips = calibration_clips([two_topics], (16, 24))
    assert Counter(walked) == {"/front": 1 + 80, "/rear": 1 + 20}, "one more tells the encoding"
    assert (most, waiting) == (1, 0)
    assert clips[-1].shape == (16, 16, 24, 3)
