"""The demo's recorder: subscribes to a camera and the perception outputs, and puts together what has one stamp."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from sensor_msgs.msg import Image

from rvm_model.messages.feature_maps import msg_to_features
from rvm_model.messages.images import image_to_array
from rvm_model.messages.stamps import stamp_ns

RECORDER_QOS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
"""Reliable and deeper than a robot's consumers: the recorder wants every frame, not the newest."""
OPEN_FRAMES = 200
"""Frames that may wait for their outputs: as many as a slow start leaves behind."""
POLL_S = 0.05
"""How often the recorder looks whether the perception node is there."""
OUTPUTS = ("pca", "segmentation", "overlay", "features")


@dataclass
class RecordedFrame:
    """One camera frame and what came of it."""

    stamp_ns: int
    seen_s: float
    """time.monotonic() when the camera frame reached the recorder."""
    camera: npt.NDArray[np.uint8]
    outputs: dict[str, npt.NDArray[np.generic]] = field(default_factory=dict)
    finished_s: float = 0.0
    """time.monotonic() when the last output reached the recorder."""

    @property
    def latency_ms(self) -> float:
        """From the camera frame's arrival to the last output's arrival, both in the recorder."""
        return (self.finished_s - self.seen_s) * 1e3


class Recorder(Node):
    """Calls back with every frame whose outputs are complete, in order of completion."""

    def __init__(self, camera_topic: str, output_namespace: str, on_frame: Callable[[RecordedFrame], None]) -> None:
        """Subscribe to the outputs, and to the camera once the node that makes them is there.

        The player waits for its subscribers, and the node makes what somebody has subscribed to: with the camera first,
        frames would be played before there is anything to make of them.

        Args:
            camera_topic: the camera's image topic.
            output_namespace: the perception node's namespace for the camera, for example `/perception/camera`.
            on_frame: takes each complete frame.
        """
        super().__init__("demo_recorder")
        self._open: OrderedDict[int, RecordedFrame] = OrderedDict()
        self._on_frame = on_frame
        self.camera_frames = 0
        """Camera frames that arrived."""
        self.first_stamp_ns = 0
        """Stamp of the first of them, whether or not anything came of it."""
        self.last_event_s = time.monotonic()
        """When anything arrived last."""
        self._marks = self.create_publisher(Image, f"{output_namespace}/prompt_mask", RECORDER_QOS)
        self._outputs = [
            self.create_subscription(
                Image,
                f"{output_namespace}/{output}",
                lambda message, output=output: self._on_output(output, message),
                RECORDER_QOS,
            )
            for output in OUTPUTS
        ]
        self._camera_topic = camera_topic
        self._waiting = self.create_timer(POLL_S, self._subscribe_to_camera)

    def _subscribe_to_camera(self) -> None:
        makers = [self.count_publishers(each.topic_name) for each in self._outputs]
        if all(makers) and self._marks.get_subscription_count():
            self._waiting.cancel()
            self.create_subscription(Image, self._camera_topic, self._on_camera, RECORDER_QOS)

    def mark(self, labels: npt.NDArray[np.uint8], stamp: int) -> None:
        """Have the node follow the objects 1.. of a mask [H, W] of the frame with that stamp in nanoseconds."""
        message = Image(height=labels.shape[0], width=labels.shape[1], step=labels.shape[1], encoding="mono8")
        message.header.stamp = Time(nanoseconds=stamp).to_msg()
        message.data = labels.tobytes()
        self._marks.publish(message)

    def _on_camera(self, message: Image) -> None:
        self.last_event_s = time.monotonic()
        stamp = stamp_ns(message)
        if self.camera_frames == 0:
            self.first_stamp_ns = stamp
        self.camera_frames += 1
        # Copied: the array is a view of a message that rclpy may reuse.
        self._open[stamp] = RecordedFrame(stamp, self.last_event_s, image_to_array(message).copy())
        while len(self._open) > OPEN_FRAMES:
            self._open.popitem(last=False)

    def _on_output(self, output: str, message: Image) -> None:
        self.last_event_s = time.monotonic()
        frame = self._open.get(stamp_ns(message))
        if frame is None:
            return  # The camera's own message was lost on its way here: nothing to draw beside it.
        if output == "features":
            frame.outputs[output] = msg_to_features(message).copy()
        elif output == "segmentation":
            frame.outputs[output] = labels_of(message)
        else:
            frame.outputs[output] = image_to_array(message).copy()
        if len(frame.outputs) == len(OUTPUTS):
            frame.finished_s = self.last_event_s
            del self._open[frame.stamp_ns]
            self._on_frame(frame)


def labels_of(message: Image) -> npt.NDArray[np.generic]:
    """Label image [H, W] of a segmentation message, uint8 or uint16."""
    dtype = np.dtype(np.uint8 if message.encoding == "mono8" else np.uint16)
    return np.frombuffer(message.data, dtype).reshape(message.height, message.width).copy()
