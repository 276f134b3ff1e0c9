"""A perception node in the test's own process, with a camera before it and its outputs behind it."""

from __future__ import annotations

import json

import numpy as np
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String
from std_srvs.srv import Trigger

from rvm_model.messages.feature_maps import msg_to_features
from rvm_model.messages.stamps import set_stamp
from rvm_ros.outgoing import array_to_image
from rvm_ros.perception_node import PerceptionNode

OUTPUTS = ("features", "segmentation", "pca")


class Robot:
    """An active node in this process, what it sends, and a camera before it."""

    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)

    def __init__(self, client, **parameters) -> None:
        self.client = client
        self.node = PerceptionNode(
            parameter_overrides=[Parameter(name, value=value) for name, value in parameters.items()]
        )
        client.executor.add_node(self.node)
        self.node.trigger_configure()
        self.node.trigger_activate()
        assert self.node.worker is not None
        self.outputs = {
            camera: {name: client.subscribe(Image, f"/perception/{camera}/{name}") for name in OUTPUTS}
            for camera in self.node.cameras
        }
        self.status: list[String] = client.subscribe(String, f"/perception/{self.node.cameras[0]}/status", self.latched)
        publishers = [self.node.ports[camera]._publishers[name] for camera in self.outputs for name in OUTPUTS]
        client.wait_for(lambda: all(each.get_subscription_count() for each in publishers), "subscribers")

    def send(self, stamp_s: float, seed: int, camera: str = "") -> None:
        """Send a frame as the camera would, by default the first one."""
        self.node._on_image(camera or self.node.cameras[0], _noise(stamp_s, seed))

    def see(self, stamp_s: float, seed: int, camera: str = "") -> dict[str, np.ndarray]:
        """Send a frame, and return what comes of it."""
        return self.show(_noise(stamp_s, seed), camera)

    def show(self, message: Image, camera: str = "") -> dict[str, np.ndarray]:
        """Send an image, and return what comes of it."""
        outputs = self.outputs[camera or self.node.cameras[0]]
        for received in outputs.values():
            received.clear()
        self.node._on_image(camera or self.node.cameras[0], message)
        self.client.wait_for(lambda: all(outputs.values()), "outputs")
        result = {name: np.array(received[-1].data) for name, received in outputs.items()}
        result["features"] = msg_to_features(outputs["features"][-1]).copy()
        return result

    def end(self) -> None:
        """As a process ends; a second call does nothing."""
        if self.node in self.client.executor.get_nodes():
            self.client.executor.remove_node(self.node)
            self.node.trigger_shutdown()
            self.node.destroy_node()

    def ask(self, service: str) -> Trigger.Response:
        return self.client.call(Trigger, f"/perception/{service}", Trigger.Request())

    def told(self) -> dict:
        """The latest latched status."""
        self.client.wait_for(lambda: self.status, "a status")
        return json.loads(self.status[-1].data)

    def wait_for_status(self, condition) -> dict:
        self.client.wait_for(lambda: self.status and condition(self.told()), "the status")
        return self.told()


def _noise(stamp_s: float, seed: int) -> Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (60, 70, 3), np.uint8)
    message = array_to_image(pixels, Header(), "rgb8")
    set_stamp(message, round(stamp_s * 1e9))
    return message
