"""Bags of images, written as ROS would."""

import cv2
import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

STORE = get_typestore(Stores.ROS2_HUMBLE)
TYPES = STORE.types


def stamp(index: int) -> int:
    """Of a frame of 10 Hz."""
    return (index + 1) * 10**8


def header(stamp_ns=10**9):
    time = TYPES["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 10**9))
    return TYPES["std_msgs/msg/Header"](time, "camera")


def raw(frame, encoding, stamp_ns=10**9):
    data = frame[..., ::-1] if encoding == "bgr8" else frame
    height, width = frame.shape[:2]
    return TYPES["sensor_msgs/msg/Image"](
        header(stamp_ns), height, width, encoding, 0, 3 * width, np.ascontiguousarray(data).reshape(-1)
    )


def png(frame, stamp_ns=10**9):
    data = cv2.imencode(".png", frame[..., ::-1])[1].reshape(-1)
    return TYPES["sensor_msgs/msg/CompressedImage"](header(stamp_ns), "png", data)


def recorded_ns(message):
    time = message.header.stamp if hasattr(message, "header") else TYPES["builtin_interfaces/msg/Time"](1, 0)
    return time.sec * 10**9 + time.nanosec


def write(path, topics, storage=StoragePlugin.MCAP, compression=CompressionMode.NONE):
    """A bag of topic to messages, each recorded at its stamp."""
    writer = Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        connections = {
            topic: writer.add_connection(topic, messages[0].__msgtype__, typestore=STORE)
            for topic, messages in topics.items()
        }
        in_turn = sorted(
            (recorded_ns(message), index, topic)
            for topic, messages in topics.items()
            for index, message in enumerate(messages)
        )
        for time_ns, index, topic in in_turn:
            message = topics[topic][index]
            writer.write(connections[topic], time_ns, STORE.serialize_cdr(message, message.__msgtype__))
    return path
