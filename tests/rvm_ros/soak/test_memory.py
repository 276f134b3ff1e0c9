"""Growth of memory by its arithmetic."""

import pytest

pytest.importorskip("rclpy")

from rvm_ros.soak.memory import SAMPLES, MemoryRecord
from rvm_ros.soak.report import Report
from rvm_ros.soak.subject import Memory

pytestmark = pytest.mark.ros


def record(by_frames: dict[int, int]) -> MemoryRecord:
    """What is recorded where a process has so many MB after so many frames."""
    now = [0]
    memory = MemoryRecord(lambda: Memory(now[0] * 10**6, now[0] * 10**6 // 2))
    for frames, megabytes in by_frames.items():
        for outlier in (0, 50, *[0] * (SAMPLES - 2), 999):  # The last is one too many.
            now[0] = megabytes + outlier
            memory.note(frames)
    return memory


def test_the_median_of_some_rounds_counts_from_the_first_thousand_frames_on():
    assert record({10: 5, 1004: 100, 2999: 130}).megabytes() == {1000: (100, 50), 2000: (130, 65)}


@pytest.mark.parametrize(("last", "holds"), [(100.9, True), (102, False)])
def test_growth_is_checked_since_the_beginning(last, holds):
    report = Report("torch", 0)
    record({1000: 100, 2000: 150, 3000: last}).conclude(report, "part", all_the_way=True)
    assert [check.holds for check in report.checks] == [holds]


@pytest.mark.parametrize(("last", "holds"), [(121, True), (124, False)])
def test_where_the_heap_has_to_settle_the_last_quarter_is_compared_with_the_one_before(last, holds):
    report = Report("torch", 0)
    values = [100, 110, 115, 118, 119, 121, last, 120]
    record({1000 * (i + 1): value for i, value in enumerate(values)}).conclude(report, "part", all_the_way=False)
    assert [check.holds for check in report.checks] == [holds]
    assert report.figures["part: growth of memory from 1000 to 8000 frames, %"] == 20


def test_one_measurement_is_no_growth():
    report = Report("torch", 0)
    record({1000: 100}).conclude(report, "part", all_the_way=True)
    assert report.checks == []
