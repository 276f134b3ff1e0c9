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


def best_cluster_iou(segments: list[U8], masks: list[U8]) -> dict[str, dict[str, float]]:
    """How well single clusters cover the true objects over the whole clip.

    Args:
        segments: label images [H, W] of the frames.
        masks: true masks [H, W] of the same frames, 0 background, 1.. objects.

    Returns:
        For each object: the cluster whose pixels over all frames have the largest intersection over union with the
        object's, that IoU, and the IoU of a guess that calls everything the object (chance level).
    """
    labels, truth = np.stack(segments), np.stack(masks)
    result = {}
    for item in range(1, int(truth.max()) + 1):
        inside = truth == item
        ious = {
            int(label): float((inside & (labels == label)).sum() / (inside | (labels == label)).sum())
            for label in np.unique(labels)
        }
        best = max(ious, key=lambda label: ious[label])
        result[f"object {item}"] = {
            "cluster": best,
            "iou": ious[best],
            "iou_of_everything": float(inside.mean()),
        }
    return result


def write_report(path: Path, report: Mapping[str, object]) -> None:
    """Write the figures as indented JSON."""
    path.write_text(json.dumps(report, indent=2) + "\n")
