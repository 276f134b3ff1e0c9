"""Image messages to RGB, whatever they hold; and nothing but an ImageError for what they should not hold."""

from __future__ import annotations

import random
import struct
import sys
import tracemalloc
import types
import zlib

import cv2
import numpy as np
import pytest

pytest.importorskip("sensor_msgs.msg")

from sensor_msgs.msg import CompressedImage, Image

from rvm_ros import images
from rvm_ros.image_headers import ImageError, compressed_size
from rvm_ros.images import ENCODINGS, compressed_to_array, image_to_array

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 8, 3), np.uint8)
GREY = RNG.integers(0, 256, (6, 8), np.uint8)


def message(pixels: np.ndarray, encoding: str, padding: int = 0) -> Image:
    rows = np.ascontiguousarray(pixels).reshape(pixels.shape[0], -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    result = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, step=rows.shape[1])
    result.data.frombytes(rows.tobytes())
    return result


def compressed(pixels: np.ndarray, suffix: str, label: str = "") -> CompressedImage:
    """A compressed image of RGB or grey pixels."""
    bgr = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    result = CompressedImage(format=label or suffix)
    result.data.frombytes(cv2.imencode(f".{suffix}", np.ascontiguousarray(bgr))[1].tobytes())
    return result


ALPHA = np.dstack([RGB, np.full((6, 8), 7, np.uint8)])
BY_ENCODING = [
    (RGB, "rgb8", RGB),
    (RGB[..., ::-1], "bgr8", RGB),
    (RGB[..., ::-1], "8UC3", RGB),
    (ALPHA, "rgba8", RGB),
    (ALPHA[..., [2, 1, 0, 3]], "bgra8", RGB),
    (GREY, "mono8", np.dstack([GREY] * 3)),
    (GREY, "8UC1", np.dstack([GREY] * 3)),
    (GREY.astype(np.uint16) * 257, "mono16", np.dstack([GREY] * 3)),
]


@pytest.mark.parametrize(("stored", "encoding", "expected"), BY_ENCODING, ids=[case[1] for case in BY_ENCODING])
@pytest.mark.parametrize("padding", [0, 10])
def test_colour_and_grey_encodings_give_rgb_with_and_without_padding(stored, encoding, expected, padding):
    np.testing.assert_array_equal(image_to_array(message(stored, encoding, padding)), expected)


def test_rgb_without_padding_is_not_copied():
    image = message(RGB, "rgb8")
    assert np.shares_memory(image_to_array(image), np.frombuffer(image.data, np.uint8))


def test_16_bit_samples_are_rounded_from_the_full_range_in_either_byte_order():
    values = np.array([[0, 128, 129, 385, 386, 65535]], np.uint16)
    expected = [0, 0, 1, 1, 2, 255]  # round(x / 257)
    little, big = message(values.astype("<u2"), "mono16"), message(values.astype(">u2"), "mono16")
    big.is_bigendian = 1
    assert image_to_array(little)[0, :, 0].tolist() == expected
    assert image_to_array(big)[0, :, 0].tolist() == expected


def test_the_last_row_may_lack_its_padding():
    image = message(RGB, "rgb8", padding=10)
    image.data = image.data[:-10]
    np.testing.assert_array_equal(image_to_array(image), RGB)


@pytest.mark.parametrize(("names", "luma", "chroma"), [(("yuv422", "uyvy"), 1, 0), (("yuv422_yuy2", "yuyv"), 0, 1)])
def test_yuv422_under_both_names_is_red_where_v_is_high(names, luma, chroma):
    stored = np.zeros((2, 4, 2), np.uint8)
    stored[..., luma] = 81  # BT.601 studio range: red is Y 81, U 90, V 240.
    stored[:, 0::2, chroma] = 90
    stored[:, 1::2, chroma] = 240
    for name in names:
        rgb = image_to_array(message(stored, name))
        assert np.abs(rgb.astype(int) - (255, 0, 0)).max() <= 3, name


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("bits", [8, 16])
def test_bayer_patterns_name_their_first_row_and_column(pattern, bits):
    colour = {"r": 200, "g": 120, "b": 40}
    tile = np.array([[colour[pattern[0]], colour[pattern[1]]], [colour[pattern[2]], colour[pattern[3]]]])
    mosaic = np.tile(tile, (6, 6)).astype(np.uint8)
    stored = mosaic if bits == 8 else mosaic.astype(np.uint16) * 257
    rgb = image_to_array(message(stored, f"bayer_{pattern}{bits}"))
    assert rgb.dtype == np.uint8
    assert np.abs(rgb[2:-2, 2:-2].astype(int) - (200, 120, 40)).max() <= 1


