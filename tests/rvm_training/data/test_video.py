"""Decoding gives exactly the frames asked for, whatever the file, and a clear error where it cannot."""

import io
import struct
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from rvm_training.data.video import Backend, VideoError, probe
from rvm_training.data.video import read_frames as read_frames_with


@pytest.fixture(params=["pyav", "torchcodec"])
def read_frames(request):
    """The function under test, with each backend that is installed."""
    backend: Backend = request.param
    if backend == "torchcodec":
        pytest.importorskip("torchcodec.decoders", reason="optional, and needs FFmpeg's libraries", exc_type=Exception)
    return lambda file, indices, fps: read_frames_with(file, indices, fps, backend)


@pytest.mark.parametrize(
    ("gop", "b_frames"), [(250, 0), (12, 0), (30, 3), (1, 0)], ids=["long-gop", "short-gop", "b-frames", "intra"]
)
def test_any_frames_in_any_order_are_the_right_ones(video, gop, b_frames, numbers, read_frames):
    path = str(video(gop=gop, b_frames=b_frames))
    for wanted in ([5, 6, 7, 8, 12, 30, 55, 79], [0], [79], [40, 3, 40, 12], [0, 79, 1]):
        frames = read_frames(path, wanted, 25)
        assert frames.shape == (len(wanted), 48, 64, 3)
        assert frames.dtype == np.uint8
        assert numbers(frames) == wanted


def test_pixels_come_unchanged(video, read_frames):
    frame = read_frames(str(video()), [7], 25)[0]
    assert (frame[:8, :8] == 255).all()
    assert (frame[8:] == 7).all()


def test_an_open_file_reads_like_a_path(video, numbers, read_frames):
    data = io.BytesIO(video(gop=10).read_bytes())
    assert numbers(read_frames(data, [3, 33], 25)) == [3, 33]


def test_containers_without_an_index_of_keyframes_read_alike(video, numbers, read_frames):
    path = str(video("video.mkv", gop=10))
    assert numbers(read_frames(path, [70, 2, 35], 25)) == [2 + 68, 2, 35]


def test_indices_mean_times_so_another_rate_takes_every_other_frame(video, numbers, read_frames):
    assert numbers(read_frames(str(video()), [0, 1, 10], 12.5)) == [1, 3, 21]


def test_variable_frame_rate_gives_the_frame_on_display(video, numbers, read_frames):
    # At each time the last frame that began.
    times = [0, 1, 2, 10, 11, 30, 31, 32, 33, 60]
    path = str(video(frames=10, times=times))
    wanted = [0, 2, 3, 9, 10, 12, 29, 30, 59, 60]
    assert numbers(read_frames(path, wanted, 25)) == [0, 2, 2, 2, 3, 4, 4, 5, 8, 9]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("video.mov", {"container_options": {"video_track_timescale": "25"}}),
        ("ffv1.avi", {"codec": "ffv1"}),
        ("video.ts", {"gop": 20}),
    ],
)
def test_time_bases_and_containers_do_not_matter(video, numbers, read_frames, name, options):
    path = str(video(name, frames=60, **options))
    for index in (*range(12), 58, 59):
        assert numbers(read_frames(path, [index], 25)) == [index]
    assert probe(path) == (60, pytest.approx(25))


def test_all_frames_of_an_avi_with_a_late_start_can_be_read(video, numbers, read_frames):
    path = str(video("late.avi", frames=40, gop=10))
    got = numbers(read_frames(path, list(range(39)), 25))
    assert all(0 <= index - number <= 1 for index, number in enumerate(got))


def test_phone_videos_come_upright(video, read_frames):
    path = video()
    data = bytearray(path.read_bytes())
    upright, turned = (struct.pack(">9i", *matrix) for matrix in (
        (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30), (0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30),
    ))  # fmt: skip
    place = data.index(upright, data.index(b"tkhd"))
    data[place : place + len(turned)] = turned
    path.write_bytes(data)
    frame = read_frames(str(path), [5], 25)[0]
    assert frame.shape == (64, 48, 3)
    assert (frame[:8, -8:] == 255).all(), "the white corner, top left as filmed, is top right when shown"


def test_a_title_in_another_encoding_does_not_matter(video, numbers, read_frames):
    path = video()
    with av.open(str(path)) as source, av.open(str(path.with_name("titled.mp4")), "w") as titled:
        titled.metadata["title"] = "ABCDEFGH"
        stream = titled.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                titled.mux(packet)
    path = path.with_name("titled.mp4")
    path.write_bytes(path.read_bytes().replace(b"ABCDEFGH", b"ABC\xe9\xe8\xffGH"))
    assert probe(str(path))[0] == 80
    assert numbers(read_frames(str(path), [3], 25)) == [3]


