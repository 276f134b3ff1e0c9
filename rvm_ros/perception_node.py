"""`perception_node`: a lifecycle node that turns camera topics into feature and segmentation topics.

Configure loads the weights and builds the engine, activate subscribes and starts the threads, deactivate stops them,
cleanup frees everything.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import torch
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.exceptions import NameValidationException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos_overriding_options import InvalidQosOverridesError
from rclpy.task import Future

from rvm_model.engines import EnginePool
from rvm_model.messages.judge import Rules
from rvm_ros import process
from rvm_ros.camera_port import CameraMessage, CameraPort
from rvm_ros.camera_stream import StreamSettings
from rvm_ros.interfaces import CAMERA_QOS, every_frame_qos
from rvm_ros.loading import Loaded, described, heads_config, load
from rvm_ros.parameter_spec import When, declare, unknown_parameters
from rvm_ros.parameters import PERCEPTION_PARAMETERS, camera_parameters, check_camera_names
from rvm_ros.prompts import PromptMessage, to_prompt
from rvm_ros.reload import Reload
from rvm_ros.reporting import Report
from rvm_ros.services import Services
from rvm_ros.worker import Worker, WorkerSettings

NAME = "perception"
"""The node's name, where it is given no other."""
PROMPTS_WAITING = 20
"""Most prompts that may wait for the next pause between two frames."""


class PerceptionNode(LifecycleNode):
    """Cameras in; features, CLS token, PCA picture, segmentation and overlay of each out."""

    def __init__(self, name: str = NAME, *, pool: EnginePool | None = None, **kwargs: Any) -> None:
        """Declare the parameters.

        Args:
            name: the node's name.
            pool: shares engines with other nodes of this process that have the same pool. Each of them needs an
                executor of its own thread: rclpy's multi-threaded one does not outlive a node's transitions.
            kwargs: as for rclpy's Node, for example `parameter_overrides`.

        Raises:
            ValueError: a parameter given at the start has a value that is not allowed.
        """
        super().__init__(name, **kwargs)
        self.pool = pool
        """What the engine is shared through; None where it is not."""
        self.loaded: Loaded | None = None
        """What the frames go through; None while not configured."""
        self.worker: Worker | None = None
        """None while not active."""
        self.ports: dict[str, CameraPort] = {}
        self.failure = ""
        """The traceback of what ended processing; empty where nothing did."""
        self._answers = Services(self)  # Before what may raise: a node that was not made whole is destroyed, too.
        self._failed_worker: Worker | None = None
        self._set: set[str] = set()
        # They let other threads hand over to the executor, where all that changes the node belongs.
        self._failed = self.create_guard_condition(self._on_worker_failure)
        self._was_set = self.create_guard_condition(self._on_parameters_set)
        declare(self, PERCEPTION_PARAMETERS, self._is_configured, self._on_set, self._refusal)
        self.cameras: tuple[str, ...] = tuple(self.get_parameter("cameras").value)
        check_camera_names(self.cameras)
        per_camera = [spec for camera in self.cameras for spec in camera_parameters(camera)]
        declare(self, per_camera, self._is_configured, self._on_set, self._refusal)
        self._specs = {spec.name: spec for spec in (*PERCEPTION_PARAMETERS, *per_camera)}
        for name, like in unknown_parameters(self._parameter_overrides, self._parameters).items():
            meant = f"; did you mean {like}?" if like else ""
            self.get_logger().warning(f"parameter {name}: there is none of this name, so it does nothing{meant}")
        self.reload = Reload(self)
        self._jumps = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True),
            post_callback=self._on_clock_jump,
        )
        self.report = Report(self)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the weights, build the engine and create the output topics."""
        if not self._succeeds("configured", self._configure):
            self._free()
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the cameras and start the threads; every state starts anew."""
        result = super().on_activate(state)
        if not self._succeeds("activated", self._activate):
            self._stop()
            super().on_deactivate(state)
            return TransitionCallbackReturn.FAILURE
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and let the threads finish the frames that they are at."""
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
        """Stop the threads before their publishers go, and let files be written to their end."""
        self._stop()
        self._answers.finish()
        super().destroy_node()

    def values(self) -> dict[str, Any]:
        """The parameters by name."""
        return {name: self.get_parameter(name).value for name in self._specs}

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
        start_s = time.monotonic()
        values = self.values()
        self.loaded = load(self.cameras, values, self.get_logger().info, self.pool)
        self.reload.note_running(values)
        self.announce(self.loaded, f"ready after {time.monotonic() - start_s:.1f} s")
        for camera in self.cameras:
            self.ports[camera] = CameraPort(
                self,
                camera,
                topic=values[f"{camera}.topic"],
                transport=values[f"{camera}.transport"],
                max_pixels=values["max_pixels"],
            )

    def announce(self, loaded: Loaded, when: str) -> None:
        """Log what runs now."""
        self.get_logger().info(f"engine: {described(loaded)}, {when}")
        if not all(loaded.info(camera).trained for camera in self.cameras):
            self.get_logger().warning(
                "these weights are UNTRAINED (random): features and segments mean nothing. Give trained ones with the "
                "parameter `model`; `rvm weights download small` fetches the authors'"
            )

    def _activate(self) -> None:
        assert self.loaded is not None
        values = self.values()
        self.failure, self._failed_worker = "", None
        self.report.forget_prompts()
        self.worker = Worker(
            self.loaded.perceptions,
            self.loaded.heads,
            self.ports,
            {camera: _stream_settings(camera, values) for camera in self.cameras},
            settings=_worker_settings(values),
            logger=self.get_logger(),
            now_ns=lambda: int(self.get_clock().now().nanoseconds),
            on_reset=self.report.tell_status,
            on_heads_failure=self.report.tell_heads_failure,
            on_failure=self._note_failure,
        )
        self.worker.start()
        every = values["processing"] == "every"
        for camera, port in self.ports.items():
            port.subscribe(self._on_image, every_frame_qos(values["queue_length"]) if every else CAMERA_QOS)
            port.subscribe_prompts(self._on_prompt)
            port.publish_labels(self.loaded.heads[camera].labels)
            self.report.tell_status(camera)

    def _is_configured(self) -> bool:
        return self.loaded is not None

    def _on_image(self, camera: str, message: CameraMessage) -> None:
        if self.worker is not None:
            self.worker.put(camera, message)

    def _on_prompt(self, camera: str, message: PromptMessage) -> None:
        """Take a prompt in between two frames; what became of it is logged and told in the status."""
        worker = self.worker
        if worker is None:
            return
        try:
            if worker.pictures.waiting(camera) >= PROMPTS_WAITING:
                raise ValueError(f"got more than {PROMPTS_WAITING} that wait, expected fewer; send them more slowly")
            prompt = to_prompt(message, max_pixels=self.get_parameter("max_pixels").value)
        except Exception as error:  # Whatever it is, it is about this prompt, and whoever sent it is to know.
            self.report.tell_prompt(worker, camera, _refused(error))
            return

        def mark() -> None:
            try:
                outcome = worker.pictures.heads(camera).mark(prompt)
            except Exception as error:
                outcome = _refused(error)
            self.report.tell_prompt(worker, camera, outcome)

        worker.pictures.between(camera, mark)

    def _refusal(self, values: dict[str, Any]) -> str:
        """Why these values, about to be set, do not fit the others; empty where they do."""
        file = values.get("readout", self.get_parameter("readout").value if self.has_parameter("readout") else "")
        if values.get("segmentation") == "readout" and not file and self.loaded is not None:
            return "segmentation: got readout, expected a head's file in the parameter readout when it was configured"
        return ""

    def _on_set(self, names: set[str]) -> None:
        """Parameters of a configured node are about to be set: look what became of them when that is over."""
        self._set |= names
        self._was_set.trigger()

    def _on_parameters_set(self) -> None:
        names, self._set = self._set, set()
        if self.loaded is None or not names:
            return
        self.apply_parameters(self.loaded)
        if any(self._specs[name].when is When.RELOAD for name in names):
            self.reload.consider()

    def apply_parameters(self, loaded: Loaded) -> None:
        """Let what is loaded, and the worker, go by the parameters that can be set while the node runs."""
        values = self.values()
        config = heads_config(values)
        for camera, heads in loaded.heads.items():
            heads.configure(config)
            if self.worker is not None:
                self.ports[camera].publish_labels(heads.labels)
        if self.worker is not None:
            self.worker.settings = _worker_settings(values)
            for camera, stream in self.worker.streams.items():
                stream.settings = _stream_settings(camera, values)

    def _on_clock_jump(self, jump: object) -> None:
        """The node's clock went back, or became another one: what the stamps had said does not hold any more."""
        if self.worker is not None:
            for stream in self.worker.streams.values():
                stream.start_anew("clock jump")

    def _stop(self) -> None:
        for port in self.ports.values():
            port.unsubscribe()
        if self.worker is not None:
            self.worker.stop()
            self.worker = None

    def _free(self) -> None:
        for port in self.ports.values():
            port.destroy()
        self.ports.clear()
        self.loaded = None
        self.failure, self._failed_worker, self.reload.problem = "", None, ""
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()  # Or torch would keep the memory for itself.

    def _note_failure(self, worker: Worker, trace: str) -> None:
        """Worker's thread: remember why it ended and wake the executor."""
        if not self.context.ok():
            return  # Interrupted between two frames: the publishers are gone, which is no failure.
        self.failure, self._failed_worker = trace, worker
        self._failed.trigger()

    def _on_worker_failure(self) -> None:
        if self.worker is None or self._failed_worker is not self.worker:
            return  # Deactivated by someone else meanwhile.
        self.get_logger().fatal(
            f"processing failed, so the node deactivates; mend the cause and activate it again:\n{self.failure}"
        )
        self.trigger_deactivate()


