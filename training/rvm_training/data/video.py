"""Decoding chosen frames of a video, and nothing beyond what they need.

A frame index means a time: frame i of a video at `fps` is the one on display at (i + 0.5) / fps after its first frame.
So variable frame rates and a slightly wrong `fps` do no harm, and both backends give the same frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import BinaryIO, Literal

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.stream import VideoStream

U8 = npt.NDArray[np.uint8]
Backend = Literal["pyav", "torchcodec"]


class VideoError(ValueError):
    """A video that cannot be opened or decoded, or that lacks frames asked for. The message says which and why."""


def read_frames(file: str | BinaryIO, indices: Sequence[int], fps: float, backend: Backend = "pyav") -> U8:
    """Decode chosen frames.

    Args:
        file: path, URL or open binary file.
        indices: frames at `fps`, from 0, in any order; repeats are allowed.
        fps: frames per second that the indices count in.
        backend: who decodes; torchcodec is an optional package.

    Returns:
        RGB uint8 [len(indices), H, W, 3], in the order of `indices`.

    Raises:
        VideoError: the video cannot be decoded, or ends before a frame.
        ValueError: the indices or the rate make no sense.
    """
    if not indices or min(indices) < 0 or not fps > 0:
        raise ValueError(f"frames: got indices {list(indices)} at {fps} fps, expected some from 0 and a positive rate")
    order = sorted(set(indices))
    seconds = [(index + 0.5) / fps for index in order]
    read = _read_pyav if backend == "pyav" else _read_torchcodec
    frames = dict(zip(order, read(file, seconds), strict=True))
    return np.stack([frames[index] for index in indices])


def probe(file: str | BinaryIO) -> tuple[int, float]:
    """Number of frames and frames per second of a video, from its header where that says, else by reading its packets.

    Raises:
        VideoError: it cannot be opened, or has no video stream.
    """
    try:
        with av.open(file, "r") as container:
            stream = _best_stream(container, file)
            rate = stream.average_rate or stream.guessed_rate
            if not rate:
                raise VideoError(f"{_name(file)}: no frame rate in the header; transcode it")
            frames = stream.frames
            if not frames and stream.duration and stream.time_base:
                frames = round(stream.duration * stream.time_base * rate)
            if not frames:
                # Matroska and WebM give no stream duration: packets are counted without decoding them.
                frames = sum(packet.size > 0 for packet in container.demux(stream))
            return int(frames), float(rate)
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{_name(file)}: cannot be opened ({error})") from error


def _read_pyav(file: str | BinaryIO, seconds: Sequence[float]) -> list[U8]:
    try:
        with av.open(file, "r") as container:
            stream = _best_stream(container, file)
            # The workers are the parallelism; a decoder's own threads would only fight over the cores.
            stream.thread_type = "NONE"
            stream.codec_context.thread_count = 1
            return _Reader(container, stream, _name(file)).read(seconds)
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{_name(file)}: cannot be decoded ({error})") from error


class _Reader:
    """Goes through a video from time to time, and skips to a later keyframe where one lies in between."""

    def __init__(self, container: InputContainer, stream: VideoStream, name: str) -> None:
        if stream.time_base is None:
            raise VideoError(f"{name}: the video stream has no time base; transcode it")
        self._container = container
        self._stream = stream
        self._name = name
        self._time_base: Fraction = stream.time_base
        self._keyframes = sorted(entry.timestamp for entry in stream.index_entries if entry.is_keyframe)
        self._decoded = container.decode(stream)
        self._current: av.VideoFrame | None = None
        self._next: av.VideoFrame | None = None

    def read(self, seconds: Sequence[float]) -> list[U8]:
        """RGB frames on display at these ascending times after the first frame."""
        origin = self._stream.start_time or 0
        return [self._show(origin + round(second / self._time_base)) for second in seconds]

    def _show(self, wanted: int) -> U8:
        self._seek(wanted)
        while self._next is None or self._pts(self._next) <= wanted:
            following = next(self._decoded, None)
            if following is None:
                return self._show_last(wanted)
            self._current, self._next = self._next, following
        if self._current is None:
            first, time = self._seconds(self._pts(self._next)), self._seconds(wanted)
            raise VideoError(
                f"{self._name}: the first frame is at {first:.3f} s, expected one at {time:.3f} s or before"
            )
        return _rgb(self._current)

    def _show_last(self, wanted: int) -> U8:
        last = self._next
        if last is None:
            raise VideoError(f"{self._name}: no frame could be decoded")
        rate = self._stream.average_rate
        end = self._pts(last) + (last.duration or (round(1 / rate / self._time_base) if rate else 0))
        if wanted >= end:
            raise VideoError(
                f"{self._name}: the video ends at {self._seconds(end):.3f} s, "
                f"expected a frame at {self._seconds(wanted):.3f} s"
            )
        return _rgb(last)

    def _seek(self, wanted: int) -> None:
        """Go to the last keyframe before `wanted`, unless decoding on from here gets there with less."""
        before = [keyframe for keyframe in self._keyframes if keyframe <= wanted]
        position = None if self._next is None else self._pts(self._next)
        if position is not None and (not before or before[-1] <= position):
            return
        # Keyframe times are of decoding, which may lie a little before those of display: when the first frame shown
        # after a seek is too late, a keyframe before is taken.
        for target in [wanted, *before[-2::-1][:2], 0]:
            self._container.seek(target, stream=self._stream, backward=True)
            self._decoded = self._container.decode(self._stream)
            self._current, self._next = None, next(self._decoded, None)
            if self._next is not None and self._pts(self._next) <= wanted:
                return

    def _pts(self, frame: av.VideoFrame) -> int:
        if frame.pts is None:
            raise VideoError(f"{self._name}: a frame has no time stamp; transcode it")
        return frame.pts

    def _seconds(self, pts: int) -> float:
        return float(pts * self._time_base)


def _rgb(frame: av.VideoFrame) -> U8:
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def _best_stream(container: InputContainer, file: str | BinaryIO) -> VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        raise VideoError(f"{_name(file)}: no video stream")
    return stream


def _name(file: str | BinaryIO) -> str:
    return file if isinstance(file, str) else str(getattr(file, "name", "video"))


def _read_torchcodec(file: str | BinaryIO, seconds: Sequence[float]) -> list[U8]:
    try:
        from torchcodec.decoders import VideoDecoder  # Optional, and it needs FFmpeg's libraries.
    except (ImportError, RuntimeError) as error:
        raise RuntimeError(
            f"video backend: got torchcodec, which cannot be loaded ({error}); install torchcodec and FFmpeg, "
            "or set data.backend=pyav"
        ) from error
    try:
        decoder = VideoDecoder(file, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="approximate")
        start = float(decoder.metadata.begin_stream_seconds or 0.0)
        batch = decoder.get_frames_played_at([start + second for second in seconds])
    except (RuntimeError, ValueError, IndexError) as error:
        raise VideoError(f"{_name(file)}: cannot be decoded ({error})") from error
    return list(batch.data.numpy())
