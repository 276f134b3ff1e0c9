"""Bags of every age and in every state are read as they were recorded, or refused with what to do."""

import sqlite3

import numpy as np
import pytest
from bags import STORE, TYPES, raw, write
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from rosbags.typesys import Stores, get_typestore

from rvm_model.bags import BagError, BagWriter, Topic, is_bag, open_bag
from rvm_model.bags.feature_coding import IMAGE, definition

FRAMES = np.random.default_rng(0).integers(0, 256, (6, 4, 6, 3), np.uint8)
IMAGES = [raw(frame, "rgb8", index + 1) for index, frame in enumerate(FRAMES)]
BOTH = pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])


def stamps(path, topic="/front"):
    """Nanoseconds of the images' stamps, in the order of reading; the pixels are checked."""
    with open_bag(path) as bag:
        assert bag.types[topic] == IMAGE
        found = [bag.deserialize(topic, data) for name, _, data in bag.messages([topic]) if name == topic]
        assert bag.counts[topic] == len(found)
    for message in found:
        assert np.array_equal(message.data, FRAMES[message.header.stamp.nanosec - 1].reshape(-1))
    return [message.header.stamp.nanosec for message in found]


@BOTH
@pytest.mark.parametrize("compression", list(CompressionMode))
def test_a_bag_is_read_with_and_without_its_metadata(tmp_path, storage, compression):
    if compression is CompressionMode.STORAGE and storage is StoragePlugin.SQLITE3:
        pytest.skip("sqlite3 has no chunks to compress")
    path = write(
        tmp_path / "bag", {"/front": IMAGES, "/text": [TYPES["std_msgs/msg/String"]("x")]}, storage, compression
    )
    assert is_bag(path)
    assert stamps(path) == [1, 2, 3, 4, 5, 6]
    (path / "metadata.yaml").unlink()
    assert is_bag(path)
    assert stamps(path) == [1, 2, 3, 4, 5, 6]
    (part,) = path.iterdir()
    assert is_bag(part)
    assert stamps(part) == [1, 2, 3, 4, 5, 6]


def test_an_empty_metadata_file_counts_for_none_and_is_told(tmp_path, caplog):
    path = write(tmp_path / "bag", {"/front": IMAGES})
    (path / "metadata.yaml").write_text("")
    assert stamps(path) == [1, 2, 3, 4, 5, 6]
    assert "metadata.yaml is missing or empty, the bag's files are read as they are" in caplog.text


@BOTH
def test_parts_without_metadata_are_read_in_the_order_of_recording(tmp_path, storage):
    folder = tmp_path / "bag"
    folder.mkdir()
    for number in range(6):
        path = write(tmp_path / f"one_{number}", {"/front": [IMAGES[number]] * 1}, storage)
        (part,) = (file for file in path.iterdir() if file.name != "metadata.yaml")
        part.rename(folder / f"bag_{number + 6}{part.suffix}")
    assert sorted(stamps(folder)) == [1, 2, 3, 4, 5, 6]


def test_a_bag_of_ros_1_is_read(tmp_path):
    store = get_typestore(Stores.ROS1_NOETIC)
    path = tmp_path / "old.bag"
    with Writer1(path) as writer:
        connection = writer.add_connection("/front", IMAGE, typestore=store)
        for index, frame in enumerate(FRAMES):
            header = store.types["std_msgs/msg/Header"](
                0, store.types["builtin_interfaces/msg/Time"](0, index + 1), "camera"
            )
            message = store.types[IMAGE](header, 4, 6, "rgb8", 0, 18, frame.reshape(-1))
            writer.write(connection, index, store.serialize_ros1(message, IMAGE))
    assert is_bag(path)
    assert stamps(path) == [1, 2, 3, 4, 5, 6]


def test_type_names_of_the_first_bags_of_ros_2_are_understood(tmp_path):
    path = write(tmp_path / "bag", {"/front": IMAGES}, StoragePlugin.SQLITE3)
    (path / "metadata.yaml").unlink()
    (part,) = path.iterdir()
    with sqlite3.connect(part) as connection:
        connection.execute("UPDATE topics SET type = 'sensor_msgs/Image'")
    connection.close()
    assert stamps(path) == [1, 2, 3, 4, 5, 6]


def test_a_definition_that_cannot_be_read_costs_no_images(tmp_path):
    writer = BagWriter(
        tmp_path / "bag",
        [Topic("/odd", "their_msgs/msg/Odd", "this is ! no definition"), Topic("/front", IMAGE, definition(IMAGE))],
    )
    writer.write("/odd", 0, b"\x00\x01\x00\x00")
    for index, image in enumerate(IMAGES):
        writer.write("/front", index, bytes(STORE.serialize_cdr(image, IMAGE)))
    writer.close()
    path = tmp_path / "bag"
    assert stamps(path) == [1, 2, 3, 4, 5, 6]
    with open_bag(path) as bag, pytest.raises(BagError, match="/odd: got 4 bytes that are no their_msgs/msg/Odd"):
        bag.deserialize("/odd", b"\x00\x01\x00\x00")


def test_a_bag_that_was_not_ended_is_told_with_what_finishes_it(tmp_path):
    path = write(tmp_path / "bag", {"/front": IMAGES})
    (part,) = path.glob("*.mcap")
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(BagError, match=f"not written to its end; `rvm bag repair {path}` finishes it"), open_bag(path):
        pass


def test_damage_within_a_bag_is_told_where_it_is_met(tmp_path):
    path = write(tmp_path / "bag", {"/front": IMAGES}, compression=CompressionMode.STORAGE)
    (part,) = path.glob("*.mcap")
    part.write_bytes(part.read_bytes().replace(b"\x28\xb5\x2f\xfd", bytes(4)))  # Where the chunk's zstd begins.
    with open_bag(path) as bag, pytest.raises(BagError, match="is damaged and cannot be read on"):
        list(bag.messages(["/front"]))


def test_what_is_no_bag_is_told(tmp_path):
    assert not is_bag(tmp_path)
    with pytest.raises(BagError, match=r"got no bag, expected metadata.yaml or files end"), open_bag(tmp_path):
        pass
    with pytest.raises(FileNotFoundError, match="no bag there"), open_bag(tmp_path / "none"):
        pass
    (tmp_path / "metadata.yaml").write_text("no: bag")
    with pytest.raises(BagError, match="is no bag that can be read"), open_bag(tmp_path):
        pass
    (tmp_path / "broken.bag").write_bytes(b"nothing")
    with pytest.raises(BagError, match="is no bag that can be read"), open_bag(tmp_path / "broken.bag"):
        pass


def test_no_topic_is_not_every_topic(tmp_path):
    with open_bag(write(tmp_path / "bag", {"/front": IMAGES})) as bag:
        assert list(bag.messages([])) == []
