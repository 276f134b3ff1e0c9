"""What is thrown is what its kind says, the same for the same seed."""

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("rclpy")

from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from rvm_model.messages.images import ImageError, compressed_to_array, image_to_array
from rvm_ros.soak.kinds import MAX_PIXELS, Fate, Kind
from rvm_ros.soak.prompts import KINDS as PROMPTS
from rvm_ros.soak.script import JPEG_CAMERA, RAW_CAMERA, STAMPS, Script, kinds, told

pytestmark = pytest.mark.ros
CAMERAS = (RAW_CAMERA, JPEG_CAMERA)


def decoded(message: Image | CompressedImage) -> np.ndarray:
    decode = image_to_array if isinstance(message, Image) else compressed_to_array
    return decode(message, max_pixels=MAX_PIXELS)


def of(index: int) -> list[Kind]:
    return [kind for camera in CAMERAS for kind in kinds(camera)[index]]


@pytest.mark.parametrize("kind", of(0), ids=lambda kind: kind.name)
def test_hostile_messages_are_refused_by_the_reason_of_their_kind(kind):
    rng = np.random.default_rng(0)
    for _ in range(5):
        made = kind.make(rng)
        if isinstance(made.message, bytes):
            assert kind.fate(made) in (Fate.REFUSED, Fate.UNREADABLE)
            continue
        if made.image is not None:  # The decoder cannot know; there is no reason to tell then.
            assert not kind.told
            continue
        with pytest.raises(ImageError, match=".") as raised:
            decoded(made.message)
        assert kind.told in str(raised.value)


@pytest.mark.parametrize("kind", of(1), ids=lambda kind: kind.name)
def test_odd_images_are_decoded_to_the_pixels_that_were_meant(kind):
    rng = np.random.default_rng(0)
    for _ in range(5):
        made = kind.make(rng)
        assert kind.fate(made) is Fate.TAKEN
        np.testing.assert_array_equal(decoded(made.message), made.image)


def sent(camera: str, seed: int, rounds: int) -> list:
    script = Script(camera, np.random.default_rng(seed))
    return [each for _ in range(rounds) for each in script.round()]


@pytest.mark.parametrize("camera", CAMERAS)
def test_every_kind_comes_and_each_round_ends_with_a_good_frame(camera):
    script, seen = Script(camera, np.random.default_rng(1)), Counter()
    for _ in range(120):
        messages = list(script.round())
        seen.update(each.kind for each in messages)
        assert (messages[-1].kind, messages[-1].fate) == ("good frame", Fate.TAKEN)
    hostile, odd = kinds(camera)
    assert {kind.name for kind in (*hostile, *STAMPS)} | set(told(camera)) <= seen.keys()
    assert {kind.name for kind in odd} & seen.keys()
    assert seen["good frame"] >= 120


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_seed_gives_the_same_messages_again(camera):
    def comparable(each) -> tuple:
        message = each.message if isinstance(each.message, bytes) else each.message.data.tobytes()
        return each.kind, each.fate, each.stamp_ns, each.reset, message

    first, again, other = (list(map(comparable, sent(camera, seed, 30))) for seed in (3, 3, 4))
    # What goes over the wire has padding that is never set.
    assert [each[:4] for each in first] == [each[:4] for each in again]
    assert [each for each in first if not each[0].startswith("wire")] == [
        each for each in again if not each[0].startswith("wire")
    ]
    assert first != other


def test_stamps_say_when_the_state_starts_anew():
    for camera in CAMERAS:
        last_ns = None
        for each in sent(camera, 5, 200):
            if each.fate is not Fate.TAKEN or each.stamp_ns == 0:
                continue
            if last_ns is not None and not 0 < each.stamp_ns - last_ns < 60e9:
                assert each.reset, f"{each.kind} at {each.stamp_ns} after {last_ns}"
            last_ns = each.stamp_ns


@pytest.mark.parametrize("kind", PROMPTS)
def test_hostile_prompts_are_messages_that_can_be_sent(kind):
    rng = np.random.default_rng(0)
    assert all(serialize_message(PROMPTS[kind](rng)) for _ in range(10))
