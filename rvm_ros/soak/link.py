"""The soak's side of the topics: two cameras out; features, pictures and diagnostics in."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.client import Client
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from std_srvs.srv import Trigger

from rvm_ros.soak.kinds import Message, compressed, encoded, picture, rgb8
from rvm_ros.soak.script import JPEG_CAMERA, RAW_CAMERA
from rvm_ros.soak.subject import NAMESPACE, NODE, SoakError, Subject

CAMERAS = RAW_CAMERA, JPEG_CAMERA
PICTURES = ("segmentation", "overlay")
"""Outputs that are counted, so that they are made."""
START_TIMEOUT_S = 120.0
TIMEOUT_S = 30.0
"""For what takes milliseconds on a machine that is free."""
DEPTH = 1000
PROBE_S = 0.2


class Link:
    """Publishers, subscriptions and the waiting on them, in a context of their own."""

    def __init__(self, subject: Subject, *, reliable: bool) -> None:
        """Make the topics.

        Args:
            subject: who is spoken to.
            reliable: how the cameras send.
        """
        self.features: dict[str, list[Image]] = {camera: [] for camera in CAMERAS}
        """What came and was not taken yet."""
        self.pictures: Counter[tuple[str, str]] = Counter()
        """Pictures that came, by camera and topic."""
        self.prompted: list[str] = []
        """What became of prompts, as the status of the raw camera told it."""
        self._subject = subject
        self._diagnostics: dict[str, dict[str, str]] = {}
        self._told = 0
        self._context = Context()
        rclpy.init(context=self._context)
        self._node = node = rclpy.create_node("soak", namespace=NAMESPACE, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(node)
        cameras = (
            QoSProfile(depth=DEPTH) if reliable else QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        )
        self._publishers = {
            RAW_CAMERA: node.create_publisher(Image, f"{RAW_CAMERA}/image_raw", cameras),
            JPEG_CAMERA: node.create_publisher(CompressedImage, f"{JPEG_CAMERA}/image_raw/compressed", cameras),
        }
        self._prompts = {
            kind: node.create_publisher(kind, f"{NODE}/{RAW_CAMERA}/{name}", 10)
            for kind, name in ((String, "prompt"), (Image, "prompt_mask"))
        }
        node.create_subscription(String, f"{NODE}/{RAW_CAMERA}/status", self._on_status, DEPTH)
        for camera in CAMERAS:
            node.create_subscription(Image, f"{NODE}/{camera}/features", self.features[camera].append, DEPTH)
            for name in PICTURES:
                node.create_subscription(Image, f"{NODE}/{camera}/{name}", self._count(camera, name), DEPTH)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def close(self) -> None:
        """Take the topics back."""
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    def connect(self) -> None:
        """Send frames without a stamp until all outputs of both cameras come, then let the states start anew.

        Raises:
            SoakError: nothing comes.
        """
        pixels = picture(np.random.default_rng(0))
        probes = {RAW_CAMERA: rgb8(pixels), JPEG_CAMERA: compressed(encoded(pixels, ".jpg"))}
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not all(self.features[c] and all(self.pictures[c, name] for name in PICTURES) for c in CAMERAS):
            if time.monotonic() > deadline_s:
                raise SoakError(f"no outputs of both cameras within {START_TIMEOUT_S:.0f} s")
            for camera, message in probes.items():
                self.send(camera, message)
            self.spin_for(PROBE_S)
        self.spin_until_quiet()
        self._reset_state()
        for waiting in self.features.values():
            waiting.clear()
        self.pictures.clear()

    def send(self, camera: str, message: Message) -> None:
        """Send a message of a camera."""
        self._publishers[camera].publish(message)

    def prompt(self, message: Image | String) -> None:
        """Send a prompt for the raw camera."""
        self._prompts[type(message)].publish(message)

    def spin(self, timeout_s: float = 0.0) -> None:
        """Take what is there."""
        self._executor.spin_once(timeout_sec=timeout_s)

    def spin_for(self, seconds: float) -> None:
        """Take what comes for a while."""
        deadline_s = time.monotonic() + seconds
        while (left_s := deadline_s - time.monotonic()) > 0:
            self.spin(left_s)

    def spin_until_quiet(self, quiet_s: float = 0.5) -> None:
        """Take what comes until no output has come for a while."""
        before, since_s = -1, time.monotonic()
        while time.monotonic() - since_s < quiet_s:
            self.spin(0.05)
            now = sum(map(len, self.features.values())) + self.pictures.total()
            if now != before:
                before, since_s = now, time.monotonic()
            self._subject.check()

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Take what comes until a condition holds.

        Raises:
            SoakError: it does not, or the node has ended.
        """
        deadline_s = time.monotonic() + TIMEOUT_S
        while not condition():
            self.spin(0.05)
            self._subject.check()
            if time.monotonic() > deadline_s:
                raise SoakError(f"waited {TIMEOUT_S:.0f} s for {what}")

    def diagnostics(self) -> dict[str, dict[str, str]]:
        """What the node tells of itself and of each camera, by name, measured after this call."""
        told = self._told
        self.wait(lambda: self._told >= told + 2, "diagnostics")  # The first may be from before.
        return {name.removeprefix(f"{NODE}: "): values for name, values in self._diagnostics.items()}

    def _count(self, camera: str, name: str) -> Callable[[Image], None]:
        def on_picture(_message: Image) -> None:
            self.pictures[camera, name] += 1

        return on_picture

    def _on_status(self, message: String) -> None:
        if told := json.loads(message.data)["last_prompt"]:
            self.prompted.append(told)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        ours = {status.name: status.values for status in message.status if status.name.startswith(NODE)}
        if ours:
            self._diagnostics = {name: {item.key: item.value for item in values} for name, values in ours.items()}
            self._told += 1

    def _reset_state(self) -> None:
        client: Client = self._node.create_client(Trigger, f"{NODE}/reset_state")
        self.wait(client.service_is_ready, "the service reset_state")
        future = client.call_async(Trigger.Request())
        self.wait(future.done, "the answer of reset_state")
        answer = future.result()
        if answer is None or not answer.success:
            raise SoakError(f"reset_state: got {answer}")
        self._node.destroy_client(client)
