"""The short form of `make soak`, and that it notices what does not hold."""

import json
from collections import Counter

import pytest

pytest.importorskip("rclpy")

from rvm_ros.soak import exact
from rvm_ros.soak.report import Report, check_log
from rvm_ros.soak.session import SoakOptions, run
from rvm_ros.soak.subject import Log

pytestmark = pytest.mark.ros


@pytest.mark.slow
def test_a_node_stands_hostile_messages_of_every_kind(tmp_path):
    report = run(SoakOptions(hostile=1500, steady=0, flood=300, prompts=120, ends=0, show=False))
    assert report.holds, report.summary()
    assert report.figures[f"{exact.HOSTILE}: hostile messages"] >= 1500
    assert report.figures[f"{exact.HOSTILE}: frames taken in"] >= 1500
    report.write(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["holds"]


LINES = """\
[INFO] [100.000000000] [rvm_soak.perception]: engine: torch
[ERROR] [100.100000000] [rvm_soak.perception.raw]: image refused: got encoding 'a', expected rgb8 (1 so far)
[ERROR] [100.200000000] [rvm_soak.perception.jpeg]: image refused: got encoding 'a', expected rgb8 (1 so far)
{more}
"""


@pytest.fixture
def read(tmp_path):
    """Function reading a log of LINES and more."""

    def make(more: str) -> Log:
        (tmp_path / "node.log").write_text(LINES.format(more=more))
        return Log.read(tmp_path / "node.log")

    return make


@pytest.mark.parametrize(("at_s", "too_often"), [(104.5, 1), (105.1, 0)])
def test_a_kind_of_line_that_comes_too_soon_is_noticed(read, at_s, too_often):
    again = 'image refused: got encoding "it\'s", expected rgb8 (2 so far)'
    log = read(f"[ERROR] [{at_s}] [rvm_soak.perception.raw]: {again}")
    assert len(log.too_often()) == too_often
    assert log.strange == []


def test_what_libraries_print_is_noticed_and_what_the_middleware_says_of_unreadable_messages_is_counted(read):
    block = (
        "\n>>> [rcutils|error_handling.c:108] rcutils_set_error_state()\nThis error state is being overwritten:\n\n"
        "  'Fast CDR exception deserializing message'\n\nwith this new error message:\n\n  'x'\n\n<<<"
    )
    log = read(f"libpng error: IDAT: CRC error\nsequence size exceeds remaining buffer{block}")
    assert log.strange == ["libpng error: IDAT: CRC error"]
    assert log.on_the_wire == 2


@pytest.mark.parametrize(("refused", "missing"), [({}, 0), ({"unknown encoding": 1}, 0), ({"no pixels": 2}, 1)])
def test_a_kind_of_refusal_that_was_not_told_is_noticed(read, refused, missing):
    report = Report("torch", 0)
    check_log(report, "part", read(""), Counter({("raw", kind): number for kind, number in refused.items()}))
    assert [check.holds for check in report.checks] == [not missing, True, True, True]


def test_one_check_that_does_not_hold_is_enough(tmp_path):
    report = Report("torch", 0)
    assert not report.holds, "nothing was checked"
    report.check("a", 1, 1)
    assert report.holds
    report.check_at_most("b", 2.0, 1.0, "%")
    assert not report.holds
    assert report.table().splitlines()[-1].startswith("FAIL  b")
