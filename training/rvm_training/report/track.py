"""What a report shows of one camera, collected frame by frame."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from rvm_model.camera_heads import CameraHeads, HeadsConfig, Wanted
from rvm_model.engines import EngineInfo
from rvm_model.messages.encodings import RgbArray
from rvm_model.preprocess import as_tensor, resize
from rvm_training.report.similarity import coded

HEIGHT = 256
"""Most rows of the pictures in a report."""
ENLARGED = 16
"""Times that a feature map is enlarged whose image was not recorded."""
_AFTER_NS = 33_000_000
"""After the last frame, a frame is shown whose stamp goes back."""
KEPT_BYTES = 10**9
"""Most memory for the features of a camera's frames that are shown."""
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 82]
_WANTED = Wanted(pca=True, segmentation=True)
Labels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Segmentation:
    """A segmentation that was recorded."""

    labels: Labels
    """[H, W]"""
    colours: dict[int, tuple[int, int, int]]
    """Red, green and blue of each value; what has none is unlabelled."""


@dataclass(frozen=True)
class Shown:
    """One frame."""

    stamp_ns: int
    features: npt.NDArray[np.float32]
    """[h, w, D]"""
    image: RgbArray | None
    """[H, W, 3]; None where it was not recorded."""
    delay_ms: float | None
    """See `Track.delay`."""
    reset: str = ""
    """Why the state was started anew before it."""
    segmentation: Segmentation | None = None
    """None has one computed."""


