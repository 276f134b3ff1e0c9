"""The topics of one camera: its image subscription, its output publishers, and what somebody listens to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from rclpy.expand_topic_name import expand_topic_name
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from rclpy.validate_full_topic_name import validate_full_topic_name
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header, String

from rvm_model.camera_heads import Outputs, Wanted
from rvm_model.messages.images import check_compressed, check_image, compressed_to_array, image_to_array
from rvm_model.segmentation import LabelTable
from rvm_ros import bridge
from rvm_ros.interfaces import (
    CAMERA_QOS,
    IMAGE_OUTPUTS,
    LATCHED_OUTPUTS,
    LATCHED_QOS,
    OUTPUT_QOS,
    PROMPT_QOS,
    PROMPTS,
    TRANSPORTS,
)
from rvm_ros.label_info import label_info, label_info_type
from rvm_ros.outgoing import array_to_image, features_to_msg
from rvm_ros.prompts import PromptMessage

CameraMessage: TypeAlias = Image | CompressedImage


class CameraPort:
    """Publishers from the beginning, a subscription while the node is active."""

    def __init__(self, node: LifecycleNode, name: str, *, topic: str, transport: str, max_pixels: int) -> None:
        """Create the publishers.

        Args:
            node: the node that owns them.
            name: the camera's name, a part of the output topics.
            topic: base topic of the images, as image_transport means it.
            transport: `raw`, or `compressed` for CompressedImage on `<topic>/compressed`.
            max_pixels: images with more pixels are refused.

        Raises:
            NameValidationException: the topic's name is not one that ROS takes.
        """
        self.name = name
        # Checked here, so that a wrong name is known when the node is configured and not when it is activated.
        self.topic = topic if transport == "raw" else f"{topic}/compressed"
        validate_full_topic_name(expand_topic_name(self.topic, node.get_name(), node.get_namespace()))
        self._message_type = TRANSPORTS[transport]
        self._max_pixels = max_pixels
        self._node = node
        self._subscription: Subscription | None = None
        self._prompts: list[Subscription] = []
        self._publishers: dict[str, LifecyclePublisher] = {}
        self._label_info = label_info_type()
        self._table: LabelTable | None = None
        self._status = ""
        try:
            for output in IMAGE_OUTPUTS:
                self._publish_on(output, Image, OUTPUT_QOS)
            for output in LATCHED_OUTPUTS:
                self._publish_on(output, String, LATCHED_QOS)
            if self._label_info is not None:
                self._publish_on("label_info", self._label_info, LATCHED_QOS)
        except BaseException:
            self.destroy()  # Nobody else knows of those that were made.
            raise

    def _publish_on(self, output: str, kind: type[Any], qos: QoSProfile) -> None:
        self._publishers[output] = self._node.create_lifecycle_publisher(
            kind,
            f"~/{self.name}/{output}",
            qos,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

    def subscribe(self, on_image: Callable[[str, CameraMessage], None], qos: QoSProfile = CAMERA_QOS) -> None:
        """Hand every image to `on_image(camera name, message)` from now on."""
        self._subscription = self._node.create_subscription(
            self._message_type,
            self.topic,
            lambda message: on_image(self.name, message),
            qos,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

    def subscribe_prompts(self, on_prompt: Callable[[str, PromptMessage], None]) -> None:
        """Hand every prompt to `on_prompt(camera name, message)` from now on."""
        for name, (kind, _) in PROMPTS.items():
            self._prompts.append(
                self._node.create_subscription(
                    kind,
                    f"~/{self.name}/{name}",
                    lambda message: on_prompt(self.name, message),
                    PROMPT_QOS,
                    qos_overriding_options=QoSOverridingOptions.with_default_policies(),
                )
            )

    def unsubscribe(self) -> None:
        """Stop taking images and prompts; what is latched is sent anew when they are taken again."""
        self._table, self._status = None, ""
        for subscription in (self._subscription, *self._prompts):
            if subscription is not None:
                self._node.destroy_subscription(subscription)
        self._subscription, self._prompts = None, []

    def destroy(self) -> None:
        """Take all topics back."""
        self.unsubscribe()
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers.clear()

    def check(self, message: CameraMessage) -> None:
        """Check what an image says of itself, which costs little.

        Raises:
            ImageError: the message is malformed; says what was got and expected.
        """
        if isinstance(message, CompressedImage):
            check_compressed(message, max_pixels=self._max_pixels)
        else:
            check_image(message, max_pixels=self._max_pixels, others=bridge.decoder)

    def to_array(self, message: CameraMessage) -> npt.NDArray[np.uint8]:
        """Decode an image to uint8 RGB [H, W, 3].

        Raises:
            ImageError: the message is malformed; says what was got and expected.
        """
        if isinstance(message, CompressedImage):
            return compressed_to_array(message, max_pixels=self._max_pixels)
        return image_to_array(message, max_pixels=self._max_pixels, others=bridge.decoder)

    def publishers(self) -> str:
        """Who sends on the topic, in words."""
        offers = self._node.get_publishers_info_by_topic(
            expand_topic_name(self.topic, self._node.get_name(), self._node.get_namespace())
        )
        asked = self._subscription.qos_profile.reliability if self._subscription is not None else None
        best_effort = sum(offer.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT for offer in offers)
        hint = ""
        if asked == ReliabilityPolicy.RELIABLE and best_effort:
            hint = f", {best_effort} of them best effort, which a reliable subscription does not get: see qos_overrides"
        return f"{len(offers)} publishers on {self.topic}{hint}"

    def wanted(self) -> Wanted:
        """Which outputs have a subscriber now."""
        return Wanted(**{name: self._publishers[name].get_subscription_count() > 0 for name in IMAGE_OUTPUTS})

    def publish(self, outputs: Outputs, header: Header) -> None:
        """Send the outputs that were computed, each with the input's header."""
        if outputs.features is not None:
            self._publishers["features"].publish(features_to_msg(outputs.features, header))
        if outputs.cls_token is not None:
            self._publishers["cls_token"].publish(features_to_msg(outputs.cls_token, header))
        if outputs.pca is not None:
            self._publishers["pca"].publish(array_to_image(outputs.pca, header, "rgb8"))
        if outputs.segmentation is not None:
            encoding = "mono8" if outputs.segmentation.dtype == np.uint8 else "16UC1"
            self._publishers["segmentation"].publish(array_to_image(outputs.segmentation, header, encoding))
        if outputs.overlay is not None:
            self._publishers["overlay"].publish(array_to_image(outputs.overlay, header, "rgb8"))
        if outputs.confidence is not None:
            self._publishers["confidence"].publish(array_to_image(outputs.confidence, header, "mono8"))

    def publish_labels(self, table: LabelTable) -> None:
        """Latch the list of labels, if it is another than before: ids, names and colours, and what is unlabelled."""
        if table == self._table:
            return
        self._table = table
        if self._label_info is not None:
            self._publishers["label_info"].publish(label_info(table, self._node.get_clock().now().to_msg()))
        self._publishers["labels"].publish(String(data=json.dumps(table.described())))

    def publish_status(self, status: Mapping[str, object]) -> None:
        """Latch what is known of the camera's state, as JSON, if it is something else than before."""
        text = json.dumps(status)
        if text != self._status:
            self._status = text
            self._publishers["status"].publish(String(data=text))
