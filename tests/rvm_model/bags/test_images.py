"""Images come out of bags as they went in; what cannot be read is told."""

from collections import Counter

import numpy as np
import pytest
from bags import TYPES, png, raw, write
from rosbags.rosbag2 import StoragePlugin

from rvm_model.bags import Bag, BagError, open_bag
from rvm_model.bags import images as bag_images
from rvm_model.bags.images import camera_topics, image_topics, read_images
from rvm_model.preprocess import resize
from rvm_training.export.frames import calibration_clips, comparison_frames


def topics(path):
    with open_bag(path) as bag:
        return image_topics(bag)


def cameras(path, chosen=None):
    with open_bag(path) as bag:
        return camera_topics(bag, chosen)


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
    assert topics(path) == {"/front": 9, "/rear/compressed": 5}
    assert np.array_equal(list(read_images(path, "/front", [1, 4, 8])), frames[[1, 4, 8]])
    assert np.array_equal(list(read_images(path, "/rear/compressed", range(2, 5))), frames[2:5])


def test_more_images_than_there_are_is_told(frames, tmp_path):
    path = write(tmp_path / "bag", {"/front": [raw(frame, "rgb8") for frame in frames[:3]]})
    with pytest.raises(BagError, match="got 1 of 2 images of /front; the bag ends before"):
        list(read_images(path, "/front", [2, 3]))


def test_a_bag_without_images_and_a_broken_one_are_told(tmp_path):
    path = write(tmp_path / "bag", {"/text": [TYPES["std_msgs/msg/String"]("hello")]})
    with pytest.raises(BagError, match=r"got messages of \['std_msgs/msg/String'\], expected colour or grey images in"):
        topics(path)
    (path / "metadata.yaml").write_text("no: bag")
    with pytest.raises(BagError, match="is no bag that can be read"):
        topics(path)


def test_depth_and_silent_topics_are_left_out_and_told(frames, tmp_path, caplog):
    depth = raw(frames[0], "rgb8")
    depth.encoding, depth.step, depth.width = "16UC1", 120, 60
    path = write(tmp_path / "bag", {"/depth": [depth], "/front": [raw(frames[0], "rgb8")]})
    assert topics(path) == {"/front": 1}
    assert "/depth is left out, it holds 16UC1" in caplog.text


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

    def messages(bag, topics):
        for message in read(bag, topics):
            walked.append(message[0])
            yield message

    def decoded(message):
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        return decode(message)

    def resized(image, height, width):
        nonlocal waiting
        waiting -= 1
        return resize(image, height, width)

    read, decode = Bag.messages, bag_images.to_array
    monkeypatch.setattr(Bag, "messages", messages)
    monkeypatch.setattr(bag_images, "to_array", decoded)
    monkeypatch.setattr("rvm_training.export.frames.resize", resized)
    clips = calibration_clips([two_topics], (16, 24))
    assert Counter(walked) == {"/front": 1 + 80, "/rear": 1 + 20}, "one more tells the encoding"
    assert (most, waiting) == (1, 0)
    assert clips[-1].shape == (16, 16, 24, 3)


def test_cameras_are_named_by_their_topics_and_count_once(frames, tmp_path):
    path = write(
        tmp_path / "bag",
        {
            "/front/image_raw": [raw(frames[0], "rgb8")],
            "/front/image_raw/compressed": [png(frame) for frame in frames[:3]],
            "/robot/rear/image_rect": [raw(frames[0], "rgb8")],
            "/hand/image_rect": [raw(frames[0], "rgb8")],
            "/hand/image_color": [raw(frames[0], "rgb8")],
            "/image": [raw(frames[0], "rgb8")],
        },
    )
    assert cameras(path) == {
        "front": "/front/image_raw/compressed",
        "robot_rear": "/robot/rear/image_rect",
        "hand_image_rect": "/hand/image_rect",
        "hand_image_color": "/hand/image_color",
        "camera": "/image",
    }
    assert cameras(path, {"left": "/image"}) == {"left": "/image"}
    with pytest.raises(BagError, match="got no images on /left, expected some of /front/image_raw,"):
        cameras(path, {"left": "/left"})


def test_what_a_perception_node_sent_is_no_camera(frames, tmp_path):
    said = [TYPES["std_msgs/msg/String"]("{}")]
    shown = {f"/perception/camera/{name}": [raw(frames[0], "rgb8")] for name in ("pca", "overlay")}
    path = write(
        tmp_path / "bag", {"/camera/pca": [raw(frames[0], "rgb8")], "/perception/camera/status": said, **shown}
    )
    assert topics(path) == {"/camera/pca": 1}


def test_topics_that_differ_in_slashes_alone_are_cameras_of_their_own(frames, tmp_path):
    image = [raw(frames[0], "rgb8")]
    names = ("/cam/left/image_raw", "/cam_left/image_raw", "/cam_left_image_raw")
    found = cameras(write(tmp_path / "bag", dict.fromkeys(names, image)))
    assert sorted(found.values()) == sorted(names)
    assert len(set(found)) == 3


def test_a_first_message_that_says_nothing_is_no_reason_to_refuse_a_bag(frames, tmp_path):
    nameless = raw(frames[0], "")
    path = write(tmp_path / "bag", {"/odd": [nameless], "/front": [raw(frames[0], "rgb8")]})
    assert topics(path) == {"/front": 1}
