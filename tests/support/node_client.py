"""A node in a process of its own, as its clients see it: frames, services, states."""

from __future__ import annotations

import time

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import SetParameters
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import Trigger

NODE = "rvm_ros.perception_node"
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def random_frames(count: int, height: int = 60, width: int = 70) -> list[np.ndarray]:
    return list(np.random.default_rng(count).integers(0, 256, (count, height, width, 3), np.uint8))


def image(frame: np.ndarray, stamp_s: float, encoding: str = "rgb8") -> Image:
    message = Image(height=frame.shape[0], width=frame.shape[1], encoding=encoding, step=frame.strides[0])
    message.data.frombytes(frame.tobytes())
    message.header.frame_id = "front_optical"
    message.header.stamp = stamp(stamp_s)
    return message


def png(frame: np.ndarray, stamp_s: float) -> CompressedImage:
    message = CompressedImage(format="rgb8; png compressed bgr8")
    message.data.frombytes(cv2.imencode(".png", frame[..., ::-1])[1].tobytes())
    message.header.stamp = stamp(stamp_s)
    return message


def stamp(seconds: float) -> Time:
    return Time(sec=int(seconds), nanosec=round((seconds % 1) * 1e9))


def change(client, transition: int, node: str = "/perception") -> bool:
    return client.call(
        ChangeState, f"{node}/change_state", ChangeState.Request(transition=Transition(id=transition))
    ).success


def set_parameter(client, parameter: ParameterMessage):
    request = SetParameters.Request(parameters=[parameter])
    return client.call(SetParameters, "/perception/set_parameters", request).results[0]


def state(client) -> str:
    return client.call(GetState, "/perception/get_state", GetState.Request()).current_state.label


class Camera:
    """Sends frames and collects outputs of one camera."""

    def __init__(self, client, name: str = "camera", outputs=("features",), message_type=Image, suffix="") -> None:
        self.client = client
        self.publisher = client.node.create_publisher(message_type, f"/{name}/image_raw{suffix}", BEST_EFFORT)
        self.received = {output: client.subscribe(Image, f"/perception/{name}/{output}") for output in outputs}
        self._make = image if message_type is Image else png

    def connect(self) -> Camera:
        """Send frames without a stamp until every output comes back, then let the state start anew."""
        probe = self._make(np.zeros((60, 70, 3), np.uint8), 0.0)
        deadline = time.monotonic() + 60
        while not all(self.received.values()):
            assert time.monotonic() < deadline, f"no outputs: { ({k: len(v) for k, v in self.received.items()}) }"
            self.publisher.publish(probe)
            self.client.spin_for(0.1)
        self.client.spin_for(0.3)  # What is still under way.
        assert self.client.call(Trigger, "/perception/reset_state", Trigger.Request()).success
        return self

    def send(self, message) -> dict[str, Image]:
        """Send a message and return every output of it."""
        for received in self.received.values():
            received.clear()
        self.publisher.publish(message)
        self.client.wait_for(lambda: all(self.received.values()), "all outputs")
        return {output: received[-1] for output, received in self.received.items()}