def _refused(error: Exception) -> str:
    told = str(error) if isinstance(error, ValueError) else "".join(traceback.format_exception(error))
    return f"refused: {told}"


def _stream_settings(camera: str, values: dict[str, Any]) -> StreamSettings:
    return StreamSettings(
        rules=Rules(values["max_gap"], values["on_gap"]),
        max_rate_hz=values[f"{camera}.max_rate"],
        max_age_s=values["max_age"],
        frame_id=values[f"{camera}.frame_id"],
    )


def _worker_settings(values: dict[str, Any]) -> WorkerSettings:
    return WorkerSettings(
        every=values["processing"] == "every",
        queue_length=values["queue_length"],
        decay_half_life_s=values["decay_half_life"],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until it is interrupted; returns the exit status."""
    return process.run(NAME, PerceptionNode, begin, end, arguments)


def begin(node: PerceptionNode) -> Future[int]:
    """Start by itself where that is asked for; what is returned is done only if that fails."""
    done: Future[int] = Future()
    success = TransitionCallbackReturn.SUCCESS
    wanted = node.get_parameter("autostart").value
    if wanted and not (node.trigger_configure() == success and node.trigger_activate() == success):
        node.get_logger().fatal("not started by itself, for the reason above; ends")
        done.set_result(1)
    return done


def end(node: PerceptionNode) -> None:
    """Stop and free, in order."""
    node.trigger_shutdown()


if __name__ == "__main__":
    process.leave(main())
