"""What the counts of a camera mean."""

import pytest

pytest.importorskip("diagnostic_msgs.msg")

from diagnostic_msgs.msg import DiagnosticStatus

from rvm_model.engines import EngineInfo
from rvm_ros.diagnostics import CameraCounts, camera_status

INFO = EngineInfo("openvino", "sha256:0", True, "cpu", "int8", 480, 640, 16, 384, rest="bf16")


def told(counts, now_s):
    return camera_status("/p", "front", counts, INFO, state_age=3, now_s=now_s, stale_after_s=2.0)


def counts(arrived=(), done=(), **numbers):
    result = CameraCounts(since_s=100.0, received=len(arrived), processed=len(done), **numbers)
    for time_s in arrived:
        result.arrivals.note(time_s)
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
    status = told(counts((101, 103, 104), refused=2, duplicates=1), 104.0)
    assert status.level == DiagnosticStatus.ERROR
    assert "none was processed for 4.0 s; so far 2 refused, 1 duplicates, 0 late, 0 failed" in status.message
    late = told(counts((101, 104), (101.1,), failed=5), 104.1)
    assert (late.level, "5 failed" in late.message) == (DiagnosticStatus.ERROR, True)
    assert told(counts((101,)), 101.5).level == DiagnosticStatus.OK, "it may still be at it"