@dataclass
class Track:
    """One camera."""

    camera: str
    expected: int
    """Frames, about."""
    most: int
    """Frames that are shown at most; of more, every n-th is."""
    delay: str
    """What `Shown.delay_ms` is, in words."""
    max_gap_s: float = 1.0
    computed: bool = False
    """Whether the segmentation was computed for the report, and not recorded."""
    _times_ns: list[int] = field(default_factory=list)
    """Of the frames, on a clock that goes on where stamps go back."""
    _offset_ns: int = 0
    """From stamps to that clock."""
    _delays: list[float | None] = field(default_factory=list)
    _events: list[tuple[int, str, str]] = field(default_factory=list)
    _pictures: list[dict[str, Any]] = field(default_factory=list)
    _kept: list[npt.NDArray[np.float16]] = field(default_factory=list)
    _heads: CameraHeads | None = None

    def add(self, frame: Shown) -> None:
        """Take the next frame."""
        if self._kept and frame.features.shape != self._kept[0].shape:
            self.note(frame.stamp_ns, "refused", f"features of another size, {frame.features.shape}: not shown")
            return
        if self._times_ns:
            pause_s = (frame.stamp_ns + self._offset_ns - self._times_ns[-1]) / 1e9
            if pause_s <= 0:
                self._offset_ns += round(-pause_s * 1e9) + _AFTER_NS
                self.note(frame.stamp_ns, "gap", f"time went back by {-pause_s:.2f} s")
            elif pause_s > self.max_gap_s:
                self.note(frame.stamp_ns, "gap", f"{pause_s:.2f} s without a frame")
        if frame.reset:
            self.note(frame.stamp_ns, "reset", f"state started anew: {frame.reset}")
        index = len(self._times_ns)
        self._times_ns.append(frame.stamp_ns + self._offset_ns)
        self._delays.append(frame.delay_ms)
        every = max(1, -(-self.expected // self._room(frame.features)))
        pictures = self._draw(frame)
        if index % every == 0:
            self._pictures.append({"index": index, **pictures()})
            self._kept.append(frame.features.astype(np.float16))

    def note(self, stamp_ns: int, kind: str, text: str) -> None:
        """Mark something at a time."""
        self._events.append((stamp_ns + self._offset_ns, kind, text))

    @property
    def is_empty(self) -> bool:
        """Whether there was no frame to show."""
        return not self._times_ns

    def described(self) -> dict[str, Any]:
        """All of it as the page takes it; what was kept for that is let go. Not where it is empty."""
        first = self._times_ns[0]
        grid, similarity = self._kept[0].shape[:2], coded(self._kept)
        self._kept.clear()
        for picture, tokens in zip(self._pictures, similarity.tokens, strict=True):
            picture["tokens"] = _base64(tokens.tobytes())
        return {
            "camera": self.camera,
            "times_s": [round((time - first) / 1e9, 6) for time in self._times_ns],
            "delays_ms": [None if delay is None else round(delay, 2) for delay in self._delays],
            "delay": self.delay,
            "max_gap_s": self.max_gap_s,
            "events": [
                {"time_s": round((time - first) / 1e9, 6), "kind": kind, "text": text}
                for time, kind, text in sorted(self._events, key=itemgetter(0))
            ],
            "computed": self.computed,
            "grid": list(grid),
            "offsets": similarity.offsets.tolist(),
            "steps": similarity.steps.tolist(),
            "cosine_error": similarity.error,
            "frames": self._pictures,
        }

    def _room(self, features: npt.NDArray[np.float32]) -> int:
        return max(1, min(self.most, KEPT_BYTES // (2 * features.size)))

    def _draw(self, frame: Shown) -> Any:
        """Let the heads see the frame; returns what encodes its pictures, which is for those that are shown."""
        height, width = _size(frame)
        heads = self._heads = self._heads or CameraHeads(_info(frame.features), HeadsConfig())
        image = frame.image if frame.image is not None else np.zeros((height, width, 3), np.uint8)
        small = shrunk(image)
        tokens = torch.from_numpy(np.ascontiguousarray(frame.features)).flatten(0, 1)
        with_cls = torch.cat([torch.zeros(1, tokens.shape[1]), tokens])
        drawn = heads.draw(small, with_cls, _WANTED, frame.stamp_ns)
        assert drawn.pca is not None
        assert drawn.segmentation is not None
        assert drawn.labels is not None
        segmentation = frame.segmentation
        if segmentation is None:
            self.computed = True
            colours = {label.id: label.colour for label in drawn.labels.labels}
            segmentation = Segmentation(drawn.segmentation, colours)
        shown, pca = segmentation, drawn.pca
        return lambda: {
            "image": _jpeg(small) if frame.image is not None else None,
            "pca": _jpeg(pca),
            "segmentation": _png(shown, height, width),
        }


def shrunk(image: RgbArray) -> RgbArray:
    """An image [H, W, 3] as large as it is shown."""
    return resize(as_tensor(image), *_fitting(*image.shape[:2])).numpy()


def _size(frame: Shown) -> tuple[int, int]:
    if frame.image is not None:
        return _fitting(*frame.image.shape[:2])
    rows, columns, _ = frame.features.shape
    return _fitting(ENLARGED * rows, ENLARGED * columns)


def _fitting(rows: int, columns: int) -> tuple[int, int]:
    scale = min(1.0, HEIGHT / rows)
    return max(1, round(rows * scale)), max(1, round(columns * scale))


def _info(features: npt.NDArray[np.float32]) -> EngineInfo:
    """For the heads: the features come from wherever they come, on this machine's CPU."""
    rows, columns, dim = features.shape
    return EngineInfo("recorded", "", True, "cpu", "fp32", rows, columns, 1, dim)


def _jpeg(rgb: npt.NDArray[np.uint8]) -> str:
    return _base64(cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), _JPEG)[1].tobytes())


def _png(segmentation: Segmentation, height: int, width: int) -> str:
    """The labels' colours, transparent where there is no label."""
    labels = cv2.resize(segmentation.labels, (width, height), interpolation=cv2.INTER_NEAREST)
    table = np.zeros((256**segmentation.labels.itemsize, 4), np.uint8)
    for value, colour in segmentation.colours.items():
        table[value] = (*colour[::-1], 255)
    return _base64(cv2.imencode(".png", table[labels])[1].tobytes())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
