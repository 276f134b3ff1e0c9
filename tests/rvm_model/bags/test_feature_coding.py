"""Features that are coded as they are recorded."""

from __future__ import annotations

import json
from contextlib import suppress

import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore

from rvm_model.bags import Message, Topic
from rvm_model.bags.feature_coding import IMAGE, FeatureCoding, definition
from rvm_model.messages.feature_maps import Basis, msg_to_features, relative_error, to_float32
from rvm_model.messages.recoding import FITTED

STORE = get_typestore(Stores.ROS2_HUMBLE)
FEATURES = "/perception/front/features"
RNG = np.random.default_rng(0)
MIXED = RNG.standard_normal((4, 24)).astype(np.float32)


def features(seed: int) -> np.ndarray:
    """Of four directions, and a little of the others."""
    rng = np.random.default_rng(seed)
    few = rng.standard_normal((3, 5, 4)) @ MIXED
    return (few + 0.01 * rng.standard_normal((3, 5, 24)) + 2).astype(np.float32)


def message(seed: int, topic: str = FEATURES, values: np.ndarray | None = None) -> Message:
    coded = to_float32(features(seed) if values is None else values)
    time = STORE.types["builtin_interfaces/msg/Time"](sec=seed, nanosec=7)
    header = STORE.types["std_msgs/msg/Header"](stamp=time, frame_id="front")
    image = STORE.types[IMAGE](header, coded.height, coded.width, coded.encoding, 0, coded.step, coded.data)
    return Message(Topic(topic, IMAGE, definition(IMAGE)), seed, bytes(STORE.serialize_cdr(image, IMAGE)))


def decoded(messages: list[Message]) -> dict[str, list]:
    """What is recorded, by topic."""
    found: dict[str, list] = {}
    for each in messages:
        found.setdefault(each.topic.name, []).append(STORE.deserialize_cdr(each.data, each.topic.msgtype))
    return found


def coded(coding: FeatureCoding, seeds: range) -> list[Message]:
    return [made for seed in seeds for made in coding.prepare(message(seed))]


@pytest.mark.parametrize(("name", "encoding"), [("float16", "16FC24"), ("int8", "8SC24+32FC1")])
def test_features_are_coded_with_their_headers_and_the_error_is_told_once(name, encoding):
    found = decoded(coded(FeatureCoding({FEATURES}, name, 4), range(5)))
    for seed, image in enumerate(found[FEATURES]):
        assert (image.encoding, image.header.stamp.sec, image.header.frame_id) == (encoding, seed, "front")
        assert relative_error(features(seed), msg_to_features(image)) < 0.01
    (told,) = found[f"{FEATURES}/coding"]
    content = json.loads(told.data)
    assert (content["coding"], content["encoding"]) == (name, encoding)
    assert "at most" in content["error"]


def test_other_topics_and_exact_features_pass_as_they_are():
    other = message(0, "/perception/front/cls_token")
    assert FeatureCoding({FEATURES}, "int8", 4).prepare(other) == [other]
    assert FeatureCoding({FEATURES}, "float32", 4).prepare(message(1)) == [message(1)]


def test_a_basis_is_made_of_the_first_features_and_none_is_lost():
    coding = FeatureCoding({FEATURES}, "pca", 4)
    assert coded(coding, range(FITTED - 1)) == []
    messages = coded(coding, range(FITTED - 1, FITTED + 5))
    assert coding.end() == []
    assert [each.time_ns for each in messages if each.topic.name == FEATURES] == list(range(FITTED + 5))
    names = [each.topic.name for each in messages]
    assert names[:3] == [f"{FEATURES}/basis", f"{FEATURES}/coding", FEATURES]
    assert all(each.topic.latched == (each.topic.name != FEATURES) for each in messages)
    found = decoded(messages)
    basis = Basis.of_message(found[f"{FEATURES}/basis"][0])
    assert basis.components.shape == (4, 24)
    for seed, image in enumerate(found[FEATURES]):
        assert relative_error(features(seed), msg_to_features(image, basis)) < 0.02
    assert "of the variance" in json.loads(found[f"{FEATURES}/coding"][0].data)["error"]


