"""What the counts of a camera mean."""

import pytest

pytest.importorskip("diagnostic_msgs.msg")

from diagnostic_msgs.msg import DiagnosticStatus

from rvm_model.engines import EngineInfo
from rvm_ros.counts import COUNTED, CameraCounts
from rvm_ros.diagnostics import Thresholds, camera_status, engine_values, memory_values

INFO = EngineInfo("openvino", "sha256:0", True, "cpu", "int8", 480, 640, 16, 384, rest="bf16")


THRESHOLDS = Thresholds(stale_after_s=2.0, idle_after_s=2.0, warn_latency_s=0.5, error_latency_s=1.0, warn_resets=3)


def told(counts, now_s, publishers=""):
    return camera_status(
        "/p", "front", counts, INFO, state_age=3, now_s=now_s, thresholds=THRESHOLDS, publishers=publishers
    )


def counts(arrived=(), done=(), **numbers):
    result = CameraCounts()
    for what, number in {"received": len(arrived), "processed": len(done), **numbers}.items():
        for _ in range(number):
            result.add(what)
    for time_s in arrived:
        result.note_arrival(time_s)
    for time_s in done:
        result.completions.note(time_s)
    return result


def test_before_the_first_image_it_warns():
    status = told(counts(), 100.5)
    assert (status.level, status.message) == (DiagnosticStatus.WARN, "no images have arrived since activation")


def test_frames_in_and_out_are_ok_with_their_rates():
    status = told(counts((101, 101.1, 101.2), (101.05, 101.25)), 101.25)
    assert (status.level, status.message) == (DiagnosticStatus.OK, "running")
    values = {each.key: each.value for each in status.values}
    assert (values["input_hz"], values["output_hz"]) == ("10.00", "5.00")
    assert (values["engine"], values["state_age_frames"]) == ("openvino int8 and bf16 640x480", "3")


def test_a_slow_camera_does_not_flap():
    slow = counts((100, 101.5, 103), (100.1, 101.6, 103.1))
    assert {told(slow, 103.1 + 0.1 * i).level for i in range(15)} == {DiagnosticStatus.OK}


def test_a_camera_that_fell_silent_is_stale():
    status = told(counts((101,), (101.1,)), 104.0)
    assert (status.level, status.message) == (DiagnosticStatus.STALE, "no images for 3.0 s")


def test_images_of_which_none_is_processed_are_an_error_with_the_reasons():
    status = told(counts((101, 102, 103, 104), refused=2, duplicates=1), 104.0)
    assert status.level == DiagnosticStatus.ERROR
    assert "none was processed for 3.0 s; so far 2 refused, 0 stale, 1 duplicates, 0 late, 0 failed" in status.message
    late = told(counts((101, 102, 103, 104), (101.1,), failed=5), 104.1)
    assert (late.level, "5 failed" in late.message) == (DiagnosticStatus.ERROR, True)
    assert told(counts((101,)), 101.5).level == DiagnosticStatus.OK, "it may still be at it"


def test_who_sends_is_told_where_nothing_comes():
    status = told(counts((101,), (101.1,)), 104.0, "0 publishers on /front/image_raw")
    assert status.message == "no images for 3.0 s; 0 publishers on /front/image_raw"
    assert "1 publishers" in told(counts(), 104.0, "1 publishers on /front/image_raw").message


@pytest.mark.parametrize(
    ("latency_ms", "level"),
    [(400, DiagnosticStatus.OK), (500, DiagnosticStatus.WARN), (1000, DiagnosticStatus.ERROR)],
)
def test_latency_is_judged_by_its_thresholds(latency_ms, level):
    slow = counts((101,), (101.1,))
    slow.latency.record({"wait": latency_ms, "convert": 0, "engine": 0, "heads": 0, "publish": 0})
    status = told(slow, 101.2)
    assert status.level == level
    assert ("latency" in status.message) == (level != DiagnosticStatus.OK)


def test_resets_within_a_minute_warn_with_the_last_reason():
    restless = counts((101, 200), (200,))
    for time_s, reason in ((120, "gap"), (190, "gap"), (195, "gap"), (199, "backwards")):
        restless.note_reset(reason, 7, time_s)
    status = told(restless, 200.0)
    assert (status.level, "3 times in the last minute, last: backwards" in status.message) == (
        DiagnosticStatus.WARN,
        True,
    )
    values = {each.key: each.value for each in status.values}
    assert (values["resets"], values["resets_by_reason"]) == ("4", "backwards: 1, gap: 3")
    restless.note_arrival(270.0)
    restless.completions.note(270.0)
    assert told(restless, 270.0).level == DiagnosticStatus.OK, "all but two are longer ago"


def test_every_count_is_told():
    many = CameraCounts()
    for index, what in enumerate(COUNTED):
        for _ in range(index):
            many.add(what)
    values = {each.key: each.value for each in told(many, 100.0).values}
    assert [values[what] for what in COUNTED] == [str(index) for index in range(len(COUNTED))]


def test_the_real_time_between_the_frames_of_a_state_is_told():
    sparse = counts((101,), (101,))
    for seconds in (0.1, 0.1, 0.3):
        sparse.intervals.note(seconds)
    values = {each.key: each.value for each in told(sparse, 101.0).values}
    assert (values["interval_p50_ms"], values["interval_max_ms"]) == ("100.00", "300.00")


def test_what_is_not_counted_cannot_be_added():
    with pytest.raises(ValueError, match="counts: got 'dorpped'"):
        CameraCounts().add("dorpped")


def test_memory_is_that_of_this_process():
    values = memory_values(["cpu"])
    assert 20 < values["memory_mb"] <= values["memory_peak_mb"] + 1
    assert engine_values(INFO)["engine_digest"].startswith("sha256:")


def test_a_camera_that_comes_back_is_given_time_before_it_is_an_error():
    back = counts((101, 101.1, 160.0), (101.15,))
    assert told(back, 160.1).level == DiagnosticStatus.OK
    for time_s in (161, 162, 163):
        back.note_arrival(time_s)
    assert told(back, 163.1).level == DiagnosticStatus.ERROR