def test_a_video_that_changes_its_size_is_told(tmp_path, read_frames):
    path = tmp_path / "sizes.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        for index, (height, width) in enumerate([(48, 64)] * 5 + [(80, 96)] * 5):
            encoder = av.CodecContext.create("mjpeg", "w")
            encoder.height, encoder.width, encoder.pix_fmt = height, width, "yuvj420p"
            encoder.time_base = Fraction(1, 25)
            if index == 0:
                stream.height, stream.width, stream.pix_fmt = height, width, "yuvj420p"
            frame = av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="rgb24")
            frame.pts = index
            for packet in encoder.encode(frame.reformat(format="yuvj420p")):
                packet.stream = stream
                container.mux(packet)
    with pytest.raises(VideoError, match=r"sizes\.mkv: .*(its size changes within .*48, 64.*80, 96|shape 80x96)"):
        read_frames(str(path), [1, 8], 25)


@pytest.mark.parametrize("name", ["video.mp4", "video.mkv"])
def test_only_what_is_needed_is_decoded(video, monkeypatch, numbers, name):
    path = str(video(name, frames=200, gop=20))
    decoded = []
    original = av.container.InputContainer.decode

    class Counting:
        def __init__(self, container):
            self._container = container

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._container.close()

        def __getattr__(self, name):
            return getattr(self._container, name)

        def decode(self, stream):
            for frame in original(self._container, stream):
                decoded.append(frame.pts)
                yield frame

    real_open = av.open
    monkeypatch.setattr(av, "open", lambda *words, **options: Counting(real_open(*words, **options)))
    monkeypatch.setattr("rvm_training.data.video._best_stream", lambda container, _: container.streams.video[0])
    assert numbers(read_frames_with(path, [105, 106, 107, 108, 182], 25)) == [105, 106, 107, 108, 182]
    # From the keyframe 100 to the frame after 108, then from the keyframe 180.
    assert len(decoded) <= 10 + 4


def test_a_frame_past_the_end_is_told(video, read_frames):
    with pytest.raises(VideoError, match=r"video\.mp4: .*(3\.2.*3\.62|3\.62.*3\.2)"):
        read_frames(str(video()), [10, 90], 25)


@pytest.mark.parametrize("content", [b"", b"not a video", bytes(5000)], ids=["empty", "text", "zeros"])
def test_a_file_that_is_no_video_is_told(tmp_path, content, read_frames):
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"bad\.mp4: cannot be decoded"):
        read_frames(str(path), [0], 25)
    with pytest.raises(VideoError, match=r"bad\.mp4: cannot be opened"):
        probe(str(path))


def test_a_truncated_video_is_told(video, read_frames):
    path = video(b_frames=0, name="cut.mkv")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(VideoError, match=r"cut\.mkv"):
        read_frames(str(path), [0, 79], 25)


def test_a_missing_file_is_told(tmp_path, read_frames):
    with pytest.raises(VideoError, match="nothing.mp4"):
        read_frames(str(tmp_path / "nothing.mp4"), [0], 25)


@pytest.mark.parametrize(("indices", "fps"), [([], 25), ([-1], 25), ([0], 0)])
def test_senseless_requests_are_refused(video, indices, fps, read_frames):
    with pytest.raises(ValueError, match="expected some from 0 and a positive rate"):
        read_frames(str(video()), indices, fps)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_variable_rate_has_the_length_of_its_time(video, name, read_frames, numbers):
    times = [3 * k for k in range(120)]
    path = str(video(name, frames=120, times=times))
    frames, fps = probe(path)
    assert frames / fps == pytest.approx(360 / 25, abs=0.1)
    assert numbers(read_frames(path, [frames - 1], fps))[0] in (118, 119)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_length_and_rate_are_probed(video, name):
    frames, fps = probe(str(video(name, frames=33, fps=30)))
    assert frames == 33
    assert fps == pytest.approx(30)


def test_both_backends_give_the_same_pixels(video):
    pytest.importorskip("torchcodec.decoders", reason="optional, and needs FFmpeg's libraries", exc_type=Exception)
    path, wanted = str(video("coded.mkv", codec="mpeg4", gop=30)), [5, 6, 7, 60]
    first, second = (read_frames_with(path, wanted, 25, backend) for backend in ("pyav", "torchcodec"))
    assert np.array_equal(first, second)


def test_a_backend_that_is_not_installed_is_told(video, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    with pytest.raises(RuntimeError, match=r"got torchcodec, which cannot be loaded .* or set data\.backend=pyav"):
        read_frames_with(str(video()), [0], 25, "torchcodec")