def test_every_encoding_of_the_issue_is_known():
    wanted = ["rgb8", "bgr8", "rgba8", "bgra8", "mono8", "mono16", "yuv422", "uyvy", "yuv422_yuy2", "yuyv"]
    wanted += [f"bayer_{p}{b}" for p in ("rggb", "bggr", "gbrg", "grbg") for b in (8, 16)]
    assert set(wanted) <= set(ENCODINGS)


def changed(**fields) -> Image:
    image = message(RGB, "rgb8")
    for name, value in fields.items():
        setattr(image, name, value)
    return image


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (changed(height=0), "got size 8x0"),
        (changed(width=0), "got size 0x6"),
        (changed(step=23), "got step 23 for 8 pixels of rgb8, expected at least 24"),
        (changed(height=7), "got 144 bytes of data, expected step x height = 24 x 7 = 168"),
        (changed(height=5), "got 144 bytes"),
        (changed(height=2**31, width=2**31), "pixels, expected at most"),
        (changed(encoding=""), "got encoding '', expected one of rgb8"),
        (changed(encoding="RGB8"), "got encoding 'RGB8'"),
        (message(RGB[:, :7, :2], "yuyv"), "got width 7 with yuyv, expected an even one"),
    ],
)
def test_a_message_that_contradicts_itself_is_refused_with_what_was_expected(image, text):
    with pytest.raises(ImageError) as error:
        image_to_array(image)
    assert text in str(error.value)


def test_what_opencv_cannot_convert_is_refused(monkeypatch):
    def fail(*_):
        raise cv2.error("too small")

    monkeypatch.setattr(cv2, "cvtColor", fail)
    with pytest.raises(ImageError, match="got 8x6 mono8, which OpenCV cannot convert: too small"):
        image_to_array(message(GREY, "mono8"))


def test_png_is_exact_in_colour_grey_16_bit_and_alpha():
    np.testing.assert_array_equal(compressed_to_array(compressed(RGB, "png")), RGB)
    np.testing.assert_array_equal(compressed_to_array(compressed(GREY, "png")), np.dstack([GREY] * 3))
    wide = compressed(GREY.astype(np.uint16) * 257, "png")
    np.testing.assert_array_equal(compressed_to_array(wide), np.dstack([GREY] * 3))
    with_alpha = CompressedImage(format="png")
    with_alpha.data.frombytes(cv2.imencode(".png", ALPHA[..., [2, 1, 0, 3]])[1].tobytes())
    np.testing.assert_array_equal(compressed_to_array(with_alpha), RGB)


@pytest.mark.parametrize("label", ["jpeg", "jpg", "rgb8; jpeg compressed bgr8", "png", ""])
def test_jpeg_is_known_by_its_bytes_whatever_the_format_says(label):
    smooth = np.dstack([np.tile(np.linspace(lo, hi, 64), (48, 1)) for lo, hi in ((0, 255), (255, 0), (90, 90))])
    image = compressed(smooth.astype(np.uint8), "jpeg", label)
    assert np.abs(compressed_to_array(image).astype(int) - smooth).mean() < 4


def test_an_exif_rotation_is_not_applied():
    jpeg = bytes(compressed(RNG.integers(0, 256, (16, 32, 3), np.uint8), "jpeg").data)
    tiff = b"II*\x00\x08\x00\x00\x00" + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)  # Orientation 6.
    exif = b"Exif\x00\x00" + tiff
    rotated = CompressedImage(format="jpeg")
    rotated.data.frombytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    assert compressed_to_array(rotated).shape == (16, 32, 3)


def test_a_bomb_is_refused_by_its_header_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    png += struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    image = CompressedImage(format="png")
    image.data.frombytes(png)
    with pytest.raises(ImageError, match="got 50000x50000 = 2500000000 pixels"):
        compressed_to_array(image)


@pytest.mark.parametrize("suffix", ["jpeg", "png"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.9, 0.99])
def test_a_cut_off_file_is_refused(suffix, share):
    whole = compressed(RNG.integers(0, 256, (64, 64, 3), np.uint8), suffix)
    whole.data = whole.data[: int(len(whole.data) * share)]
    with pytest.raises(ImageError, match="got"):
        compressed_to_array(whole)


def test_a_jpeg_with_zeros_after_its_end_is_taken():
    image = compressed(RGB, "jpeg")
    image.data.frombytes(bytes(100))
    assert compressed_to_array(image).shape == (6, 8, 3)


