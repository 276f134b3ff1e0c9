"""`feature_recorder`: records the cameras of a perception node and what the node says of them, into MCAP bags.

It asks the perception node for its cameras, so that there is nothing to keep alike. Messages are taken as the bytes
that they came as; a thread of its own codes, compresses and writes them.
"""

from __future__ import annotations

import itertools
import json
import math
import struct
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from rcl_interfaces.srv import GetParameters
from rclpy.client import Client
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.task import Future
from std_msgs.msg import String
from std_srvs.srv import SetBool

from rvm_model.bags import BagError, Message, Topic
from rvm_model.bags.feature_coding import LATCHED, FeatureCoding, definition
from rvm_model.bags.qos import offered
from rvm_ros import process
from rvm_ros.interfaces import IMAGE_OUTPUTS, LATCHED_QOS, type_name
from rvm_ros.parameter_spec import declare
from rvm_ros.parameters import RECORDER_PARAMETERS
from rvm_ros.recorder.sources import CAMERA_TOPICS, RECORDABLE, Camera, Source, sources
from rvm_ros.recorder.tape import Progress, Tape
from rvm_ros.recorder.thinning import Thinning

NAME = "feature_recorder"
DEPTH = 30
"""Messages of a topic that may wait for this process."""
ASK_S, AGAIN_S, TELL_S, LOG_S, SILENT_S = 1.0, 10.0, 1.0, 5.0, 10.0
"""How often the perception node is asked for its cameras until it answers, and then, whether they are the same; how
often what is recorded is told, and a problem; and after how long a topic without a message is."""
CLOSE_S = 1.2
"""Longest that what waits is written at the end; the process is gone within two seconds of a signal."""
_STAMP = struct.Struct("<iI")


