"""Decoding chosen frames of a video, and nothing beyond what they need.

A frame index means a time: frame i of a video at `fps` is the one on display at (i + 0.5) / fps after its first frame.
So variable frame rates and a slightly wrong `fps` do no harm, and both backends give the same frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, BinaryIO, Literal

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.stream import VideoStream

from rvm_model.preprocess import upright

U8 = npt.NDArray[np.uint8]
Backend = Literal["pyav", "torchcodec"]
# A title in another encoding is no reason to refuse a video; from version 19 on PyAV thinks so too.
_OPTIONS: dict[str, Any] = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}


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
    if len(shapes := {frame.shape[:2] for frame in frames.values()}) > 1:
        raise VideoError(f"{_name(file)}: its size changes within ({sorted(shapes)}); transcode it")
    return np.stack([frames[index] for index in indices])


def probe(file: str | BinaryIO) -> tuple[int, float]:
    """Number of frames at a rate, and that rate in frames per second, from a video's header or its last packets.

    Raises:
        VideoError: it cannot be opened, or has no video stream.
    """
    try:
        with av.open(file, "r", **_OPTIONS) as container:
            stream = _best_stream(container, file)
            rate = stream.average_rate or stream.guessed_rate
            if not rate:
                raise VideoError(f"{_name(file)}: no frame rate in the header; transcode it")
            return _length(container, stream, Fraction(rate.numerator, rate.denominator), _name(file)), float(rate)
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{_name(file)}: cannot be opened ({error})") from error


def _length(container: InputContainer, stream: VideoStream, rate: Fraction, name: str) -> int:
    unit = _time_base(stream, name)
    ticks: Fraction | int = stream.duration or 0
    if not ticks:
        # Matroska and WebM tell the container's duration, which may be that of the sound: the last packets decide.
        container.seek(max(0, (container.duration or 0) - 2 * av.time_base))
        one = 1 / (rate * unit)
        ends = [packet.pts + (packet.duration or one) for packet in container.demux(stream) if packet.pts is not None]
        if not ends:
            raise VideoError(f"{name}: the video stream is empty")
        ticks = max(ends) - (stream.start_time or 0)
    return max(1, math.floor(ticks * unit * rate + Fraction(1, 2)))


def _read_pyav(file: str | BinaryIO, seconds: Sequence[float]) -> list[U8]:
    try:
        with av.open(file, "r", **_OPTIONS) as container:
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
        self._container = container
        self._stream = stream
        self._name = name
        self._time_base = _time_base(stream, name)
        rate = stream.average_rate
        self._frame_ticks = 1 / (rate.numerator * self._time_base / rate.denominator) if rate else Fraction(0)
        self._keyframes: list[int] = []
        self._decoded = container.decode(stream)
        self._current: av.VideoFrame | None = None
        self._next: av.VideoFrame | None = None

    def read(self, seconds: Sequence[float]) -> list[U8]:
        """RGB frames on display at these ascending times after the first frame."""
        origin = self._stream.start_time or 0
        return [self._show(origin + math.floor(second / self._time_base)) for second in seconds]

    def _show(self, wanted: int) -> U8:
        self._seek(wanted)
        while self._next is None or self._pts(self._next) <= wanted:
            following = next(self._decoded, None)
            if following is None:
                return self._show_last(wanted)
            self._current, self._next = self._next, following
        if self._current is not None:
            return _rgb(self._current)
        # AVI with B-frames starts a frame or two after the time that its header tells.
        first = self._pts(self._next)
        if first - wanted > 3 * self._frame_ticks:
            raise VideoError(
                f"{self._name}: the first frame is at {self._seconds(first):.3f} s, expected one at "
                f"{self._seconds(wanted):.3f} s or before"
            )
        return _rgb(self._next)

    def _show_last(self, wanted: int) -> U8:
        last = self._next
        if last is None:
            raise VideoError(f"{self._name}: no frame could be decoded")
        end = self._pts(last) + (last.duration or math.ceil(self._frame_ticks))
        if wanted >= end:
            raise VideoError(
                f"{self._name}: the video ends at {self._seconds(end):.3f} s, "
                f"expected a frame at {self._seconds(wanted):.3f} s"
            )
        return _rgb(last)

    def _seek(self, wanted: int) -> None:
        """Go to the last keyframe before `wanted`, unless decoding on from here gets there with less."""
        if self._next is not None:
            position = self._pts(self._next)
            if not any(position < keyframe <= wanted for keyframe in self._keyframes):
                return
        if self._go_to(wanted, wanted):
            return
        # Keyframe times are of decoding, which may lie a little before those of display: when the first frame shown
        # after a seek is too late, a keyframe before is taken.
        before = [keyframe for keyframe in self._keyframes if keyframe <= wanted]
        for target in [*before[-2::-1][:2], 0]:
            if self._go_to(target, wanted):
                return

    def _go_to(self, target: int, wanted: int) -> bool:
        """Decode from the keyframe at or before `target` on; whether the first frame is `wanted` or one before."""
        self._container.seek(target, stream=self._stream, backward=True)
        if not self._keyframes:
            # Only now: Matroska's index is read by the first seek.
            self._keyframes = sorted(entry.timestamp for entry in self._stream.index_entries if entry.is_keyframe)
        self._decoded = self._container.decode(self._stream)
        self._current, self._next = None, next(self._decoded, None)
        return self._next is not None and self._pts(self._next) <= wanted

    def _pts(self, frame: av.VideoFrame) -> int:
        if frame.pts is None:
            raise VideoError(f"{self._name}: a frame has no time stamp; transcode it")
        return frame.pts

    def _seconds(self, pts: int) -> float:
        return float(pts * self._time_base)


def _rgb(frame: av.VideoFrame) -> U8:
    return upright(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), frame.rotation)


def _best_stream(container: InputContainer, file: str | BinaryIO) -> VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        raise VideoError(f"{_name(file)}: no video stream")
    return stream


def _time_base(stream: VideoStream, name: str) -> Fraction:
    if not stream.time_base:
        raise VideoError(f"{name}: the video stream has no time base; transcode it")
    return Fraction(stream.time_base.numerator, stream.time_base.denominator)


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
        decoder = VideoDecoder(file, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact")
        start = float(decoder.metadata.begin_stream_seconds or 0.0)
        batch = decoder.get_frames_played_at([start + second for second in seconds])
    except (RuntimeError, ValueError, IndexError) as error:
        raise VideoError(f"{_name(file)}: cannot be decoded ({error})") from error
    return list(batch.data.numpy())