def test_a_recording_that_ends_before_has_its_features_all_the_same():
    coding = FeatureCoding({FEATURES}, "pca", 4)
    coded(coding, range(3))
    found = decoded(coding.end())
    basis = Basis.of_message(found[f"{FEATURES}/basis"][0])
    assert len(found[FEATURES]) == 3
    assert relative_error(features(2), msg_to_features(found[FEATURES][2], basis)) < 0.02
    coding.begin()
    assert coding.end() == []


def test_a_basis_that_fits_no_more_is_made_anew():
    coding = FeatureCoding({FEATURES}, "pca", 4)
    messages = coded(coding, range(FITTED))
    turned = np.random.default_rng(9).permutation(24)
    for seed in range(60):
        messages += coding.prepare(message(100 + seed, values=features(seed)[..., turned] * 3))
    bases = [Basis.of_message(each) for each in decoded(messages)[f"{FEATURES}/basis"]]
    assert len(bases) == 2
    last = decoded(messages)[FEATURES][-1]
    assert relative_error(features(59)[..., turned] * 3, msg_to_features(last, bases[-1])) < 0.02


def test_a_message_that_holds_no_features_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        FeatureCoding({FEATURES}, "int8", 4).prepare(message(0, values=np.full((2, 2, 8), np.nan, np.float32)))


def far_apart(coding: FeatureCoding, seconds: float, count: int) -> list[Message]:
    made = []
    for index in range(count):
        one = message(index)
        made += coding.prepare(Message(one.topic, round(index * seconds * 1e9), one.data))
    return made


def test_feature_maps_wait_for_a_basis_no_longer_than_a_moment():
    coding = FeatureCoding({FEATURES}, "pca", 4)
    assert len(decoded(far_apart(coding, 0.3, 3)).get(FEATURES, [])) == 3, "at 3 Hz the third is more than 0.5 s later"
    assert coding.end() == []


def test_a_map_that_cannot_be_coded_spoils_no_other():
    told: list[str] = []
    coding = FeatureCoding({FEATURES}, "pca", 4, told.append)
    bad = features(3)
    bad[0, 0, 0] = 3e5
    made: list[Message] = []
    for seed in range(FITTED + 4):
        made += coding.prepare(message(seed, values=bad if seed == 3 else None))
    assert len(told) == 1
    assert "a message was not recorded: features: got a value of" in told[0]
    found = decoded(made)
    basis = Basis.of_message(found[f"{FEATURES}/basis"][-1])
    seeds = [seed for seed in range(FITTED + 4) if seed != 3]
    for seed, image in zip(seeds, found[FEATURES], strict=True):
        assert relative_error(features(seed), msg_to_features(image, basis)) < 0.05, seed


def test_a_map_that_cannot_be_coded_later_changes_no_basis():
    coding = FeatureCoding({FEATURES}, "pca", 4)
    coded(coding, range(FITTED))
    other = np.random.default_rng(5).standard_normal((3, 5, 24)).astype(np.float32)
    made: list[Message] = []
    for seed in range(100, 160):
        values = other * (1e6 if seed % 7 == 0 else 1) + seed
        with suppress(ValueError):
            made += coding.prepare(message(seed, values=values.astype(np.float32)))
    found = decoded(made)
    assert len(found[f"{FEATURES}/basis"]) >= 1
    last = Basis.of_message(found[f"{FEATURES}/basis"][-1])
    assert relative_error(other + 159, msg_to_features(found[FEATURES][-1], last)) < 0.05


def test_a_basis_that_tells_everything_is_not_made_anew():
    coding = FeatureCoding({FEATURES}, "pca", 24)
    assert len(decoded(coded(coding, range(120)))[f"{FEATURES}/basis"]) == 1
