"""Sizes from the headers of JPEG and PNG files: of the image itself, in bounded time, and nothing from a cut one."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from rvm_model.messages.image_headers import MAX_SCANS, MAX_SEGMENTS, ImageError, compressed_size

RGB = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
QUARTER = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
START_OF_FRAME = {"baseline": 0xC0, "extended": 0xC1, "progressive": 0xC2, "lossless": 0xC3, "arithmetic": 0xC9}


def jpeg(*options: int, pixels: np.ndarray = RGB) -> bytes:
    return cv2.imencode(".jpg", pixels, [*QUARTER, *options])[1].tobytes()


def png() -> bytes:
    return cv2.imencode(".png", RGB)[1].tobytes()


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def with_segments(data: bytes, *segments: bytes) -> bytes:
    """A JPEG with segments after its start marker."""
    return data[:2] + b"".join(segments) + data[2:]


def positions(data: bytes) -> list[tuple[int, int]]:
    """Marker and position of every segment up to the first scan."""
    found, position = [], 2
    while not found or found[-1][0] != 0xDA:
        found.append((data[position + 1], position))
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return [*found, (0, position)]  # Where the scan's data begins.


@pytest.mark.parametrize("options", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 1]])
def test_height_and_width_of_a_jpeg_are_those_of_the_image(options):
    assert compressed_size(jpeg(*options), "jpeg") == (24, 40)
    assert compressed_size(jpeg(*options, pixels=RGB[:, :, 0]), "jpeg") == (24, 40)


@pytest.mark.parametrize("name", START_OF_FRAME)
def test_every_kind_of_frame_has_its_size_at_the_same_place(name):
    data = bytearray(jpeg())
    (frame,) = (position for marker, position in positions(data) if marker == 0xC0)
    data[frame + 1] = START_OF_FRAME[name]
    assert compressed_size(bytes(data), "jpeg") == (24, 40)


def test_the_tables_among_the_frame_markers_are_no_frames():
    huffman, reserved, arithmetic = (segment(marker, bytes([8, 9, 9, 9, 9, 3])) for marker in (0xC4, 0xC8, 0xCC))
    assert compressed_size(with_segments(jpeg(), huffman, reserved, arithmetic), "jpeg") == (24, 40)


def test_the_size_of_an_embedded_preview_is_not_the_images():
    preview = jpeg(pixels=RGB[:8, :16])
    exif = segment(0xE1, b"Exif\x00\x00" + bytes(20) + preview)
    assert compressed_size(with_segments(jpeg(), exif), "jpeg") == (24, 40)
    whole = with_segments(jpeg(), exif)
    for length in range(len(exif) + 2):
        with pytest.raises(ImageError, match="cut off"):
            compressed_size(whole[: max(length, 3)], "jpeg")


def test_a_jpeg_may_have_many_segments_but_not_without_end():
    comment = segment(0xFE, b"x")
    own = len(positions(jpeg())) - 1
    assert compressed_size(with_segments(jpeg(), *[comment] * (MAX_SEGMENTS - own)), "jpeg") == (24, 40)
    with pytest.raises(ImageError, match=f"within {MAX_SEGMENTS} segments"):
        compressed_size(with_segments(jpeg(), *[comment] * (MAX_SEGMENTS - own + 1)), "jpeg")


class Counted(bytes):
    """Bytes that count how often Python looks into them."""

    def __new__(cls, data: bytes) -> Counted:
        counted = super().__new__(cls, data)
        counted.looks = 0
        return counted

    def __getitem__(self, key):
        self.looks += 1
        return super().__getitem__(key)


@pytest.mark.parametrize(
    ("filling", "most_looks"),
    [
        (b"\xff" * 20_000_000, 10),
        (segment(0xE1, b"") * 5_000_000, 5 * MAX_SEGMENTS),
        (b"\xff\x01" * 10_000_000, 5 * MAX_SEGMENTS),
        (b"\xff\xff\x01" * 7_000_000, 5 * MAX_SEGMENTS),
    ],
    ids=["fill bytes", "empty segments", "markers without a length", "fill and markers"],
)
def test_twenty_megabytes_made_to_keep_a_reader_busy_are_given_up_after_few_looks(filling, most_looks):
    data = Counted(b"\xff\xd8" + filling)
    with pytest.raises(ImageError, match="cut off"):
        compressed_size(data, "jpeg")
    assert 0 < data.looks <= most_looks


def test_fill_bytes_before_a_marker_are_passed_over():
    assert compressed_size(with_segments(jpeg(), b"\xff" * 5000), "jpeg") == (24, 40)


@pytest.mark.parametrize("options", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]])
def test_a_jpeg_cut_anywhere_in_its_header_is_refused_and_after_it_has_its_size(options):
    data = jpeg(*options)
    begin = positions(data)[-1][1]
    for length in range(begin + 1):
        with pytest.raises(ImageError, match="cut off" if length >= 3 else "expected JPEG or PNG"):
            compressed_size(data[:length], "jpeg")
    assert {compressed_size(data[:length], "jpeg") for length in range(begin + 1, len(data))} == {(24, 40)}


def test_a_jpeg_without_a_size_before_its_scan_is_refused():
    data = jpeg()
    (begin, end) = next(
        (position, following)
        for (marker, position), (_, following) in zip(positions(data), positions(data)[1:], strict=False)
        if marker == 0xC0
    )
    with pytest.raises(ImageError, match="expected a size and a scan"):
        compressed_size(data[:begin] + data[end:], "jpeg")


def test_a_jpeg_damaged_in_its_header_is_refused_with_the_place():
    data = bytearray(jpeg())
    place = positions(data)[1][1]
    data[place] = 0x12
    with pytest.raises(ImageError, match=f"no marker at byte {place}, expected one"):
        compressed_size(bytes(data), "jpeg")


@pytest.mark.parametrize("marker", [0x00, 0xD8, 0xD9])
def test_a_second_header_cannot_be_hidden_behind_a_marker_that_libjpeg_reads_no_length_of(marker):
    """libjpeg goes on right after these; whoever skips a length there sees another size than the decoder."""
    hidden = segment(marker, segment(0xC0, struct.pack(">BHHB", 8, 50_000, 50_000, 1) + b"\x01\x11\x00"))
    with pytest.raises(ImageError, match=f"got a JPEG with marker {marker:02x} at byte 2"):
        compressed_size(with_segments(jpeg(), hidden), "jpeg")


def test_a_progressive_jpeg_of_too_many_scans_is_refused():
    """One of 14 bytes costs a decoder a pass over all pixels."""
    data = jpeg(cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    begin = data.rindex(b"\xff\xda")
    scan, own = data[begin:-2], data.count(b"\xff\xda")
    assert compressed_size(data[:-2] + scan * (MAX_SCANS - own), "jpeg") == (24, 40)
    with pytest.raises(ImageError, match=f"got a JPEG of {MAX_SCANS + 1} scans, expected at most {MAX_SCANS}"):
        compressed_size(data[:-2] + scan * (MAX_SCANS - own + 1), "jpeg")


def test_a_baseline_jpeg_of_one_scan_per_component_may_not_repeat_them_for_ever():
    data = jpeg()
    *_, (_, begin), (_, end) = positions(data)
    scans = [segment(0xDA, bytes([1, component, 0, 0, 63, 0])) + b"\x00" for component in (1, 2, 3)]
    assert end - begin == 14, "the scan's header with its three components"
    assert compressed_size(data[:begin] + b"".join(scans), "jpeg") == (24, 40)
    with pytest.raises(ImageError, match=f"got a JPEG of {MAX_SCANS + 1} scans"):
        compressed_size(data[:begin] + scans[0] * (MAX_SCANS + 1), "jpeg")


def test_height_and_width_of_a_png_are_those_of_the_image_whatever_stands_after_its_end():
    for after in (b"", bytes(65), bytes(100_000), b"\xff" * 1000):
        assert compressed_size(png() + after, "png") == (24, 40)


def test_a_png_cut_anywhere_is_refused():
    data = png()
    for length in range(len(data) - 4):  # Only IEND's checksum may be missing here: the decoder sees to that.
        with pytest.raises(ImageError, match="cut off" if length >= 8 else "expected JPEG or PNG"):
            compressed_size(data[:length], "png")
    assert compressed_size(data[:-4], "png") == (24, 40)


@pytest.mark.parametrize("data", [b"", b"\x00\x01", b"GIF89a", b"RIFF\x00\x00\x00\x00WEBP", b"\xff\xd8"])
def test_what_is_neither_is_refused_with_its_first_bytes(data):
    with pytest.raises(ImageError, match=f"got format 'x' and {len(data)} bytes .*{data[:4].hex()}"):
        compressed_size(data, "x")
