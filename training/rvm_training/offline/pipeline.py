"""Recordings through one engine: several at once, batched, while others are decoded and results are written.

What is done to the frames of a camera is what the live node does that processes every frame: the same judgement of
stamps, the same resize, the same engine, the same heads.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from rvm_model.messages.encodings import RgbArray
from rvm_model.messages.judge import Due, Rules
from rvm_model.perception import Perception
from rvm_training.offline.lanes import Decoded, Lane
from rvm_training.offline.recordings import Arrival, Recording
from rvm_training.offline.streams import Outcome, Stream, told

DECODERS = 2
"""Threads that decode for each recording that is read."""
RESULTS = 8
"""Results that may wait to be written."""


@dataclass(frozen=True)
class Result:
    """What came of one frame."""

    arrival: Arrival
    features: Tensor
    """[1 + N, D] of its own, on the engine's device."""
    image: RgbArray
    """[H, W, 3]."""
    reset: str
    """Why the state was started anew before this frame; empty where it went on."""
    index: int
    """Of the image among those of its camera, refused ones counted."""
    step_s: float
    """Of the engine, for all that went through it together."""


class Sink(Protocol):
    """Where the results of one recording go. One thread calls it."""

    def write(self, result: Result) -> None:
        """Take a result.

        Raises:
            BagError: it cannot be written.
            OSError: likewise.
        """

    def finish(self, outcome: Outcome) -> None:
        """All is there: what was written counts from now on."""

    def discard(self) -> None:
        """It did not come to an end: nothing of it counts."""


@dataclass(frozen=True)
class Settings:
    """How recordings go through the engine."""

    batch: int = 8
    """Most cameras that go through the engine together."""
    rules: Rules = Rules()
    """What pauses between stamps mean."""
    decay_half_life_s: float = 1.0
    """Seconds of a gap after which half of a state is left, where gaps let it fade."""


@dataclass
class Spent:
    """Where the time went."""

    engine_s: float = 0.0
    """In the engine's steps."""
    whole_s: float = 0.0
    frames: int = 0


@dataclass(frozen=True)
class _Open:
    """A recording on its way."""

    lane: Lane
    outcome: Outcome
    sink: Sink
    streams: dict[str, Stream]

    def key(self, camera: str) -> str:
        """Name of a camera's state."""
        return f"{id(self.lane)}/{camera}"


@dataclass(frozen=True)
class _Ready:
    """A frame that may go in."""

    of: _Open
    arrival: Arrival
    decoded: Decoded
    due: Due
    index: int

    @property
    def key(self) -> str:
        return self.of.key(self.arrival.camera)


def process(
    recordings: Sequence[tuple[Recording, Mapping[str, int]]],
    perception: Perception,
    sink_of: Callable[[Recording], Sink],
    settings: Settings = Settings(),
    on_frame: Callable[[], object] = lambda: None,
) -> tuple[list[Outcome], Spent]:
    """Put recordings through an engine.

    Args:
        recordings: each with what its `lengths` gave.
        perception: the engine.
        sink_of: where the results of a recording go; what it or the sink raises ends that recording alone.
        settings: how.
        on_frame: called for every image that is done with.

    Returns:
        An outcome for each recording, in their order, and where the time went.
    """
    return _Run(perception, sink_of, settings, on_frame).run(recordings)


