"""Raw images of every encoding to RGB, against formulas of their own; what contradicts itself is refused."""

from __future__ import annotations

import random
import tracemalloc

import numpy as np
import pytest
from plain_messages import Image

from rvm_model.messages.images import ENCODINGS, ImageError, check_image, image_to_array

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 8, 3), np.uint8)
GREY = RNG.integers(0, 256, (6, 8), np.uint8)


def message(pixels: np.ndarray, encoding: str, padding: int = 0) -> Image:
    rows = np.ascontiguousarray(pixels).reshape(pixels.shape[0], -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    result = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, step=rows.shape[1])
    result.data.frombytes(rows.tobytes())
    return result


ALPHA = np.dstack([RGB, np.full((6, 8), 7, np.uint8)])
WIDE = RGB.astype(np.uint16) * 257
WIDE_ALPHA = ALPHA.astype(np.uint16) * 257
BY_ENCODING = [
    (RGB, "rgb8", RGB),
    (RGB[..., ::-1], "bgr8", RGB),
    (RGB[..., ::-1], "8UC3", RGB),
    (ALPHA, "rgba8", RGB),
    (ALPHA[..., [2, 1, 0, 3]], "bgra8", RGB),
    (ALPHA[..., [2, 1, 0, 3]], "8UC4", RGB),
    (WIDE, "rgb16", RGB),
    (WIDE[..., ::-1], "bgr16", RGB),
    (WIDE_ALPHA, "rgba16", RGB),
    (WIDE_ALPHA[..., [2, 1, 0, 3]], "bgra16", RGB),
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


def studio_range_yuv(rgb: np.ndarray) -> np.ndarray:
    """Y, U, V of ITU-R BT.601 by its definition: luma by its weights, U and V as scaled differences to it."""
    red, green, blue = np.moveaxis(rgb / 255, -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    differences = (blue - luma) / (2 * (1 - 0.114)), (red - luma) / (2 * (1 - 0.299))
    return np.stack([16 + 219 * luma, *(128 + 224 * difference for difference in differences)], axis=-1)


def semi_planar_of(rgb: np.ndarray, encoding: str, padding: int = 0) -> Image:
    """nv12, nv21 or nv24 as V4L2 defines them: rows of luma, then rows of U and V (nv21: V and U) in turns."""
    height, width = rgb.shape[:2]
    yuv = np.rint(studio_range_yuv(rgb)).astype(np.uint8)
    every = 1 if encoding == "nv24" else 2
    pairs = yuv[::every, ::every, [2, 1] if encoding == "nv21" else [1, 2]].reshape(height // every, -1)
    image = Image(height=height, width=width, encoding=encoding, step=width + padding)
    for rows, margin in ((yuv[..., 0], padding), (pairs, padding * 2 // every)):
        image.data.frombytes(np.pad(rows, ((0, 0), (0, margin)), constant_values=99).tobytes())
    return image


@pytest.mark.parametrize("encoding", ["nv12", "nv21", "nv24"])
@pytest.mark.parametrize("padding", [0, 10])
def test_chroma_in_a_second_plane_gives_the_colours_that_bt601_says(encoding, padding):
    every = 1 if encoding == "nv24" else 2
    # One colour for all pixels that share one, so that nothing is lost but the rounding of Y, U and V.
    rgb = RNG.integers(0, 256, (6, 10, 3), np.uint8).repeat(every, axis=0).repeat(every, axis=1)
    image = semi_planar_of(rgb, encoding, padding)
    assert np.abs(image_to_array(image).astype(int) - rgb).max() <= 2
    if padding:
        image.data = image.data[: -padding * 2 // every]
        assert np.abs(image_to_array(image).astype(int) - rgb).max() <= 2, "the last row may lack its padding"
        image.data = image.data[:-1]
        with pytest.raises(ImageError, match="expected step x rows of luma and chroma"):
            image_to_array(image)


def test_nv24_may_have_an_odd_width_and_height():
    rgb = RNG.integers(0, 256, (5, 7, 3), np.uint8)
    assert np.abs(image_to_array(semi_planar_of(rgb, "nv24")).astype(int) - rgb).max() <= 2


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


def test_every_colour_and_grey_encoding_of_sensor_msgs_is_known():
    wanted = [f"{order}{bits}" for order in ("rgb", "bgr", "rgba", "bgra", "mono") for bits in (8, 16)]
    wanted += ["yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21", "nv24"]
    wanted += [f"bayer_{p}{b}" for p in ("rggb", "bggr", "gbrg", "grbg") for b in (8, 16)]
    assert set(wanted) <= set(ENCODINGS)


def changed(**fields) -> Image:
    image = message(RGB, "rgb8")
    for name, value in fields.items():
        setattr(image, name, value)
    return image


def semi_planar(written_as: str, **fields) -> Image:
    """An image of 8 x 6 pixels with the data of an encoding, and with fields that contradict it."""
    image = Image(height=6, width=8, encoding=written_as, step=8)
    image.data.frombytes(bytes(8 * {"mono8": 6, "nv12": 9, "nv21": 9, "nv24": 18}[written_as]))
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
        (semi_planar("nv12", width=7), "got width 7 with nv12, expected an even one"),
        (semi_planar("nv21", height=5), "got height 5 with nv21, expected an even one"),
        (semi_planar("nv12", step=7), "got step 7 for 8 pixels of nv12, expected at least 8"),
        (semi_planar("nv12", step=9), "got 72 bytes of data, expected step x rows of luma and chroma = 9 x 9 = 81"),
        (semi_planar("nv24", height=5), "got 144 bytes of data, expected step x rows of luma and chroma = 8 x 15"),
        (semi_planar("nv24", height=1, step=2**32 - 1), "got 144 bytes of data"),
        (semi_planar("mono8", encoding="nv12"), "got 48 bytes of data"),
    ],
)
def test_a_message_that_contradicts_itself_is_refused_with_what_was_expected(image, text):
    with pytest.raises(ImageError) as error:
        image_to_array(image)
    assert text in str(error.value)


@pytest.mark.parametrize("shape", [(1, 8), (2, 8), (8, 1), (8, 2), (1, 1)])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_bayer_image_that_opencv_would_make_black_is_refused(shape, bits):
    mosaic = np.full(shape, 200, np.uint8 if bits == 8 else np.uint16)
    text = rf"got {shape[1]}x{shape[0]} pixels of bayer_rggb{bits}, expected at least 3x3"
    with pytest.raises(ImageError, match=text):
        image_to_array(message(mosaic, f"bayer_rggb{bits}"))
    assert image_to_array(message(np.full((3, 3), 200, np.uint8), "bayer_rggb8")).min() == 200


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1", "16SC1", "16UC3", "8UC2", "8SC3", "32FC384", "64FC1", "32F"])
def test_numbers_that_are_no_colours_are_refused_before_they_are_decoded(encoding):
    image = Image(height=2, width=2, encoding=encoding, step=8)
    image.data.frombytes(bytes(16))
    with pytest.raises(ImageError, match=f"got encoding '{encoding}', numbers such as depth .* expected one of rgb8"):
        check_image(image)


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
