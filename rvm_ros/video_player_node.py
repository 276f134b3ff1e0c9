"""`video_player_node`: plays a video file, a folder of images or a camera device as a camera topic.

Stamps advance with the video's own clock from the moment of the first frame, also when it is played at another rate,
and go on increasing when it loops. At the end, or on an error, the process ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.task import Future
from rclpy.time import Time
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from rvm_model.frame_source import Frame, FrameSource, SourceError, open_source
from rvm_ros import process
from rvm_ros.outgoing import array_to_image, fill
from rvm_ros.parameter_spec import declare
from rvm_ros.parameters import PLAYER_PARAMETERS

PLAYER_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
"""Reliable, so that best-effort and reliable subscribers both match; qos_overrides can change it."""
SUBSCRIBER_POLL_S = 0.05
"""How often the number of subscribers is looked at before the start; ROS has no event for it on all middlewares."""
JPEG_QUALITY = 90
"""Quality of compressed images, 0..100."""


class VideoPlayerNode(Node):
    """Publishes frames from a thread of its own, each decoded before the moment that it is due."""

    def __init__(self, **kwargs: Any) -> None:
        """Open the source and start to play.

        Args:
            kwargs: as for rclpy's Node.

        Raises:
            ValueError: a parameter or the source is not usable.
        """
        super().__init__("video_player", **kwargs)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rvm_player", daemon=True)
        declare(self, PLAYER_PARAMETERS)
        self._rate_hz: float = self.get_parameter("rate").value
        self._loop: bool = self.get_parameter("loop").value
        self._frame_id: str = self.get_parameter("frame_id").value
        self._compressed = self.get_parameter("transport").value == "compressed"
        source = self.get_parameter("source").value
        self._source: FrameSource = open_source(source, folder_rate_hz=self.get_parameter("folder_rate").value)
        topic = self.get_parameter("topic").value
        self._publisher = self.create_publisher(
            CompressedImage if self._compressed else Image,
            f"{topic}/compressed" if self._compressed else topic,
            PLAYER_QOS,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._message = Image()
        self.done: Future[int] = Future()
        """Set to the exit status when the last frame was sent or playing failed."""
        self.get_logger().info(
            f"playing {source} at {self._rate_hz or self._source.rate_hz:.2f} Hz on {self._publisher.topic_name}"
        )
        self._thread.start()

    def destroy_node(self) -> None:
        """End the thread before its publisher goes."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        super().destroy_node()

    def _run(self) -> None:
        status = 1
        try:
            count = self._play() if self._wait_for_subscribers() else 0
            if not self._stop.is_set():
                self.get_logger().info(f"end after {count} frames, {self._source.skipped} could not be decoded")
                # Reliable delivery needs the publisher alive until its subscribers have everything.
                self._publisher.wait_for_all_acked(Duration(seconds=2))
                status = 0 if count else 1
        except SourceError as error:
            self.get_logger().error(str(error))
        except Exception:
            if self.context.ok():
                raise
            # Interrupted between two frames: the publisher is gone, which is no failure.
        finally:
            self.done.set_result(status)

    def _wait_for_subscribers(self) -> bool:
        wanted = self.get_parameter("wait_for_subscribers").value
        while self._publisher.get_subscription_count() < wanted:
            if self._stop.wait(SUBSCRIBER_POLL_S):
                return False
        return True

    def _play(self) -> int:
        """Publish frames when they are due; returns how many."""
        start_ns, start_s, count = 0, 0.0, 0
        for frame in self._frames():
            due_s = count / self._rate_hz if self._rate_hz > 0 else frame.time_s
            if count == 0:
                start_ns, start_s = self.get_clock().now().nanoseconds, time.monotonic()
            if self._stop.wait(max(0.0, start_s + due_s - time.monotonic())):
                break
            stamp = Time(nanoseconds=start_ns + round(frame.time_s * 1e9))
            self._publish(frame, Header(stamp=stamp.to_msg(), frame_id=self._frame_id))
            count += 1
        return count

    def _frames(self) -> Iterator[Frame]:
        """The source's frames, over and over when looping, with times that only increase."""
        offset_s = 0.0
        while True:
            last_s = None
            for frame in self._source:
                last_s = offset_s + frame.time_s
                yield Frame(frame.rgb, last_s)
            if last_s is None:
                raise SourceError("source: not one frame could be decoded")
            if not self._loop:
                return
            offset_s = last_s + 1 / self._source.rate_hz

    def _publish(self, frame: Frame, header: Header) -> None:
        if self._compressed:
            bgr = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR)
            _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            message = CompressedImage(header=header, format="rgb8; jpeg compressed bgr8")
            message.data.frombytes(np.asarray(jpeg, np.uint8).tobytes())
            self._publisher.publish(message)
            return
        if (self._message.height, self._message.width) == frame.rgb.shape[:2]:
            self._message.header = header
            fill(self._message, frame.rgb)  # In place: no allocation for a frame of the size before.
        else:
            self._message = array_to_image(frame.rgb, header, "rgb8")
        self._publisher.publish(self._message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Play to the end or until interrupted; returns the exit status."""
    return process.run("video_player", VideoPlayerNode, lambda node: node.done, lambda _: None, arguments)


if __name__ == "__main__":
    process.leave(main())
