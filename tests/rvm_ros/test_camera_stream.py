"""One camera's messages, judged as they arrive and decoded later."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("rclpy")

from rvm_model.messages.image_headers import ImageError
from rvm_model.messages.judge import Due
from rvm_ros import camera_stream
from rvm_ros.camera_stream import CameraStream, StreamSettings

pytestmark = pytest.mark.ros


class Port:
    def check(self, message):
        if message.header.stamp.sec > 1_000_000:
            raise ImageError("got step 0 of 'rgb8'")

    def to_array(self, message):
        if isinstance(message.image, Exception):
            raise message.image
        return message.image


class Told(list):
    def error(self, text, **_):
        self.append(text)

    warning = info = error


class Bench:
    """A stream with its log and a clock."""

    def __init__(self) -> None:
        self.told, self.now_s = Told(), 0.0
        self.stream = CameraStream(
            Port(), StreamSettings(), lambda image: torch.zeros(1), self.told, lambda: int(self.now_s * 1e9)
        )

    def set(self, **settings) -> None:
        before = self.stream.settings
        rules = {name: settings.pop(name) for name in ("max_gap_s", "on_gap") if name in settings}
        self.stream.settings = dataclasses.replace(before, rules=dataclasses.replace(before.rules, **rules), **settings)

    def pass_through(self, message):
        """What comes of a message that is taken at once."""
        received = self.stream.arrive(message)
        return None if received is None else self.stream.decode(received)

    def __getitem__(self, what: str) -> int:
        return self.stream.counts[what]


@pytest.fixture
def bench():
    return Bench()


def message(stamp_s: float, size: int = 2, frame_id: str = "front"):
    nanoseconds = round(stamp_s * 1e9)
    stamp = SimpleNamespace(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
    return SimpleNamespace(
        image=np.zeros((size, size, 3), np.uint8), header=SimpleNamespace(stamp=stamp, frame_id=frame_id)
    )


def broken(stamp_s: float, error: Exception):
    result = message(stamp_s)
    result.image = error
    return result


def test_frames_in_order_owe_nothing(bench):
    assert [bench.pass_through(message(stamp)).due for stamp in (1.0, 1.1, 1.9)] == [Due()] * 3


@pytest.mark.parametrize(
    ("on_gap", "expected"), [("reset", Due(reset="gap")), ("continue", Due()), ("decay", Due(decay_s=2.0))]
)
def test_a_gap_does_what_is_asked_for_and_is_counted(bench, on_gap, expected):
    bench.set(on_gap=on_gap)
    bench.stream.arrive(message(1.0))
    assert bench.stream.arrive(message(3.0)).due == expected
    assert bench["gaps"] == 1


@pytest.mark.parametrize("on_gap", ["reset", "continue", "decay"])
def test_time_that_goes_back_starts_anew_whatever_a_gap_does(bench, on_gap):
    bench.set(on_gap=on_gap)
    for stamp_s in (10.0, 10.5, 11.0, 12.0):
        bench.stream.arrive(message(stamp_s))
    assert bench.stream.arrive(message(10.0)).due == Due(reset="bag loop")
    assert bench.stream.arrive(message(2.0)).due == Due(reset="backwards")


def test_the_largest_gap_can_be_changed_while_frames_come(bench):
    bench.stream.arrive(message(1.0))
    bench.set(max_gap_s=10.0)
    assert bench.stream.arrive(message(5.0)).due == Due()


def test_what_a_dropped_message_owed_is_taken_over():
    assert Due(decay_s=2.0).then(Due(decay_s=3.0)) == Due(decay_s=5.0)
    assert Due(decay_s=2.0).then(Due(reset="gap")) == Due(reset="gap")
    assert Due(reset="gap").then(Due(decay_s=3.0)) == Due(reset="gap", decay_s=3.0)
    assert Due(reset="gap").then(Due(reset="bag loop")) == Due(reset="bag loop")


def test_duplicates_and_late_frames_do_not_go_in(bench):
    assert [bench.stream.arrive(message(s)) is None for s in (1.0, 1.1, 1.1, 1.05, 1.2)] == [
        False, False, True, True, False,
    ]  # fmt: skip
    assert (bench["received"], bench["duplicates"], bench["late"]) == (5, 1, 1)


def test_the_rate_is_limited_by_the_stamps_and_what_was_left_out_owes_on(bench):
    bench.set(max_rate_hz=5.0, on_gap="decay")
    taken = [bench.stream.arrive(message(1 + tenth / 10)) is not None for tenth in range(10)]
    assert taken == [True, False] * 5
    assert bench["limited"] == 5
    bench.set(max_rate_hz=0.1)
    assert bench.stream.arrive(message(2.0)) is not None
    assert bench.stream.arrive(message(4.0)) is None
    assert bench.stream.arrive(message(4.1)) is None
    bench.set(max_rate_hz=0.0)
    assert bench.stream.arrive(message(4.2)).due == Due(decay_s=2.0)


def test_a_frame_after_a_reset_is_taken_whatever_the_rate(bench):
    bench.set(max_rate_hz=0.01)
    bench.stream.arrive(message(100.0))
    assert bench.stream.arrive(message(50.0)).due.reset == "backwards"


def test_stale_frames_are_left_out_by_the_nodes_clock_and_told_once(bench):
    bench.now_s = 10.0
    bench.set(max_age_s=0.5)
    assert bench.stream.arrive(message(9.6)) is not None
    for stamp_s in (9.3, 9.4):
        assert bench.stream.arrive(message(stamp_s)) is None
    assert bench["stale"] == 2
    assert ["0.700 s old" in line for line in bench.told] == [True]
    bench.set(max_age_s=0.0)
    assert bench.stream.arrive(message(9.7)) is not None


def test_frames_of_another_camera_are_refused_where_this_ones_name_is_given(bench):
    bench.set(frame_id="front")
    assert bench.stream.arrive(message(1.0, frame_id="rear")) is None
    assert bench.stream.arrive(message(1.1, frame_id="front")) is not None
    assert bench["refused"] == 1
    assert "got frame_id 'rear', expected 'front'" in bench.told[0]


def test_another_frame_id_than_before_is_another_camera(bench):
    bench.stream.arrive(message(1.0, frame_id="front"))
    assert bench.stream.arrive(message(1.1, frame_id="rear")).due == Due(reset="frame_id changed")
    assert bench.stream.arrive(message(1.2, frame_id="rear")).due == Due()


def test_another_image_size_than_before_starts_anew(bench):
    assert bench.pass_through(message(1.0)).due == Due()
    assert bench.pass_through(message(1.1, size=5)).due == Due(reset="image size changed")
    assert bench.pass_through(message(1.2, size=5)).due == Due()


def test_nonsense_is_refused_and_its_stamp_is_not_believed(bench):
    bench.stream.arrive(message(1.0))
    assert bench.stream.arrive(message(2_000_000.0)) is None
    assert bench.stream.arrive(message(1.1)).due == Due()
    assert bench["refused"] == 1
    assert bench.told == ["image refused: got step 0 of 'rgb8' (1 refused so far)"]


@pytest.mark.parametrize("error", [ImageError("got step 1"), MemoryError(), RuntimeError("foreign code")])
def test_an_image_that_cannot_be_decoded_is_refused_with_its_reason(bench, error):
    assert bench.pass_through(broken(1.0, error)) is None
    assert bench["refused"] == 1
    assert str(error) in bench.told[-1]
    assert ("Traceback" in bench.told[-1]) == (not isinstance(error, ImageError)), "where nobody expected it"


def test_what_an_image_owed_that_could_not_be_decoded_is_not_lost(bench):
    bench.pass_through(message(1.0))
    assert bench.pass_through(broken(3.0, ImageError("cut off"))) is None
    assert bench.pass_through(message(3.1)).due == Due(reset="gap")
    assert bench.pass_through(message(3.2)).due == Due()


def test_a_camera_that_was_not_seen_for_long_starts_anew(bench):
    bench.pass_through(message(1.0))
    for tenth in range(11, 15):
        bench.pass_through(broken(tenth / 10, ImageError("cut off")))
    assert bench.pass_through(message(1.5)).due == Due(), "half a second was not seen"
    for tenth in range(16, 30):
        bench.pass_through(broken(tenth / 10, ImageError("cut off")))
    assert bench.pass_through(message(3.0)).due == Due(reset="gap")
    assert bench.pass_through(message(3.1)).due == Due()


def test_a_jump_of_the_clock_is_the_next_frames_reset_and_its_stamp_is_compared_with_none(bench):
    bench.stream.arrive(message(100.0))
    bench.stream.start_anew("clock jump")
    assert bench.stream.arrive(message(3.0)).due == Due(reset="clock jump")
    assert bench.stream.arrive(message(3.1)).due == Due()


def test_after_a_state_was_loaded_the_next_frame_goes_on_whatever_its_stamp(bench):
    bench.stream.arrive(message(100.0))
    bench.stream.go_on()
    assert bench.stream.arrive(message(3.0)).due == Due()


def refused(stream: CameraStream, text: str, elsewhere: bool = False) -> None:
    try:
        if elsewhere:
            raise ImageError(text)
        raise ImageError(text)
    except ImageError as error:
        stream.refuse(error)


def test_a_kind_of_refusal_is_told_once_in_a_while_and_hides_no_other(bench, monkeypatch):
    clock = SimpleNamespace(monotonic=lambda: clock.now_s, now_s=100.0)
    monkeypatch.setattr(camera_stream, "time", clock)
    for number in range(50):
        refused(bench.stream, f"got {number} bytes of {number:x}")
        refused(bench.stream, f"got encoding {number}", elsewhere=True)
    assert len(bench.told) == 2
    clock.now_s += 2 * camera_stream.LOG_PERIOD_S
    refused(bench.stream, "got 7 bytes of 'rgb8'")
    assert bench.told[-1] == "image refused: got 7 bytes of 'rgb8' (101 refused so far)"


def test_what_a_message_holds_is_told_in_letters_that_are_shown_and_not_at_length(bench):
    refused(bench.stream, f"got encoding {'x' * 100_000}\x1b[2J\n, expected rgb8")
    assert len(bench.told[0]) < 2 * camera_stream.LONGEST
    assert bench.told[0].isprintable()
    assert "expected rgb8" in bench.told[0]


@pytest.mark.parametrize("nanosec", [10**9, 2**32 - 1])
def test_a_stamp_that_is_none_is_refused(bench, nanosec):
    bench.stream.arrive(message(1.0))
    wrong = message(1.1)
    wrong.header.stamp.nanosec = nanosec
    assert bench.stream.arrive(wrong) is None
    assert "the nanoseconds of a stamp are less than 1000000000" in bench.told[0]
    assert bench.stream.arrive(message(1.2)).due == Due()


def test_a_snapshot_that_is_loaded_forgets_what_could_not_be_seen_before(bench):
    bench.pass_through(message(10.0))
    bench.pass_through(broken(10.5, ImageError("damaged")))
    bench.stream.go_on()
    assert bench.pass_through(message(900.0)).due == Due()


def test_a_limited_camera_whose_stamps_become_zero_is_taken(bench):
    bench.set(max_rate_hz=5.0)
    assert bench.stream.arrive(message(1_000.0)) is not None
    assert bench.stream.arrive(message(0.0)) is not None


def test_a_damaged_image_does_not_hide_that_the_frame_id_changed_back(bench):
    bench.pass_through(message(1.0))
    assert bench.pass_through(message(1.1, frame_id="rear")).due.reset == "frame_id changed"
    assert bench.pass_through(broken(1.2, ImageError("damaged"))) is None
    assert bench.pass_through(message(1.3)).due.reset == "frame_id changed"
