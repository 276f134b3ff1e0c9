"""Files, folders and devices as frames with times."""

import av
import cv2
import numpy as np
import pytest

from rvm_model.frame_source import ImageFiles, SourceError, VideoFile, open_source


def greys(source) -> list[int]:
    return [round(frame.rgb.mean() / 10) for frame in source]


def test_a_video_gives_its_frames_in_order_with_its_own_times(make_video):
    source = open_source(str(make_video(5, fps=25)))
    frames = list(source)
    assert [round(frame.rgb.mean() / 10) for frame in frames] == [1, 2, 3, 4, 5]
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert (frames[0].rgb.shape, frames[0].rgb.dtype) == ((48, 64, 3), np.uint8)
    assert source.rate_hz == 25
    assert greys(source) == [1, 2, 3, 4, 5], "a second iteration starts from the beginning"


def test_damaged_packets_are_skipped_counted_and_logged(make_video, caplog):
    path = make_video(20, gop=1)  # Every frame stands alone, so that one damaged packet is one lost frame.
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][9]
        position, size = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    data[position : position + size] = bytes(size)
    path.write_bytes(bytes(data))
    source = VideoFile(path)
    assert greys(source) == [n for n in range(1, 21) if n != 10]
    assert source.skipped == 1
    assert "a damaged packet is skipped (1 so far)" in caplog.text


def test_a_folder_is_read_in_natural_order_and_colours_are_rgb(tmp_path):
    for number in (10, 2, 1):
        bgr = np.zeros((4, 4, 3), np.uint8)
        bgr[..., 2] = number  # Red.
        cv2.imwrite(str(tmp_path / f"frame{number}.png"), bgr)
    (tmp_path / "notes.txt").write_text("not an image")
    frames = list(open_source(str(tmp_path), folder_rate_hz=10))
    assert [int(frame.rgb[0, 0, 0]) for frame in frames] == [1, 2, 10]
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.1, 0.2])


def test_an_unreadable_image_of_a_folder_is_skipped_and_its_time_passes(tmp_path, caplog):
    for name in ("a.png", "c.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "b.png").write_bytes(b"broken")
    source = ImageFiles.of_folder(tmp_path, 10)
    assert [frame.time_s for frame in source] == pytest.approx([0, 0.2])
    assert source.skipped == 1
    assert "b.png" in caplog.text


@pytest.mark.parametrize("name", ["", "missing.mp4"])
def test_nothing_of_that_name_is_refused(name):
    with pytest.raises(SourceError, match="expected a video file, a folder of images"):
        open_source(name)


def test_a_file_that_is_no_video_an_empty_folder_and_a_missing_camera_are_refused(tmp_path):
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(SourceError, match="cannot be opened as a video"):
        open_source(str(tmp_path / "text.mp4"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="has no image"):
        open_source(str(tmp_path / "empty"))
    with pytest.raises(SourceError, match="camera 97 cannot be opened"):
        open_source("97")
