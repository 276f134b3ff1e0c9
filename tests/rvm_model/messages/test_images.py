"""Compressed images to RGB, damaged ones refused; and raw images that nothing here knows."""

from __future__ import annotations

import random
import struct
import zlib

import cv2
import numpy as np
import pytest
import simplejpeg
from plain_messages import CompressedImage, Image

from rvm_model.messages import images
from rvm_model.messages.image_headers import ImageError, compressed_size
from rvm_model.messages.images import (
    MAX_EXTRA_BYTES,
    check_compressed,
    check_image,
    compressed_to_array,
    image_to_array,
)

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 8, 3), np.uint8)
GREY = RNG.integers(0, 256, (6, 8), np.uint8)
ALPHA = np.dstack([RGB, np.full((6, 8), 7, np.uint8)])


def of_bytes(data: bytes, label: str) -> CompressedImage:
    result = CompressedImage(format=label)
    result.data.frombytes(data)
    return result


def compressed(pixels: np.ndarray, suffix: str, label: str = "") -> CompressedImage:
    """A compressed image of RGB, RGBA or grey pixels."""
    stored = pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, *range(3, pixels.shape[-1])]]
    return of_bytes(cv2.imencode(f".{suffix}", np.ascontiguousarray(stored))[1].tobytes(), label or suffix)


def test_png_is_exact_in_colour_grey_16_bit_and_alpha():
    np.testing.assert_array_equal(compressed_to_array(compressed(RGB, "png")), RGB)
    np.testing.assert_array_equal(compressed_to_array(compressed(GREY, "png")), np.dstack([GREY] * 3))
    wide = compressed(GREY.astype(np.uint16) * 257, "png")
    np.testing.assert_array_equal(compressed_to_array(wide), np.dstack([GREY] * 3))
    np.testing.assert_array_equal(compressed_to_array(compressed(ALPHA, "png")), RGB)


@pytest.mark.parametrize("label", ["jpeg", "jpg", "rgb8; jpeg compressed bgr8", "png", ""])
def test_jpeg_is_known_by_its_bytes_whatever_the_format_says(label):
    smooth = np.dstack([np.tile(np.linspace(lo, hi, 64), (48, 1)) for lo, hi in ((0, 255), (255, 0), (90, 90))])
    image = compressed(smooth.astype(np.uint8), "jpeg", label)
    assert np.abs(compressed_to_array(image).astype(int) - smooth).mean() < 4


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def test_an_exif_rotation_is_not_applied():
    pixels = RNG.integers(0, 256, (16, 32, 3), np.uint8)
    tiff = b"II*\x00\x08\x00\x00\x00" + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)  # Orientation 6.
    exif = b"Exif\x00\x00" + tiff
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    for suffix, after, rotation in (("jpeg", 2, segment), ("png", 33, png_chunk(b"eXIf", tiff))):
        plain = bytes(compressed(pixels, suffix).data)
        rotated = of_bytes(plain[:after] + rotation + plain[after:], suffix)
        np.testing.assert_array_equal(compressed_to_array(rotated), compressed_to_array(of_bytes(plain, suffix)))


def test_a_bomb_is_refused_by_its_header_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *_, **__: pytest.fail("decoded"))
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IEND", b"")
    jpeg = bytearray(bytes(compressed(RGB, "jpeg").data))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 50_000, 50_000)
    for bomb in (png, bytes(jpeg)):
        for take in (compressed_to_array, check_compressed):
            with pytest.raises(ImageError, match="got 50000x50000 = 2500000000 pixels"):
                take(of_bytes(bomb, "png"))


@pytest.mark.parametrize("checked", [(16, 16), (64, 63), (80, 80)])
def test_a_jpeg_that_the_decoder_reads_another_size_of_is_not_decoded(monkeypatch, checked):
    monkeypatch.setattr(images, "compressed_size", lambda *_: checked)
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *_, **__: pytest.fail("decoded"))
    text = f"of {checked[1]}x{checked[0]} that the decoder takes for 64x64, expected one size"
    with pytest.raises(ImageError, match=text):
        compressed_to_array(compressed(RNG.integers(0, 256, (64, 64, 3), np.uint8), "jpeg"))


@pytest.mark.parametrize("suffix", ["jpeg", "png"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.9, 0.99])
def test_a_cut_off_file_is_refused(suffix, share):
    whole = compressed(RNG.integers(0, 256, (64, 64, 3), np.uint8), suffix)
    whole.data = whole.data[: int(len(whole.data) * share)]
    with pytest.raises(ImageError, match="got"):
        compressed_to_array(whole)


@pytest.mark.parametrize("suffix", ["jpeg", "png"])
@pytest.mark.parametrize("padding", [bytes(100), bytes(5000), RNG.bytes(5000)], ids=["100", "5000", "leftovers"])
def test_what_stands_after_the_end_is_left_alone(suffix, padding):
    image = compressed(RGB, suffix)
    sound = compressed_to_array(image)
    image.data.frombytes(padding)
    np.testing.assert_array_equal(compressed_to_array(image), sound)


