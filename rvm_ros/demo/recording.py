"""What the demo writes: a video, a contact sheet and the figures that were measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]

PANEL_HEIGHT = 384
"""Rows of each of the three pictures in pixels."""
TITLE_HEIGHT = 28
"""Rows of the line above each picture."""
SHEET_ROWS = 6
"""Frames on the contact sheet."""


def panel(image: U8, title: str) -> U8:
    """A picture scaled to the panel's height with its title above; uint8 RGB, both sides even."""
    width = max(2, round(image.shape[1] * PANEL_HEIGHT / image.shape[0] / 2) * 2)
    scaled = cv2.resize(image, (width, PANEL_HEIGHT), interpolation=cv2.INTER_AREA)
    bar = np.full((TITLE_HEIGHT, width, 3), 24, np.uint8)
    cv2.putText(bar, title, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (235, 235, 235), 1, cv2.LINE_AA)
    return np.asarray(np.vstack([bar, scaled]), np.uint8)


def side_by_side(pictures: Mapping[str, U8]) -> U8:
    """Pictures by title, left to right; uint8 RGB."""
    return np.hstack([panel(image, title) for title, image in pictures.items()])


class VideoWriter:
    """Writes RGB frames of one size as H.264; a context manager, so that the file is closed whatever happens."""

    def __init__(self, path: Path, fps: Fraction) -> None:
        """Write to `path` at `fps` frames per second."""
        self._container = av.open(str(path), "w")
        self._stream = self._container.add_stream("libx264", rate=fps, options={"crf": "20"})
        self._started = False

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._started:
            self._container.mux(self._stream.encode(None))
        self._container.close()

    def write(self, frame: U8) -> None:
        """Append a frame uint8 RGB [H, W, 3] with even sides."""
        if not self._started:
            self._stream.height, self._stream.width = frame.shape[:2]
            self._stream.pix_fmt = "yuv420p"
            self._started = True
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))


def read_frames(path: Path, indices: Sequence[int]) -> list[U8]:
    """Frames of a video by their places, ascending; uint8 RGB [H, W, 3] each."""
    wanted = set(indices)
    with av.open(str(path)) as container:
        decoded = enumerate(container.decode(video=0))
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for index, frame in decoded if index in wanted]


def write_contact_sheet(path: Path, rows: list[U8]) -> None:
    """Stack rows of equal width into one PNG."""
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


def evenly(count: int, wanted: int) -> list[int]:
    """Up to `wanted` indices spread evenly over 0..count-1, first and last included."""
    return sorted({round(index) for index in np.linspace(0, count - 1, min(count, wanted))}) if count else []


def followed_iou(segments: list[U8], masks: list[U8], marked: U8) -> dict[str, dict[str, float]]:
    """How well objects were followed that were marked once.

    Args:
        segments: label images [H, W] of the frames after the marked one.
        masks: true masks [H, W] of the same frames, 0 background, 1.. objects.
        marked: mask [H, W] of the frame that was marked.

    Returns:
        For each object the intersection over union of its segment, mean over the frames where it is to be seen and in
        the last of them; and the mean of a guess for which nothing ever moves: the marked mask, kept.
    """
    result = {}
    for item in np.unique(marked[marked > 0]).tolist():
        seen = [(labels == item, truth == item) for labels, truth in zip(segments, masks, strict=True)]
        seen = [(labels, truth) for labels, truth in seen if truth.any()]
        if not seen:
            continue
        ious = [_iou(labels, truth) for labels, truth in seen]
        result[f"object {item}"] = {
            "iou": float(np.mean(ious)),
            "iou_in_the_last_frame": ious[-1],
            "iou_of_the_marked_mask_kept": float(np.mean([_iou(marked == item, truth) for _, truth in seen])),
        }
    return result


def _iou(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def write_report(path: Path, report: Mapping[str, object]) -> None:
    """Write the figures as indented JSON."""
    path.write_text(json.dumps(report, indent=2) + "\n")