def test_other_formats_are_refused():
    image = CompressedImage(format="16UC1; compressedDepth png")
    image.data.frombytes(bytes(12) + bytes(compressed(GREY, "png").data))
    with pytest.raises(ImageError, match="got format '16UC1; compressedDepth png'.*expected JPEG or PNG"):
        compressed_to_array(image)


def test_nothing_but_an_image_error_escapes_from_random_raw_messages():
    rng = random.Random(0)
    refused = 0
    for _ in range(3000):
        image = Image(
            height=rng.choice([0, 1, 2, 5, 2**32 - 1]),
            width=rng.choice([0, 1, 2, 7, 2**32 - 1]),
            step=rng.choice([0, 1, 2, 6, 21, 42, 2**32 - 1]),
            encoding=rng.choice([*ENCODINGS, "nonsense", "32FC1"]),
            is_bigendian=rng.choice([0, 1, 255]),
        )
        image.data.frombytes(rng.randbytes(rng.choice([0, 1, 6, 42, 105, 210])))
        try:
            rgb = image_to_array(image)
        except ImageError:
            refused += 1
        else:
            assert rgb.shape == (image.height, image.width, 3)
            assert rgb.dtype == np.uint8
    assert 1000 < refused < 3000


def test_nothing_but_an_image_error_escapes_from_damaged_compressed_messages():
    rng = random.Random(1)
    for suffix in ("jpeg", "png"):
        whole = bytes(compressed(RNG.integers(0, 256, (24, 32, 3), np.uint8), suffix).data)
        for _ in range(400):
            data = bytearray(whole)
            for _ in range(rng.randint(1, 8)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            image = CompressedImage(format=suffix)
            image.data.frombytes(bytes(data))
            try:
                rgb = compressed_to_array(image, max_pixels=10_000)
            except ImageError:
                continue
            assert rgb.ndim == 3
            assert rgb.dtype == np.uint8


def test_our_decoding_equals_cv_bridges():
    cv_bridge = pytest.importorskip("cv_bridge")
    bridge = cv_bridge.CvBridge()
    for stored, encoding, _ in BY_ENCODING:
        if encoding.startswith("8U"):
            continue
        expected = bridge.imgmsg_to_cv2(message(stored, encoding), "rgb8")
        difference = np.abs(image_to_array(message(stored, encoding)).astype(int) - expected)
        assert difference.max() <= 1, encoding


def test_a_step_that_claims_gigabytes_takes_no_memory():
    claimed = Image(height=1, width=2, encoding="rgb8", step=2**32 - 1)
    claimed.data.frombytes(bytes(range(6)))
    tracemalloc.start()
    try:
        decoded = image_to_array(claimed)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert decoded.tolist() == [[[0, 1, 2], [3, 4, 5]]]
    assert peak < 1_000_000


@pytest.fixture
def cv_bridge(monkeypatch):
    """Function that puts a module in place of cv_bridge."""
    images._cv_bridge.cache_clear()
    yield lambda module: monkeypatch.setitem(sys.modules, "cv_bridge", module)
    images._cv_bridge.cache_clear()


def fails(*_):
    raise ImportError("numpy.core.multiarray failed to import")


def test_a_cv_bridge_that_cannot_be_used_is_told_for_the_image_that_needs_it(cv_bridge):
    cv_bridge(types.SimpleNamespace(CvBridge=fails))
    with pytest.raises(ImageError, match="expected one of rgb8.*cannot be imported: numpy.core.multiarray failed"):
        image_to_array(message(np.zeros((2, 2, 1), np.uint8), "nv12"))


def test_whatever_cv_bridge_raises_is_about_that_one_image(cv_bridge):
    class Bridge:
        def imgmsg_to_cv2(self, *_):
            raise KeyError("nv12")

    cv_bridge(types.SimpleNamespace(CvBridge=Bridge))
    with pytest.raises(ImageError, match="which cv_bridge refused: 'nv12'"):
        image_to_array(message(np.zeros((2, 2, 1), np.uint8), "nv12"))


def test_a_jpeg_made_to_keep_a_reader_busy_is_given_up():
    size = bytes.fromhex("ffd8ffe000024a")[:6]
    with pytest.raises(ImageError, match="within 10000 segments"):
        compressed_size(size + b"\xff\xe1\x00\x02" * 20_000, "jpeg")
    with pytest.raises(ImageError, match="cut off"):
        compressed_size(size + b"\xff" * 20_000_000, "jpeg")


def test_fill_bytes_before_a_marker_are_passed_over():
    data = cv2.imencode(".jpg", np.zeros((8, 16, 3), np.uint8))[1].tobytes()
    assert compressed_size(data[:2] + b"\xff" * 5000 + data[2:], "jpeg") == (8, 16)