class _Run:
    def __init__(
        self,
        perception: Perception,
        sink_of: Callable[[Recording], Sink],
        settings: Settings,
        on_frame: Callable[[], object],
    ) -> None:
        self._perception, self._sink_of, self._settings, self._on_frame = perception, sink_of, settings, on_frame
        limit = perception.engine.info.cameras
        self._batch = min(settings.batch, limit) if limit is not None else settings.batch
        self._spent = Spent()

    def run(self, recordings: Sequence[tuple[Recording, Mapping[str, int]]]) -> tuple[list[Outcome], Spent]:
        start_s = time.monotonic()
        outcomes = [Outcome(recording) for recording, _ in recordings]
        waiting = iter(zip(outcomes, (lengths for _, lengths in recordings), strict=True))
        active: list[_Open] = []
        with ThreadPoolExecutor(DECODERS * self._batch, "decode") as pool, closing(_Writer()) as writer:
            try:
                while True:
                    while sum(len(each.streams) for each in active) < self._batch:
                        outcome, lengths = next(waiting, (None, {}))
                        if outcome is None:
                            break
                        active += self._begin(outcome, lengths, pool)
                    if not active:
                        break
                    self._advance(active, writer)
                    for each in [each for each in active if writer.failed(each.sink) and not each.outcome.error]:
                        self._end(each, active, writer, writer.failed(each.sink))
            finally:
                for each in active:
                    each.lane.close()
                if active:
                    writer.close()
                for each in active:
                    each.sink.discard()
        self._spent.whole_s = time.monotonic() - start_s
        for outcome, problem in writer.problems():
            outcome.error = outcome.error or problem
        return outcomes, self._spent

    def _begin(self, outcome: Outcome, lengths: Mapping[str, int], pool: ThreadPoolExecutor) -> list[_Open]:
        try:
            sink = self._sink_of(outcome.recording)
        except Exception as error:
            outcome.error = told(error)
            return []
        lane = Lane(outcome.recording, len(lengths), pool, self._prepare)
        streams = {camera: Stream(outcome, camera, self._settings.rules) for camera in lengths}
        return [_Open(lane, outcome, sink, streams)]

    def _prepare(self, image: RgbArray) -> Tensor:
        return self._perception.prepare({"": image})

    def _advance(self, active: list[_Open], writer: _Writer) -> None:
        """One step of every recording."""
        ready: list[_Ready] = []
        for each in list(active):
            try:
                group = each.lane.take()
            except Exception as error:  # Whatever reading one recording ends with is nothing to the others.
                self._end(each, active, writer, told(error))
                continue
            if not group:
                self._end(each, active, writer, "")
            for item in group:
                stream = each.streams[item.arrival.camera]
                self._on_frame()
                judged = stream.take(item)
                if judged is not None:
                    ready.append(_Ready(each, item.arrival, *judged, stream.count - 1))
        for batch in _chunks(ready, self._batch):
            self._step(batch, writer)

    def _step(self, batch: Sequence[_Ready], writer: _Writer) -> None:
        states, settings = self._perception.states, self._settings
        for each in batch:
            if each.due.reset:
                states.reset(each.key)
                each.of.outcome.resets[each.due.reset] += 1
            elif each.due.decay_s > 0:
                states.decay(each.key, 0.5 ** (each.due.decay_s / settings.decay_half_life_s))
        start_s = time.monotonic()
        frames = torch.cat([each.decoded.batch for each in batch])
        features = self._perception.encode([each.key for each in batch], frames)
        sound = self._perception.sound(features)
        step_s = time.monotonic() - start_s
        self._spent.engine_s += step_s
        for each in batch:
            camera, outcome = each.arrival.camera, each.of.outcome
            if not sound[each.key]:
                each.of.streams[camera].lose("the engine's features of it are not finite, or beyond all measure")
                each.of.streams[camera].start_anew("not finite")
                continue
            outcome.frames[camera] += 1
            self._spent.frames += 1
            # Copied: the engine's result holds until its next step.
            own = features[each.key].clone()
            result = Result(each.arrival, own, each.decoded.image, each.due.reset, each.index, step_s)
            writer.put(each.of.sink, outcome, result)

    def _end(self, each: _Open, active: list[_Open], writer: _Writer, error: str) -> None:
        active.remove(each)
        each.lane.close()
        self._perception.states.reset(*(each.key(camera) for camera in each.streams))
        each.outcome.error = error
        if error:
            writer.drop(each.sink)
        else:
            writer.finish(each.sink, each.outcome)


class _Writer:
    """Writes results in a thread of its own."""

    def __init__(self) -> None:
        self._queue: queue.Queue[tuple[Sink, Outcome | None, Result | None] | None] = queue.Queue(maxsize=RESULTS)
        self._failed: list[tuple[Sink, Outcome, str]] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="write", daemon=True)
        self._thread.start()

    def put(self, sink: Sink, outcome: Outcome, result: Result) -> None:
        self._leave((sink, outcome, result))

    def finish(self, sink: Sink, outcome: Outcome) -> None:
        self._leave((sink, outcome, None))

    def drop(self, sink: Sink) -> None:
        self._leave((sink, None, None))

    def failed(self, sink: Sink) -> str:
        """Why a sink takes nothing any more; empty where it does."""
        return next((problem for each, _, problem in list(self._failed) if each is sink), "")

    def problems(self) -> Iterator[tuple[Outcome, str]]:
        """Recordings whose sinks failed, and why."""
        for _, outcome, problem in self._failed:
            yield outcome, problem

    def close(self) -> None:
        """Write what waits. A second call does nothing."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _leave(self, item: tuple[Sink, Outcome | None, Result | None]) -> None:
        if self._error is not None:
            raise self._error
        self._queue.put(item)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._error is not None:
                continue  # Whoever puts must not wait for ever.
            try:
                self._do(*item)
            except BaseException as error:  # It is raised by `close`.
                self._error = error

    def _do(self, sink: Sink, outcome: Outcome | None, result: Result | None) -> None:
        if outcome is None:
            sink.discard()
        elif not self.failed(sink):
            try:
                if result is not None:
                    sink.write(result)
                else:
                    sink.finish(outcome)
            except Exception as error:  # Whatever one recording's results end with is nothing to the others.
                self._failed.append((sink, outcome, told(error)))
                sink.discard()


def _chunks(items: list[_Ready], size: int) -> Iterator[list[_Ready]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
