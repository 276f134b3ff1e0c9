"""Another engine while the node runs: loaded and tried beside the one that runs, put in its place between frames."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from rclpy.parameter import Parameter

from rvm_ros.deferred import in_thread
from rvm_ros.loading import Loaded, carry, load

if TYPE_CHECKING:
    from rvm_ros.perception_node import PerceptionNode
    from rvm_ros.worker import Worker

RELOADED = ("engine", "model")
"""Parameters that say what is loaded."""


class Reload:
    """Loads engines of one node, one at a time. All but the loading itself is done in the executor's thread."""

    def __init__(self, node: PerceptionNode) -> None:
        """Nothing is loaded yet."""
        self.problem = ""
        """Why the last engine that was asked for does not run; empty where it does."""
        self._node = node
        self._running: dict[str, Any] = {}
        self._outcome: Future[str] | None = None
        self._loading: Future[Loaded] | None = None
        self._old: Loaded | None = None
        self._swap: tuple[Worker, Future[list[str]]] | None = None
        self._wanted: dict[str, Any] = {}
        self._progressed = node.create_guard_condition(self._on_progress)

    def note_running(self, values: Mapping[str, Any]) -> None:
        """Remember what the engine that runs was asked for with."""
        self._running = {name: values[name] for name in RELOADED}
        self.problem = ""

    def consider(self) -> None:
        """Load what the parameters ask for now, if that is not what runs."""
        if self._node.loaded is not None and self._asked_for() != self._running:
            self.begin()

    def begin(self) -> Future[str]:
        """Load what the parameters ask for now, and put it in place.

        Returns:
            What was done, in words, or why the engine from before still runs. Where one is being loaded already, that
            one's; what is asked for now is loaded after it.
        """
        if self._outcome is not None:
            return self._outcome
        self._outcome, self._old = Future(), self._node.loaded
        values, self._wanted = self._node.values(), self._asked_for()
        logger, cameras, pool = self._node.get_logger(), self._node.cameras, self._node.pool
        logger.info(
            f"engine: loading {values['engine'] or 'the default'} with {values['model']} beside the one that runs"
        )
        self._loading = in_thread("reload", lambda: load(cameras, values, logger.info, pool))
        self._loading.add_done_callback(lambda _: self._progressed.trigger())
        return self._outcome

    def _on_progress(self) -> None:
        try:
            self._go_on()
        except Exception as error:  # Whatever is wrong with the new one is nothing to the one that runs.
            known = isinstance(error, (ValueError, OSError, RuntimeError))
            self._keep(str(error) if known else f"{type(error).__name__}: {error}")

    def _go_on(self) -> None:
        node, loading, swap = self._node, self._loading, self._swap
        if loading is None or not loading.done():
            return
        new = loading.result()
        if node.loaded is not self._old or self._old is None:
            raise RuntimeError("the node was cleaned up meanwhile")
        worker = node.worker
        if worker is None:  # Never active, or not any more: states start anew when it is.
            self._put_in_place(new, [])
        elif swap is None or swap[0] is not worker:
            future = worker.between_frames(lambda: self._exchange(worker, new))
            self._swap = worker, future
            future.add_done_callback(lambda _: self._progressed.trigger())
        elif swap[1].done():
            self._put_in_place(new, swap[1].result())

    def _exchange(self, worker: Worker, new: Loaded) -> list[str]:
        """Worker's thread: let new engines take over; returns the cameras whose states go on."""
        node = self._node
        assert self._old is not None, "something runs"
        carried = carry(self._old, new) if node.get_parameter("carry_state").value else []
        started_anew = [camera for camera in node.cameras if camera not in carried]
        if started_anew:
            worker.reset("engine changed", *started_anew)
        worker.swap(new.perceptions, new.heads)
        return carried

    def _put_in_place(self, new: Loaded, carried: list[str]) -> None:
        node = self._node
        node.loaded = new
        node.apply_parameters(new)  # They may have been set while it was loaded.
        self._running, self.problem = self._wanted, ""
        states = f"the states of {', '.join(carried)} go on" if carried else "the states start anew"
        node.announce(new, states)
        for camera in node.cameras:
            node.report.tell_status(camera)
        outcome = self._end()
        if outcome is not None:
            outcome.set_result(f"runs now; {states}")
        self.consider()

    def _keep(self, why: str) -> None:
        """Go on with the engine from before, and let the parameters say so."""
        node = self._node
        self.problem = why if node.loaded is not None else ""
        node.get_logger().error(f"engine: the one from before goes on, for the new one cannot: {why}")
        outcome = self._end()
        if node.loaded is not None and self._asked_for() == self._wanted:
            node.set_parameters([Parameter(name, value=value) for name, value in self._running.items()])
        if outcome is not None:
            outcome.set_exception(RuntimeError(why))
        self.consider()

    def _end(self) -> Future[str] | None:
        """Be ready for the next; returns whom to tell."""
        outcome, self._outcome = self._outcome, None
        self._loading = self._swap = self._old = None
        return outcome

    def _asked_for(self) -> dict[str, Any]:
        return {name: self._node.get_parameter(name).value for name in RELOADED}
