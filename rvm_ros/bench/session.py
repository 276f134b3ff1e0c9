"""One case of the benchmark: starts the processes and lets them take turns."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from tqdm import tqdm

from rvm_ros.bench import camera, engine, receiver, relay
from rvm_ros.bench.actor import Actor, BenchError
from rvm_ros.bench.figures import Durations, EnginePhase, NodePhase, Round, latencies_ms
from rvm_ros.bench.node import START_S, PerceptionProcess
from rvm_ros.counts import COUNTED
from rvm_ros.environment import ros_environment
from rvm_ros.interfaces import IMAGE_OUTPUTS
from rvm_ros.latency import STAGES

NAMESPACE = "/rvm_bench"
"""Own namespace, so that the benchmark never talks to a robot's nodes."""
CAMERA_TOPIC = f"{NAMESPACE}/{engine.CAMERA}/image_raw"
RELAY_TOPIC = f"{NAMESPACE}/relay/features"
SUBSCRIBED: dict[str, tuple[str, ...]] = {"none": (), "features": ("features",), "all": tuple(IMAGE_OUTPUTS)}
"""Who subscribes, by name of the phase."""
WARM_UP_S = 1.0
"""Frames for so long come first and do not count: buffers are made, and subscribers are found."""
SETTLE_S = 0.5
"""After the last frame, until it is through."""


@dataclass(frozen=True)
class Case:
    """What is measured."""

    name: str
    model: Path | str
    """Weights, for the node's parameter `model`."""
    engine: str = ""
    """For the node's parameter `engine`."""
    size: tuple[int, int] = (256, 256)
    """Height and width of the engine's input; the camera's images are larger."""
    rate_hz: float = 30.0
    """Of the camera."""
    rounds: int = 5
    seconds: float = 8.0
    """Of each phase."""
    outputs: tuple[str, ...] = tuple(SUBSCRIBED)
    """Phases of the node, of SUBSCRIBED."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Of the node, where they differ from the defaults."""
        return {"model": str(self.model), "engine": self.engine, "image_size": list(self.size)}


@dataclass(frozen=True)
class Result:
    """What came of a case."""

    case: Case
    engine: str
    """In words, with its threads."""
    feature_map: tuple[int, int, int]
    """h, w, D."""
    rounds: list[Round]
    load: tuple[float, float]
    """The machine's load average of the last minute, before and after. Ours is in the second."""


def run(case: Case) -> Result:
    """Measure a case.

    Raises:
        BenchError: a process ended early or does not answer.
    """
    # Set before rclpy starts here, and inherited by the processes: the shared-memory profile and idle OpenMP threads.
    # The range as well: a benchmark neither hears nor disturbs the robots of the network.
    os.environ.update({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"} | dict(os.environ) | ros_environment())
    load_before = os.getloadavg()[0]
    rclpy.init()
    try:
        with contextlib.ExitStack() as stack:
            stepper = stack.enter_context(_closing(Actor("engine", engine.serve, case.parameters)))
            facts: engine.Facts = stepper.answer(START_S)
            sender = stack.enter_context(_closing(Actor("camera", camera.serve, CAMERA_TOPIC)))
            listener = stack.enter_context(_closing(Actor("receiver", receiver.serve)))
            relaying = stack.enter_context(
                _closing(Actor("relay", relay.serve, CAMERA_TOPIC, RELAY_TOPIC, facts.shape))
            )
            node = stack.enter_context(_closing(PerceptionProcess(NAMESPACE, _node_parameters(case))))
            node.configure()
            session = _Session(case, node, sender, listener, relaying, stepper)
            rounds = [session.round() for _ in tqdm(range(case.rounds), unit="round", desc=case.name)]
    finally:
        rclpy.try_shutdown()
    return Result(case, facts.engine, facts.shape, rounds, (load_before, os.getloadavg()[0]))


def _node_parameters(case: Case) -> dict[str, Any]:
    # Nothing that is empty: the command line would take it for no value at all.
    return {name: value for name, value in case.parameters.items() if value}


@contextlib.contextmanager
def _closing(thing: Any) -> Iterator[Any]:
    try:
        yield thing
    finally:
        thing.close()


@dataclass(frozen=True)
class _Session:
    """The processes, all running; all but those of a phase wait."""

    case: Case
    node: PerceptionProcess
    sender: Actor
    listener: Actor
    relaying: Actor
    stepper: Actor

    def round(self) -> Round:
        """Measure everything once."""
        return Round(
            node={output: self._node_phase(SUBSCRIBED[output]) for output in self.case.outputs},
            relay=self._relay_phase(),
            paced=self._engine_phase(self.case.rate_hz),
            back_to_back=self._engine_phase(0.0),
        )

    def _node_phase(self, outputs: Sequence[str]) -> NodePhase:
        self.node.activate()
        self._listen({output: f"{NAMESPACE}/perception/{engine.CAMERA}/{output}" for output in outputs})
        self._send(WARM_UP_S)
        cpu_s = self.node.cpu_s()
        stamps_ns = self._send(self.case.seconds)
        cpu_s = self.node.cpu_s() - cpu_s
        arrivals = self.listener.ask("stop")
        told = self.node.diagnostics()
        self.node.deactivate()
        if not int(told["processed"]):
            raise BenchError(
                f"node: it processed no frame of {len(stamps_ns)}, expected nearly all; it counted "
                + ", ".join(f"{told[what]} {what}" for what in COUNTED)
            )
        each_ms = latencies_ms(stamps_ns, arrivals["features"]) if "features" in outputs else None
        return NodePhase(
            sent=len(stamps_ns),
            latency=None if each_ms is None else Durations.of(each_ms),
            stages_p50_ms={stage: float(told[f"{stage}_p50_ms"]) for stage in (*STAGES, "latency")},
            cpu_ms=cpu_s * 1e3 / len(stamps_ns),
            counts={what: int(told[what]) for what in COUNTED},
        )

    def _relay_phase(self) -> Durations:
        self.relaying.ask("start")
        self._listen({"features": RELAY_TOPIC})
        self._send(WARM_UP_S)
        stamps_ns = self._send(self.case.seconds)
        arrivals = self.listener.ask("stop")
        self.relaying.ask("stop")
        return Durations.of(latencies_ms(stamps_ns, arrivals["features"]))

    def _engine_phase(self, rate_hz: float) -> EnginePhase:
        frames = self._frames(self.case.seconds)
        # Without pauses as many steps as with them; a step that cannot keep the rate takes longer than its period.
        within_s = 10 * frames / self.case.rate_hz
        self.stepper.ask(engine.Step(rate_hz, self._frames(WARM_UP_S)), within_s)
        steps: engine.Steps = self.stepper.ask(engine.Step(rate_hz, frames), within_s)
        return EnginePhase(Durations.of(steps.each_ms), steps.cpu_s * 1e3 / frames)

    def _listen(self, topics: dict[str, str]) -> None:
        if not self.listener.ask(receiver.Listen(topics), receiver.MATCH_S):
            raise BenchError(
                f"receiver: nobody publishes on all of {', '.join(topics.values())} after {receiver.MATCH_S:.0f} s"
            )

    def _send(self, seconds: float) -> list[int]:
        """Let the camera send for a while, and wait until the last frame is through; returns the stamps."""
        frames = self._frames(seconds)
        stamps_ns: list[int] = self.sender.ask(camera.Send(self.case.rate_hz, frames), seconds + camera.MATCH_S)
        time.sleep(SETTLE_S)
        return stamps_ns

    def _frames(self, seconds: float) -> int:
        return max(1, round(seconds * self.case.rate_hz))
