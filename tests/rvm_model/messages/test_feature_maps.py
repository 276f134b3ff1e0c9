"""Feature maps in messages: exact ones to the bit, smaller ones within the error that they declare."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from plain_messages import Image

from rvm_model.messages.feature_maps import (
    Basis,
    Coded,
    msg_to_features,
    relative_error,
    to_float16,
    to_float32,
    to_int8,
)
from rvm_model.messages.image_headers import ImageError


def features(*shape: int, seed: int = 0) -> np.ndarray:
    """Of sizes from tiny to large, so that a rounding shows that does not go by size."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) * 10.0 ** rng.integers(-6, 4, shape)).astype(np.float32)


def message(coded: Coded) -> Image:
    image = Image(height=coded.height, width=coded.width, encoding=coded.encoding, step=coded.step)
    image.data.frombytes(coded.data.tobytes())
    return image


def test_float32_comes_back_to_the_bit_without_a_copy():
    sent = message(to_float32(features(3, 4, 384)))
    assert (sent.height, sent.width, sent.encoding, sent.step) == (3, 4, "32FC384", 4 * 384 * 4)
    np.testing.assert_array_equal(msg_to_features(sent), features(3, 4, 384))
    assert np.shares_memory(msg_to_features(sent), np.frombuffer(sent.data, np.uint8))


def test_float16_is_within_its_declared_error():
    values = features(3, 4, 384)
    sent = message(to_float16(values))
    assert (sent.encoding, len(sent.data)) == ("16FC384", values.nbytes // 2)
    lost = np.abs(msg_to_features(sent).astype(np.float64) - values)
    assert (lost <= np.maximum(np.abs(values) * 2.0**-11, 2.0**-25)).all()
    assert lost.max() > 0


def test_int8_is_within_its_declared_error_token_by_token():
    values = features(3, 4, 384) * np.float32(10.0) ** np.arange(-3, 1, dtype=np.float32)[:, None]
    sent = message(to_int8(values))
    assert (sent.encoding, len(sent.data)) == ("8SC384+32FC1", 3 * 4 * (384 + 4))
    lost = np.abs(msg_to_features(sent).astype(np.float64) - values)
    bound = np.abs(values).max(2, keepdims=True) / 254
    assert (lost <= bound * (1 + 1e-6)).all()
    assert (lost > bound * 0.9).any(), "the bound is not looser than it has to be"


def test_a_token_of_zeros_stays_zero_in_int8():
    np.testing.assert_array_equal(msg_to_features(message(to_int8(np.zeros((2, 3, 8), np.float32)))), 0)


def test_features_of_few_directions_survive_a_basis_of_as_many():
    rng = np.random.default_rng(1)
    values = (rng.standard_normal((5, 6, 4)) @ rng.standard_normal((4, 32)) + 3).astype(np.float32)
    basis = Basis.of(values, 4)
    assert basis.unexplained < 1e-6
    sent = message(basis.code(values))
    assert (sent.encoding, len(sent.data)) == ("16FC4/32FC32", 5 * 6 * 4 * 2)
    assert relative_error(values, msg_to_features(sent, basis)) < 1e-3


def test_what_a_basis_cannot_tell_is_what_it_declares():
    values = np.random.default_rng(2).standard_normal((20, 20, 16)).astype(np.float32)
    basis = Basis.of(values, 6)
    rebuilt = msg_to_features(message(basis.code(values)), basis)
    centred = values - values.mean((0, 1))
    lost = np.square(values - rebuilt).sum() / np.square(centred).sum()
    assert lost == pytest.approx(basis.unexplained, rel=1e-3)
    assert 0.3 < basis.unexplained < 0.7
    np.testing.assert_allclose(basis.components @ basis.components.T, np.eye(6), atol=1e-5)


def test_a_basis_travels_in_a_message_of_its_own():
    basis = Basis.of(features(4, 4, 12), 5)
    again = Basis.of_message(message(basis.coded()))
    np.testing.assert_array_equal(again.mean, basis.mean)
    np.testing.assert_array_equal(again.components, basis.components)
    with pytest.raises(ImageError, match="expected a basis"):
        Basis.of_message(message(to_float32(features(4, 4, 12))))


def test_coefficients_need_the_basis_that_they_were_made_with():
    basis = Basis.of(features(4, 4, 12), 5)
    sent = message(basis.code(features(4, 4, 12)))
    with pytest.raises(ImageError, match="expected with it the basis"):
        msg_to_features(sent)
    with pytest.raises(ImageError, match="it is another one's"):
        msg_to_features(sent, Basis.of(features(4, 4, 12), 6))
    with pytest.raises(ValueError, match="got width 11, expected 12"):
        basis.code(features(4, 4, 11))


@pytest.mark.parametrize("count", [0, 13])
def test_a_basis_of_more_than_there_is_is_refused(count):
    with pytest.raises(ValueError, match="expected 1 to 12"):
        Basis.of(features(4, 4, 12), count)


@pytest.mark.parametrize(
    ("code", "bad", "told"),
    [
        (to_float16, 1e5, "expected at most 65504"),
        (to_float16, np.nan, "float16"),
        (to_int8, np.inf, "not finite"),
        (to_int8, np.nan, "not finite"),
    ],
)
def test_values_that_a_code_cannot_hold_are_refused(code, bad, told):
    values = features(2, 2, 8)
    values[1, 0, 3] = bad
    with pytest.raises(ValueError, match=told):
        code(values)


@pytest.mark.parametrize("bad", [np.zeros((2, 3), np.float32), np.zeros((2, 3, 4)), np.zeros((0, 3, 4), np.float32)])
def test_what_is_no_feature_map_is_refused(bad):
    for code in (to_float32, to_float16, to_int8):
        with pytest.raises(ValueError, match="expected float32"):
            code(bad)


def test_big_endian_features_are_read():
    for dtype, code in ((">f4", to_float32), (">f2", to_float16)):
        sent = message(code(features(3, 4, 8)))
        turned = dataclasses.replace(sent, is_bigendian=1, data=sent.data[:0])
        turned.data.frombytes(msg_to_features(sent).astype(dtype).tobytes())
        np.testing.assert_array_equal(msg_to_features(turned), msg_to_features(sent))


@pytest.mark.parametrize(
    "encoding", ["rgb8", "32FC", "32FC384x", "64FC3", "16FC4/32FC", "32FC4/32FC8", "8SC4", "16FC4+32FC1"]
)
def test_other_encodings_are_refused(encoding):
    sent = dataclasses.replace(message(to_float32(features(3, 4, 8))), encoding=encoding)
    with pytest.raises(ImageError, match="subscribe to a features topic"):
        msg_to_features(sent)


@pytest.mark.parametrize("change", [{"step": 4}, {"height": 2}, {"width": 5}, {"encoding": "32FC9"}])
def test_sizes_that_do_not_agree_are_refused(change):
    sent = dataclasses.replace(message(to_float32(features(3, 4, 8))), **change)
    with pytest.raises(ImageError, match="expected step"):
        msg_to_features(sent)
