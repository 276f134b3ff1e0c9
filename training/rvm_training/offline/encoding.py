"""Videos as training reads them: H.264 in mp4, the short side small, and a keyframe often, so that jumps are cheap."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

_TIME_BASE = Fraction(1, 90_000)
_NOMINAL_FPS = 30
"""What the encoder plans for; frames have times of their own."""


@dataclass(frozen=True)
class VideoSettings:
    """How videos are written."""

    short_side: int = 256
    """Pixels; smaller pictures stay as they are."""
    gop: int = 30
    """Frames from one keyframe to the next at most."""
    crf: int = 18
    """Quality of x264: 18 shows no loss to the eye, 6 more halve the file."""

    def __post_init__(self) -> None:
        """Refuse what cannot be encoded."""
        if self.short_side < 16 or self.gop < 1 or not 0 <= self.crf <= 51:
            raise ValueError(
                f"video: got short side {self.short_side}, GOP {self.gop}, CRF {self.crf}, expected at least 16, at "
                "least 1, and 0 to 51"
            )

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what is written: even numbers, as H.264 with halved colours takes them."""
        scale = min(1.0, self.short_side / min(height, width))
        return max(2, round(height * scale / 2) * 2), max(2, round(width * scale / 2) * 2)


class VideoWriter:
    """A video whose frames have the times that they were taken at. Close it."""

    def __init__(self, path: Path, height: int, width: int, settings: VideoSettings) -> None:
        """Begin the file.

        Args:
            path: of the mp4.
            height: of the frames, even.
            width: likewise.
            settings: how it is encoded.
        """
        self._container = av.open(str(path), "w", options={"movflags": "faststart"})
        options = {"crf": str(settings.crf), "g": str(settings.gop)}
        self._stream = self._container.add_stream("libx264", rate=_NOMINAL_FPS, options=options)
        self._stream.height, self._stream.width, self._stream.pix_fmt = height, width, "yuv420p"
        self._stream.codec_context.time_base = _TIME_BASE
        self._first_s: float | None = None
        self._last_pts = -1
        self._count = 0

    def write(self, rgb: npt.NDArray[np.uint8], time_s: float) -> None:
        """Append a frame.

        Args:
            rgb: [height, width, 3].
            time_s: when it was taken; later than the frame before.
        """
        self._first_s = time_s if self._first_s is None else self._first_s
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        frame.time_base = _TIME_BASE
        # Two frames at one time are none that a video can hold.
        self._count += 1
        frame.pts = self._last_pts = max(self._last_pts + 1, round((time_s - self._first_s) / _TIME_BASE))
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """End the file."""
        last = self._stream.encode(None)
        if self._count > 1:
            for packet in last:  # Or the last frame would be shown as long as the encoder planned for.
                packet.duration = round(self._last_pts / (self._count - 1))
        self._container.mux(last)
        self._container.close()


def write_video(path: Path, frames: npt.NDArray[np.uint8], *, fps: float = 10) -> None:
    """Write RGB frames [T, H, W, 3] of one rate; an odd row or column at the end is left out.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames.shape[1] // 2 * 2, frames.shape[2] // 2 * 2
    writer = VideoWriter(path, height, width, VideoSettings())
    for index, frame in enumerate(np.ascontiguousarray(frames[:, :height, :width])):
        writer.write(frame, index / fps)
    writer.close()