class FeatureRecorder(Node):
    """Records from the start on, or when it is told to."""

    def __init__(self, **kwargs: Any) -> None:
        """Begin to look for the perception node.

        Args:
            kwargs: as for rclpy's Node.

        Raises:
            ValueError: a parameter has a value that is not allowed.
        """
        super().__init__(NAME, **kwargs)
        self._tape: Tape | None = None
        declare(self, RECORDER_PARAMETERS)
        self._values = {spec.name: self.get_parameter(spec.name).value for spec in RECORDER_PARAMETERS}
        if unknown := set(self._values["outputs"]) - set(RECORDABLE):
            raise ValueError(f"outputs: got {', '.join(sorted(unknown))}, expected some of {', '.join(RECORDABLE)}")
        self._perception = self.resolve_service_name(self._values["perception"])
        self._cameras: list[Camera] = []
        self._listening: list[Subscription] = []
        self._since_s = math.inf
        self._heard: set[str] = set()
        self._dropped = 0
        self._thinnings: dict[str, Thinning[Message]] = {}
        self._told_s: dict[str, float] = {}
        self._state = self.create_publisher(String, "~/state", LATCHED_QOS)
        self._last_state = ""
        self._asking: Client = self.create_client(GetParameters, f"{self._perception}/get_parameters")
        self._search = self.create_timer(ASK_S, self._look)
        self.create_timer(TELL_S, self._tell)
        self.create_service(SetBool, "~/record", self._on_record)

    def destroy_node(self) -> None:
        """End the recording first: what waits is written."""
        if self._tape is not None:
            was_recording = self._tape.progress.recording
            self._tape.close(CLOSE_S)
            if was_recording:
                self._report(self._tape.progress)
            self._tape = None
        super().destroy_node()

    def _look(self) -> None:
        """Ask for the names of the cameras, and then for their topics, until there is an answer: one may be lost."""
        if not self._asking.service_is_ready():
            if self._tape is None:
                told = f"waiting for the node {self._perception}, whose cameras are to be recorded"
                self._log_sometimes("waiting", told)
            return
        self._ask(["cameras"], self._on_cameras)

    def _ask(self, names: list[str], then: Callable[[list[Any]], object]) -> None:
        future = self._asking.call_async(GetParameters.Request(names=names))
        future.add_done_callback(partial(_answered, then))

    def _on_cameras(self, values: list[Any]) -> None:
        names = values[0] if values else None  # A node without the parameter answers with nothing.
        if not names:
            told = f"{self._perception} has no parameter cameras; is it a perception node?"
            self._log_sometimes("cameras", told, error=True)
            return
        asked = [f"{name}.{what}" for name in names for what in ("topic", "transport")]
        self._ask(asked, partial(self._on_topics, list(names)))

    def _on_topics(self, names: list[str], values: list[Any]) -> None:
        if len(values) != 2 * len(names):
            return  # It changed between the two questions; it is asked again.
        # As the perception node resolves them: from its own namespace, which need not be this one's.
        namespace = self._perception.rpartition("/")[0]
        cameras = [
            Camera(name, topic if topic.startswith("/") else f"{namespace}/{topic}", transport)
            for name, topic, transport in zip(names, values[::2], values[1::2], strict=True)
        ]
        if self._tape is not None:
            if cameras != self._cameras:
                self._log_sometimes(
                    "other cameras",
                    f"{self._perception} has other cameras or topics than when this node started; start it anew to "
                    "record them",
                    error=True,
                )
            return
        self._cameras = cameras
        features = {source.topic for source in self._sources() if source.what == "features"}
        self._thinnings = {name: Thinning(self._values["every_n"]) for name in names}
        self._tape = Tape(
            preparation=FeatureCoding(
                features, self._values["features"], self._values["components"], self._tell_problem
            ),
            on_problem=self._tell_problem,
            keep_s=self._values["keep_s"],
            buffer_bytes=self._values["buffer_mb"] * 10**6,
            split_bytes=self._values["split_mb"] * 10**6,
            split_s=self._values["split_s"],
            compressed=self._values["compress"],
        )
        self._search.timer_period_ns = int(AGAIN_S * 1e9)
        if self._values["keep_s"] > 0:
            self._listen()
        self.get_logger().info(f"ready to record {len(self._sources())} topics of {', '.join(names)}")
        if self._values["record"]:
            try:
                self._start()
            except (BagError, OSError) as error:
                self.get_logger().error(f"recording did not start: {error}")

    def _sources(self) -> list[Source]:
        return sources(self._perception, self._cameras, self._values["outputs"])

    def _tell_problem(self, text: str) -> None:
        self._log_sometimes(text.partition(":")[0], text, error=True)

    def _listen(self) -> None:
        """Subscribe to what is recorded."""
        if not self._listening:
            self._listening = [self._subscribe(source) for source in self._sources()]
            self._since_s, self._heard = time.monotonic(), set()

    def _rest(self) -> None:
        """Nobody wants what nobody keeps: the perception node need not make it."""
        for subscription in self._listening:
            self.destroy_subscription(subscription)
        self._listening, self._since_s = [], math.inf

    def _subscribe(self, source: Source) -> Subscription:
        # Cameras reliable where all who send are: a best-effort one does not reach a reliable subscription.
        offers = self.get_publishers_info_by_topic(source.topic)
        reliable = source.what not in CAMERA_TOPICS or (
            bool(offers) and all(each.qos_profile.reliability == ReliabilityPolicy.RELIABLE for each in offers)
        )
        kind = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        qos = LATCHED_QOS if source.latched else QoSProfile(depth=DEPTH, reliability=kind)
        topic = Topic(
            source.topic,
            type_name(source.type),
            definition(type_name(source.type)),
            (LATCHED if source.latched else offered(DEPTH, reliable=reliable),),
        )
        on_message = partial(self._on_message, source, topic)
        return self.create_subscription(source.type, source.topic, on_message, qos, raw=True)

    def _on_message(self, source: Source, topic: Topic, data: bytes) -> None:
        assert self._tape is not None, "there is one before there are subscriptions"
        message = Message(topic, self.get_clock().now().nanoseconds, data)
        self._heard.add(topic.name)
        if not source.stamped or source.shared:
            self._tape.put(message)
            return
        decides = source.what == self._deciding
        for kept in self._thinnings[source.camera].offer(_stamp_ns(data), topic.name, message, decides=decides):
            self._tape.put(kept)

    @property
    def _deciding(self) -> str:
        """What is counted for every_n: what comes of each frame that the node has processed, where that is recorded."""
        return next((what for what in (*IMAGE_OUTPUTS, *CAMERA_TOPICS) if what in self._values["outputs"]), "")

    def _on_record(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        try:
            response.message = self._start() if request.data else self._stop()
            response.success = True
        except (BagError, OSError) as error:
            response.message = str(error)
            self.get_logger().error(f"record: {error}")
        return response

    def _start(self) -> str:
        if self._tape is None:
            raise BagError(f"the node {self._perception} has not answered yet; start it")
        if self._tape.progress.recording:
            raise BagError(f"{self._tape.progress.bag} is being recorded; stop that first")
        name = f"{self._values['prefix']}_{datetime.now():%Y_%m_%d-%H_%M_%S}"
        folder = _free(Path(self._values["folder"]).expanduser().absolute() / name)
        self._tape.start(folder, self.get_clock().now().nanoseconds)
        self._listen()
        self._dropped = 0
        self.get_logger().info(f"recording to {folder}")
        self._tell()
        return str(folder)

    def _stop(self) -> str:
        if self._tape is None or not self._tape.progress.recording:
            raise BagError("nothing is being recorded")
        progress = self._tape.stop()
        if not self._values["keep_s"]:
            self._rest()
        self._report(progress)
        self._tell()
        return _told(progress)

    def _report(self, progress: Progress) -> None:
        if progress.bag and not progress.problem:
            self.get_logger().info(_told(progress))

    def _tell(self) -> None:
        """Latch what is recorded, as JSON, if it is something else than before."""
        progress = self._tape.progress if self._tape is not None else Progress()
        if progress.dropped > self._dropped:
            self._dropped = progress.dropped
            self._log_sometimes(
                f"dropped {progress.bag}",
                f"{progress.dropped} messages were lost so far: they come faster than the disk writes them; record "
                "less (outputs, features, every_n) or raise buffer_mb",
                error=True,
            )
        if time.monotonic() - self._since_s > SILENT_S:
            self._since_s = math.inf  # Once.
            silent = [source.topic for source in self._sources() if source.topic not in self._heard]
            if silent:
                self.get_logger().warning(
                    f"no message yet on {', '.join(silent)}; does somebody send there? Remappings of the perception "
                    "node are not known here"
                )
        text = json.dumps(vars(progress))
        if text != self._last_state:
            self._last_state = text
            self._state.publish(String(data=text))

    def _log_sometimes(self, kind: str, text: str, *, error: bool = False) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s.get(kind, -LOG_S) >= LOG_S:
            self._told_s[kind] = now_s
            if error:
                self.get_logger().error(text)
            else:
                self.get_logger().info(text)


def _answered(then: Callable[[list[Any]], object], done: Future) -> None:
    answer = done.result()
    if answer is not None:
        then([parameter_value_to_python(each) for each in answer.values])


def _free(folder: Path) -> Path:
    """A folder that is not there yet: two recordings may begin within a second."""
    names = (folder.with_name(f"{folder.name}_{number}") for number in itertools.count(2))
    return next(name for name in itertools.chain([folder], names) if not name.exists())


def _stamp_ns(data: bytes) -> int:
    """The stamp of a serialized message that begins with a header (CDR, as every ROS middleware writes it)."""
    seconds, nanoseconds = _STAMP.unpack_from(data, 4)
    return int(seconds) * 10**9 + int(nanoseconds)


def _told(progress: Progress) -> str:
    size = f"{progress.messages} messages, {progress.bytes / 1e6:.1f} MB, {progress.dropped} lost"
    return f"recorded {size}, to {progress.bag}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Record until interrupted; returns the exit status."""
    return process.run(NAME, FeatureRecorder, lambda _: Future(), lambda _: None, arguments)


if __name__ == "__main__":
    process.leave(main())
