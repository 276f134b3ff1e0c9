"""`perception_node`: a lifecycle node that turns camera topics into feature and segmentation topics.

Configure loads the weights and builds the engine, activate subscribes and starts the worker, deactivate stops it,
cleanup frees everything.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.exceptions import NameValidationException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos_overriding_options import InvalidQosOverridesError
from rclpy.task import Future
from std_srvs.srv import Trigger

from rvm_model.engines import choose_engine
from rvm_model.heads.clusters import ClusterConfig
from rvm_model.heads.pca import PCAConfig
from rvm_model.perception import Perception, PerceptionConfig
from rvm_ros import diagnostics, process
from rvm_ros.camera_port import CameraMessage, CameraPort
from rvm_ros.parameters import (
    PERCEPTION_PARAMETERS,
    camera_parameters,
    check_camera_names,
    declare,
    unknown_parameters,
)
from rvm_ros.worker import Worker

THREADS = torch.get_num_threads()
"""What torch takes by itself: one for each physical core."""
DIAGNOSTICS_PERIOD_S = 1.0
"""How often /diagnostics is told, as REP 107 asks."""


class PerceptionNode(LifecycleNode):
    """Cameras in; features, CLS token, PCA picture, segmentation and overlay of each out."""

    def __init__(self, **kwargs: Any) -> None:
        """Declare the parameters.

        Args:
            kwargs: as for rclpy's Node, for example `parameter_overrides`.

        Raises:
            ValueError: a parameter given at the start has a value that is not allowed.
        """
        super().__init__("perception", **kwargs)
        self._perception: Perception | None = None
        self._ports: dict[str, CameraPort] = {}
        self._worker: Worker | None = None
        self._failure = ""
        declare(self, PERCEPTION_PARAMETERS, self._is_configured)
        self._cameras: list[str] = list(self.get_parameter("cameras").value)
        check_camera_names(self._cameras)
        per_camera = [spec for camera in self._cameras for spec in camera_parameters(camera)]
        declare(self, per_camera, self._is_configured)
        for name, like in unknown_parameters(self._parameter_overrides, self._parameters).items():
            meant = f"; did you mean {like}?" if like else ""
            self.get_logger().warning(f"parameter {name}: there is none of this name, so it does nothing{meant}")
        # Lets the worker's thread hand over to the executor, where lifecycle transitions belong.
        self._failed = self.create_guard_condition(self._on_worker_failure)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Not the node's clock: a simulation that stands still, or has no clock yet, must show.
        self.create_timer(
            DIAGNOSTICS_PERIOD_S, self._publish_diagnostics, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self.create_service(Trigger, "~/reset_state", self._on_reset_state)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the weights, build the engine and create the output topics."""
        if not self._succeeds("configured", self._configure):
            self._free()
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the cameras and start the worker; every state starts anew."""
        result = super().on_activate(state)
        if not self._succeeds("activated", self._activate):
            self._stop()
            super().on_deactivate(state)
            return TransitionCallbackReturn.FAILURE
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and let the worker finish the frame that it is at."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the engine and take the topics back."""
        self._free()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free, from whatever state."""
        self._stop()
        self._free()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free, so that the node can be configured again."""
        self._stop()
        self._free()
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """Stop the worker before its publishers go."""
        self._stop()
        super().destroy_node()

    def _succeeds(self, what: str, action: Callable[[], None]) -> bool:
        """Whether an action ran to its end; if not, why is logged. rclpy says nothing of what escapes a transition."""
        try:
            action()
        except (ValueError, OSError, NameValidationException, InvalidQosOverridesError) as error:
            self.get_logger().error(f"not {what}: {error}")
            return False
        except Exception:
            self.get_logger().error(f"not {what}, for an error that was not expected:\n{traceback.format_exc()}")
            return False
        return True

    def _configure(self) -> None:
        self._perception = self._build_perception()
        for camera in self._cameras:
            self._ports[camera] = CameraPort(
                self,
                camera,
                topic=self.get_parameter(f"{camera}.topic").value,
                transport=self.get_parameter(f"{camera}.transport").value,
                max_pixels=self.get_parameter("max_pixels").value,
            )

    def _activate(self) -> None:
        assert self._perception is not None
        self._failure = ""
        self._worker = Worker(
            self._perception,
            self._ports,
            max_gap_s=self.get_parameter("max_gap").value,
            logger=self.get_logger(),
            on_failure=self._note_failure,
        )
        self._worker.start()
        for port in self._ports.values():
            port.subscribe(self._on_image)
            port.publish_labels(self._perception.config.clusters.clusters)

    def _is_configured(self) -> bool:
        return self._perception is not None

    def _build_perception(self) -> Perception:
        def value(name: str) -> Any:
            return self.get_parameter(name).value

        torch.set_num_threads(value("threads") or THREADS)
        start_s = time.monotonic()
        engine = choose_engine(
            value("engine"),
            model=value("model"),
            size=tuple(value("image_size")),
            device=value("device"),
            threads=value("threads"),
            cameras=len(self._cameras),
            build_if_missing=value("build_if_missing"),
            tell=self.get_logger().info,
        )
        count, most = len(self._cameras), engine.info.cameras
        if most is not None and most < count:
            raise ValueError(
                f"engine: got {count} in the parameter cameras, expected at most {most}; export with --cameras {count}"
            )
        perception = Perception(
            engine,
            PerceptionConfig(
                pca=PCAConfig(),
                clusters=ClusterConfig(clusters=value("clusters"), seed=value("cluster_seed")),
                overlay_alpha=value("overlay_alpha"),
            ),
        )
        perception.warm_up(count)
        info = engine.info
        self.get_logger().info(
            f"engine: {info.kind} {info.arithmetic} on {info.place}, {torch.get_num_threads()} threads, input "
            f"{info.height}x{info.width}, features {info.grid[0]}x{info.grid[1]}x{info.dim}, weights "
            f"{info.weights}, ready after {time.monotonic() - start_s:.1f} s"
        )
        if not info.trained:
            self.get_logger().warning(
                "these weights are UNTRAINED (random): features and segments mean nothing. Give trained ones with the "
                "parameter `model`; `rvm weights download small` fetches the authors'"
            )
        return perception

    def _on_image(self, camera: str, message: CameraMessage) -> None:
        if self._worker is not None:
            self._worker.put(camera, message)

    def _stop(self) -> None:
        for port in self._ports.values():
            port.unsubscribe()
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def _free(self) -> None:
        for port in self._ports.values():
            port.destroy()
        self._ports.clear()
        self._perception = None

    def _note_failure(self, trace: str) -> None:
        """Worker's thread: remember why it ended and wake the executor."""
        if not self.context.ok():
            return  # Interrupted between two frames: the publishers are gone, which is no failure.
        self._failure = trace
        self._failed.trigger()

    def _on_worker_failure(self) -> None:
        self.get_logger().fatal(
            f"processing failed, so the node deactivates; mend the cause and activate it again:\n{self._failure}"
        )
        if self._worker is not None:  # Not deactivated by someone else meanwhile.
            self.trigger_deactivate()

    def _on_reset_state(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._worker is not None
        if self._worker is None:
            response.message = "not active: got no worker to reset; activate the node first"
        else:
            self._worker.request_reset()
            response.message = f"the states of {', '.join(self._cameras)} start anew with their next frame"
        return response

    def _publish_diagnostics(self) -> None:
        name = self.get_fully_qualified_name()
        statuses = []
        if self._failure:
            last_line = self._failure.strip().splitlines()[-1]
            statuses = [diagnostics.status(name, name, DiagnosticStatus.ERROR, f"failed: {last_line}", {})]
        elif self._worker is not None and self._perception is not None:
            now_s = time.monotonic()
            for camera, counts in self._worker.counts.items():
                statuses.append(
                    diagnostics.camera_status(
                        name,
                        camera,
                        counts,
                        self._perception.engine.info,
                        state_age=self._worker.state_age(camera),
                        now_s=now_s,
                        stale_after_s=self.get_parameter("stale_after").value,
                    )
                )
        if statuses:
            self._diagnostics.publish(diagnostics.array(self.get_clock().now().to_msg(), statuses))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until it is interrupted; returns the exit status."""
    return process.run("perception", PerceptionNode, _begin, _end, arguments)


def _begin(node: PerceptionNode) -> Future[int]:
    """Start by itself where that is asked for; what is returned is done only if that fails."""
    done: Future[int] = Future()
    success = TransitionCallbackReturn.SUCCESS
    wanted = node.get_parameter("autostart").value
    if wanted and not (node.trigger_configure() == success and node.trigger_activate() == success):
        node.get_logger().fatal("not started by itself, for the reason above; ends")
        done.set_result(1)
    return done


def _end(node: PerceptionNode) -> None:
    node.trigger_shutdown()


if __name__ == "__main__":
    sys.exit(main())
