"""`perception_container`: several perception nodes in one process, which share the engines that they have in common.

Each has a name, under which the parameter file has its values, and a thread with an executor of its own: the frames of
one never wait for another's callbacks, and a node can be deactivated while others run. rclpy has no component container
and no intra-process transport; what is shared is the engine and its memory.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable, Sequence

from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.task import Future
from rclpy.utilities import remove_ros_args

from rvm_model.engines import EnginePool
from rvm_ros import perception_node, process
from rvm_ros.perception_node import PerceptionNode

NAME = "perception_container"


class _Beside:
    """A node and the thread that it runs in."""

    def __init__(self, node: PerceptionNode, on_death: Callable[[], object]) -> None:
        self._node = node
        self._on_death = on_death
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, name=node.get_name(), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Stop the thread first: what a transition takes away, it must not be waiting for."""
        self._executor.shutdown()
        if self._thread.is_alive():
            self._thread.join()
        self._node.trigger_shutdown()
        self._node.destroy_node()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return  # The whole process ends.
        except Exception:
            self._node.get_logger().fatal(f"ends, and all nodes of this process with it:\n{traceback.format_exc()}")
            self._on_death()


class _Container:
    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._pool = EnginePool()
        self._beside: list[_Beside] = []
        self._others: list[PerceptionNode] = []

    def make(self) -> PerceptionNode:
        """Make all nodes; the first is run by the process's own executor."""
        first, *self._others = (PerceptionNode(name, pool=self._pool) for name in self._names)
        return first

    def begin(self, first: PerceptionNode) -> Future[int]:
        """Let every node start by itself where that is asked for."""
        done = perception_node.begin(first)

        def die() -> None:
            if not done.done():
                done.set_result(1)

        for node in self._others:
            if perception_node.begin(node).done():
                die()
            self._beside.append(_Beside(node, die))
        for each in self._beside:
            each.start()
        return done

    def end(self, first: PerceptionNode) -> None:
        """End all nodes in order."""
        for each in self._beside:
            each.end()
        perception_node.end(first)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run nodes with the names given, as in `perception_container front rear --ros-args --params-file FILE`.

    Returns:
        The exit status; 2 where no names are given.
    """
    names = remove_ros_args(sys.argv if arguments is None else [NAME, *arguments])[1:]
    if not names or len(set(names)) != len(names):
        print(f"{NAME}: got names {names}, expected at least one node's, each once", file=sys.stderr)
        return 2
    container = _Container(names)
    return process.run(NAME, container.make, container.begin, container.end, arguments)


if __name__ == "__main__":
    process.leave(main())
