"""The pictures of all cameras: each is drawn and sent in a thread of its own, after the engine and beside it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TypeVar

from torch import Tensor

from rvm_model.camera_heads import CameraHeads, Wanted
from rvm_ros.camera_port import CameraPort
from rvm_ros.camera_stream import CameraStream, Frame
from rvm_ros.renderer import Renderer

Result = TypeVar("Result")


@dataclass(frozen=True)
class Drawing:
    """What a camera's renderer needs of a frame."""

    frame: Frame
    features: Tensor
    """[1 + N, D]."""
    wanted: Wanted
    spent_s: dict[str, float]
    """Seconds of the stages so far."""


class Pictures:
    """The renderers of all cameras, with the heads that they draw by."""

    def __init__(
        self,
        heads: Mapping[str, CameraHeads],
        ports: Mapping[str, CameraPort],
        streams: Mapping[str, CameraStream],
        *,
        every: bool,
        on_heads_failure: Callable[[str], None],
    ) -> None:
        """Prepare the threads; `start` starts them. The mappings are by camera.

        Args:
            heads: what the features go through.
            ports: the topics.
            streams: where is counted and told what becomes of a frame.
            every: draw each frame, and let the engine wait; else the newest.
            on_heads_failure: called from a camera's thread when its heads failed, and dropped what they followed.
        """
        self._heads = dict(heads)
        self._ports = ports
        self._streams = streams
        self._on_heads_failure = on_heads_failure
        self._renderers: dict[str, Renderer[Drawing]] = {
            camera: Renderer(f"draw_{camera}", self._drawing(camera), every=every) for camera in ports
        }

    def start(self) -> None:
        """Start the threads."""
        for renderer in self._renderers.values():
            renderer.start()

    def close(self) -> None:
        """End the threads after what they are at."""
        for renderer in self._renderers.values():
            renderer.close()

    def join(self) -> None:
        """Wait for their end."""
        for renderer in self._renderers.values():
            renderer.join()

    def finish(self) -> None:
        """Wait until all that was left is drawn."""
        for renderer in self._renderers.values():
            renderer.finish()

    def heads(self, camera: str) -> CameraHeads:
        """What the camera's features go through now."""
        return self._heads[camera]

    def swap(self, heads: Mapping[str, CameraHeads]) -> None:
        """Go on with other heads. Only after `finish`."""
        self._heads = dict(heads)

    def between(self, camera: str, action: Callable[[], Result]) -> Future[Result]:
        """Let a camera's thread do something with its heads between two pictures; nothing else waits.

        Returns:
            What it returns or raises; cancelled where the threads end before.
        """
        return self._renderers[camera].run(action)

    def waiting(self, camera: str) -> int:
        """How many actions of `between` wait."""
        return self._renderers[camera].actions

    def put(self, camera: str, drawing: Drawing) -> None:
        """Leave a frame to be drawn, as far as somebody looks; its features may change when this has returned."""
        if not drawing.wanted.pictures and not self._heads[camera].needs_every_frame:
            self._record(camera, drawing)
            return
        # Copied: the engine's result holds until its next step, which will not wait.
        replaced = self._renderers[camera].put(replace(drawing, features=drawing.features.clone()))
        if replaced is not None:
            self._streams[camera].counts.add("pictures_dropped")
            self._record(camera, replaced)

    def _drawing(self, camera: str) -> Callable[[Drawing], None]:
        def draw(drawing: Drawing) -> None:
            try:
                self._draw(camera, drawing)
            except Exception as error:  # One camera's pictures are nothing to the others.
                self._streams[camera].lose(traceback.format_exc(), type(error).__name__)

        return draw

    def _draw(self, camera: str, drawing: Drawing) -> None:
        start_s = time.monotonic()
        heads, port, frame = self._heads[camera], self._ports[camera], drawing.frame
        try:
            outputs = heads.draw(frame.image, drawing.features, drawing.wanted, frame.stamp_ns)
        except Exception:
            heads.forget()  # What they follow may be half written.
            self._on_heads_failure(camera)
            raise
        drawn_s = time.monotonic()
        if outputs.labels is not None:
            port.publish_labels(outputs.labels)
        port.publish(outputs, frame.message.header)
        spent_s = {
            "heads": drawn_s - start_s,
            "publish": drawing.spent_s["publish"] + time.monotonic() - drawn_s,
        }
        self._record(camera, replace(drawing, spent_s=drawing.spent_s | spent_s))

    def _record(self, camera: str, drawing: Drawing) -> None:
        # What is left of the whole is waiting: in the slots, and for other cameras of the same batch.
        wait_s = time.monotonic() - drawing.frame.at_s - sum(drawing.spent_s.values())
        stages_s = {"wait": wait_s, **drawing.spent_s}
        latency = self._streams[camera].counts.latency
        latency.record({stage: seconds * 1e3 for stage, seconds in stages_s.items()})