SMOOTH = cv2.resize(RNG.integers(0, 256, (12, 16, 3), np.uint8), (320, 240), interpolation=cv2.INTER_CUBIC)
SMOOTH = np.clip(SMOOTH.astype(int) + RNG.integers(-12, 13, SMOOTH.shape), 0, 255).astype(np.uint8)
SAMPLING = {
    name: [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{name}")]
    for name in ("411", "420", "422", "440", "444")
}
JPEGS = {
    **SAMPLING,
    "grey": [],
    "progressive": [*SAMPLING["420"], cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    "restart markers": [*SAMPLING["422"], cv2.IMWRITE_JPEG_RST_INTERVAL, 8],
}


def jpeg_of(pixels: np.ndarray, kind: str) -> bytes:
    stored = pixels[..., 1] if kind == "grey" else pixels[..., ::-1]
    return cv2.imencode(".jpg", np.ascontiguousarray(stored), JPEGS[kind])[1].tobytes()


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("shape", [(240, 320), (239, 317), (17, 33), (1, 1)])
def test_sound_jpegs_have_the_pixels_that_opencv_gives_with_and_without_their_end_marker(kind, shape):
    data = jpeg_of(SMOOTH[: shape[0], : shape[1]], kind)
    assert data.endswith(b"\xff\xd9")
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    for whole in (data, data[:-2]):
        np.testing.assert_array_equal(compressed_to_array(of_bytes(whole, "jpeg")), expected)


@pytest.mark.parametrize("marker", [b"\xff\xd0", b"\xff\xd5", b"\xff\xd9"])
def test_a_few_bytes_too_many_before_a_marker_are_left_alone_as_webcams_send_them(marker):
    data = jpeg_of(SMOOTH, "restart markers")
    place = data.rindex(marker)
    sound = compressed_to_array(of_bytes(data, "jpeg"))
    for extra in (1, 10, MAX_EXTRA_BYTES):
        image = of_bytes(data[:place] + b"\x5a" * extra + data[place:], "jpeg")
        np.testing.assert_array_equal(compressed_to_array(image), sound)
    with pytest.raises(ImageError, match="extraneous bytes before marker"):
        compressed_to_array(of_bytes(data[:place] + bytes(MAX_EXTRA_BYTES + 10) + data[place:], "jpeg"))


def scan_start(data: bytes) -> int:
    position = 2
    while data[position + 1] != 0xDA:
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")


def piece_lost(data, at, rng):
    return data[:at] + data[at + 500 :]


def piece_twice(data, at, rng):
    return data[: at + 300] + data[at:]


def half_lost(data, at, rng):
    begin = scan_start(data) + rng.randrange(50)
    return data[:begin] + data[begin + (len(data) - begin) // 2 :]


def zeroed(data, at, rng):
    return data[:at] + bytes(200) + data[at + 200 :]


def overwritten(data, at, rng):
    return data[:at] + rng.randbytes(200) + data[at + 200 :]


def cut_without_end(data, at, rng):
    return data[:at]


def cut_with_end(data, at, rng):
    return data[:at] + b"\xff\xd9"


@pytest.mark.parametrize(
    ("damage", "least"),
    [
        (piece_lost, 0.93),
        (piece_twice, 0.97),
        (half_lost, 0.97),
        (cut_without_end, 1.0),
        (cut_with_end, 1.0),
        (overwritten, 0.9),
        (zeroed, 0.9),
    ],
)
def test_of_damaged_jpegs_at_least_this_share_is_refused_and_nothing_is_written_to_stderr(damage, least, capfd):
    rng = random.Random(0)
    refused = []
    for kind in JPEGS:
        data = jpeg_of(SMOOTH, kind)
        for _ in range(20):
            at = rng.randrange(scan_start(data), len(data) - 520)
            try:
                compressed_to_array(of_bytes(damage(data, at, rng), "jpeg"))
                refused.append(False)
            except ImageError as error:
                refused.append("got a damaged 'jpeg' image of 320x240" in str(error))
    assert np.mean(refused) >= least
    assert not capfd.readouterr().err  # libjpeg's own messages name no camera and come at every frame.


def test_other_formats_are_refused():
    depth = of_bytes(bytes(12) + bytes(compressed(GREY, "png").data), "16UC1; compressedDepth png")
    with pytest.raises(ImageError, match="got format '16UC1; compressedDepth png'.*expected JPEG or PNG"):
        compressed_to_array(depth)


def test_nothing_but_an_image_error_escapes_from_damaged_compressed_messages():
    rng = random.Random(1)
    refused = {"jpeg": 0, "png": 0}
    for suffix in refused:
        whole = bytes(compressed(RNG.integers(0, 256, (24, 32, 3), np.uint8), suffix).data)
        sound = compressed_to_array(of_bytes(whole, suffix))
        for _ in range(400):
            data = bytearray(whole)
            for _ in range(rng.randint(1, 8)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            image = of_bytes(bytes(data), suffix)
            try:
                rgb = compressed_to_array(image, max_pixels=10_000)
            except ImageError:
                refused[suffix] += 1
                continue
            assert rgb.dtype == np.uint8
            assert rgb.shape == (*compressed_size(bytes(data), suffix), 3)
            if suffix == "png":  # It has checksums.
                np.testing.assert_array_equal(rgb, sound)
    assert 200 < refused["jpeg"] < 400
    assert refused["png"] > 380


def of_unknown_encoding() -> Image:
    image = Image(height=6, width=8, encoding="argb8", step=32)
    image.data.frombytes(ALPHA[..., [3, 0, 1, 2]].tobytes())
    return image


def test_an_encoding_that_nothing_knows_is_refused_when_its_header_is_checked():
    for function in (check_image, image_to_array):
        with pytest.raises(ImageError, match="got encoding 'argb8', expected one of rgb8"):
            function(of_unknown_encoding())


def test_an_encoding_that_something_else_knows_is_decoded_by_it():
    asked = []

    def others(encoding):
        asked.append(encoding)
        return lambda message: np.asarray(message.data, np.uint8).reshape(6, 8, 4)[..., 1:]

    np.testing.assert_array_equal(image_to_array(of_unknown_encoding(), others=others), RGB)
    assert set(asked) == {"argb8"}
