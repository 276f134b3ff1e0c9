"""The node's services. None takes a path or a name from whoever calls: those are parameters."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from std_srvs.srv import Trigger

from rvm_model.snapshot import CameraSnapshot, load_snapshot, save_snapshot
from rvm_ros.deferred import in_thread, result
from rvm_ros.interfaces import SERVICES

if TYPE_CHECKING:
    from rvm_ros.perception_node import PerceptionNode
    from rvm_ros.worker import Worker

Result = TypeVar("Result")
Answer = Callable[[], Coroutine[Any, Any, str]]


class RefusedError(Exception):
    """What was asked for cannot be done now; the message says why and what to do."""


class Services:
    """`~/reset_state`, `~/save_state`, `~/load_state` and `~/reload_engine`, all std_srvs/Trigger."""

    def __init__(self, node: PerceptionNode) -> None:
        """Offer them."""
        self._node = node
        self._saving: Future[None] | None = None
        answers = {
            "reset_state": self._reset_state,
            "save_state": self._save_state,
            "load_state": self._load_state,
            "reload_engine": self._reload_engine,
        }
        for name, (kind, _) in SERVICES.items():
            # Of its own: frames, what an answer waits for, and other services come through while it waits.
            group = MutuallyExclusiveCallbackGroup()
            callback = _answering(node, name, answers[name])
            node.create_service(kind, f"~/{name}", callback, callback_group=group)

    def finish(self) -> None:
        """Wait for the file that is being written, if there is one: it would be left half done beside the old one."""
        if self._saving is not None:
            wait([self._saving])

    async def _reset_state(self) -> str:
        """Start every camera's state anew before its next frame."""
        node, worker = self._node, self._worker("got no state to reset")
        await self._result(worker.between_frames(lambda: worker.reset("requested")))
        return f"the states of {', '.join(node.cameras)} start anew with their next frame"

    async def _save_state(self) -> str:
        """Write what every camera remembers to the file of `state_file`."""
        node, path, worker = self._node, self._state_file(), self._worker("got no state to save")
        cameras = await self._result(worker.between_frames(lambda: worker.remember(node.cameras)))
        if not cameras:
            raise RefusedError("no camera has a state yet; send frames first")
        # Not between two frames: a disk takes its time.
        self._saving = in_thread("save_state", lambda: save_snapshot(path, cameras))
        await self._result(self._saving)
        return f"saved {_ages(cameras)} to {path}"

    async def _load_state(self) -> str:
        """Go on from what the file of `state_file` holds."""
        node, path, worker = self._node, self._state_file(), self._worker("there is nothing that could go on")
        engines = {camera: worker.perception(camera).engine.info.digest for camera in node.cameras}
        cameras = await self._result(in_thread("load_state", lambda: load_snapshot(path, engines)))
        await self._result(worker.between_frames(lambda: worker.recall(cameras)))
        for camera in cameras:
            node.report.tell_status(camera)
        return f"{_ages(cameras)} go on from {path}"

    async def _reload_engine(self) -> str:
        """Load the engine of the parameters `engine` and `model` anew beside the one that runs, and change over."""
        if self._node.loaded is None:
            raise RefusedError("not configured: got no engine to load anew; configure the node first")
        return await self._result(self._node.reload.begin())

    async def _result(self, future: Future[Result]) -> Result:
        executor = self._node.executor
        assert executor is not None, "it runs this"
        return await result(future, executor.wake)

    def _worker(self, lacking: str) -> Worker:
        worker = self._node.worker
        if worker is None:
            raise RefusedError(f"not active: {lacking}; activate the node first")
        return worker

    def _state_file(self) -> Path:
        name = self._node.get_parameter("state_file").value
        if not name:
            raise RefusedError("no file is given for states; start the node with the parameter state_file")
        return Path(name).expanduser().absolute()


def _ages(cameras: Mapping[str, CameraSnapshot]) -> str:
    return ", ".join(f"{camera} ({each.age} frames)" for camera, each in cameras.items())


def _answering(node: PerceptionNode, name: str, answer: Answer) -> Callable[..., Coroutine[Any, Any, Trigger.Response]]:
    """A service callback that gives an answer or the reason why there is none."""

    async def on_request(_request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            response.message = await answer()
            response.success = True
        except (RefusedError, ValueError, OSError, RuntimeError) as error:
            response.message = str(error)
            node.get_logger().error(f"{name} failed: {error}")
        except Exception as error:  # It would end the executor, and with it all cameras.
            response.message = f"{type(error).__name__}: {error}; the node's log has more"
            node.get_logger().error(f"{name} failed, for an error that was not expected:\n{traceback.format_exc()}")
        return response

    return on_request
