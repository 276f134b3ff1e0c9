"""What a node tells of itself while it runs: /diagnostics, and the latched status of each camera."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock
from rclpy.clock_type import ClockType

from rvm_ros import diagnostics
from rvm_ros.interfaces import DIAGNOSTICS_QOS
from rvm_ros.worker import Worker

if TYPE_CHECKING:
    from rvm_ros.perception_node import PerceptionNode

PERIOD_S = 1.0
"""How often /diagnostics is told, as REP 107 asks, and a status where it changed."""


class Report:
    """Tells of one node."""

    def __init__(self, node: PerceptionNode) -> None:
        """Tell from now on."""
        self._node = node
        self._prompted: dict[str, str] = {}
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", DIAGNOSTICS_QOS)
        # Not the node's clock: a simulation that stands still, or has no clock yet, must show.
        node.create_timer(PERIOD_S, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def tell_status(self, camera: str) -> None:
        """Latch what is known of one camera's state, if it is something else than before. Any thread."""
        worker = self._node.worker
        if worker is not None:
            self._node.ports[camera].publish_status(self._status(worker, camera))

    def tell_prompt(self, worker: Worker, camera: str, outcome: str) -> None:
        """Tell what became of a prompt: in the log, the status, and the list of labels. Any thread."""
        worker.streams[camera].tell_prompt(outcome)
        self._prompted[camera] = outcome
        self.tell_labels(worker, camera)
        self.tell_status(camera)

    def tell_labels(self, worker: Worker, camera: str) -> None:
        """Latch what the segmentation's values mean, if it is something else than before. Any thread."""
        self._node.ports[camera].publish_labels(worker.pictures.heads(camera).labels)

    def tell_heads_failure(self, camera: str) -> None:
        """Tell that the heads failed, and what follows from it. Any thread."""
        worker = self._node.worker
        if worker is not None:
            self.tell_prompt(
                worker, camera, "refused: the heads failed, so objects are followed no more; mark them anew"
            )

    def forget_prompts(self) -> None:
        """None was there yet."""
        self._prompted.clear()

    def _status(self, worker: Worker, camera: str) -> dict[str, object]:
        perception, counts = worker.perception(camera), worker.streams[camera].counts
        info = perception.engine.info
        return {
            "camera": camera,
            "state_age": perception.states.age(camera),
            "last_reset": {"reason": counts.last_reset, "stamp_ns": counts.last_reset_ns},
            "resets": counts.resets_by_reason(),
            "last_prompt": self._prompted.get(camera, ""),
            "engine": info.digest,
            "weights": info.weights,
            "trained": info.trained,
        }

    def _on_timer(self) -> None:
        node, now_s = self._node, time.monotonic()
        name = node.get_fully_qualified_name()
        statuses = [self._own(name)]
        if node.worker is not None:
            values = node.values()
            for camera in node.cameras:
                statuses.append(self._camera(name, node.worker, camera, now_s, _thresholds(camera, values)))
                self.tell_status(camera)
                self.tell_labels(node.worker, camera)
        self._diagnostics.publish(diagnostics.array(node.get_clock().now().to_msg(), statuses))

    def _camera(
        self, name: str, worker: Worker, camera: str, now_s: float, thresholds: diagnostics.Thresholds
    ) -> DiagnosticStatus:
        counts, perception = worker.streams[camera].counts, worker.perception(camera)
        silent_s = counts.arrivals.silent_s(now_s)
        quiet = silent_s is None or silent_s > thresholds.stale_after_s
        return diagnostics.camera_status(
            name,
            camera,
            counts,
            perception.engine.info,
            state_age=perception.states.age(camera),
            now_s=now_s,
            thresholds=thresholds,
            publishers=self._node.ports[camera].publishers() if quiet else "",
        )

    def _own(self, name: str) -> DiagnosticStatus:
        node = self._node
        infos = [] if node.loaded is None else [node.loaded.info(camera) for camera in node.cameras]
        lifecycle = "unconfigured" if node.loaded is None else "inactive" if node.worker is None else "active"
        level, message = diagnostics.OK, lifecycle
        if not all(info.trained for info in infos):
            level, message = diagnostics.WARN, f"{lifecycle}, with UNTRAINED weights"
        if node.reload.problem:
            level, message = diagnostics.WARN, f"{lifecycle}, with the engine from before: {node.reload.problem}"
        if node.failure:
            level, message = diagnostics.ERROR, f"failed: {node.failure.strip().splitlines()[-1]}"
        values = {
            "state": lifecycle,
            **diagnostics.memory_values(info.device for info in infos),
            **(diagnostics.engine_values(infos[0]) if infos else {}),
        }
        return diagnostics.status(name, name, level, message, values)


def _thresholds(camera: str, values: Mapping[str, Any]) -> diagnostics.Thresholds:
    rate_hz = values[f"{camera}.max_rate"]
    return diagnostics.Thresholds(
        stale_after_s=values["stale_after"],
        idle_after_s=max(values["stale_after"], 2 / rate_hz if rate_hz > 0 else 0.0),
        warn_latency_s=values["warn_latency"],
        error_latency_s=values["error_latency"],
        warn_resets=values["warn_resets"],
    )
