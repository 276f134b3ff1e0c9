"""The table of the paper's form, its normalised average among it."""

import math
from dataclasses import replace

import pytest

from rvm_training.evaluation.models import ModelInfo
from rvm_training.evaluation.result import Result
from rvm_training.evaluation.table import HEADLINES, KEPT, Headline, tabulate


def result(protocol, model, value, data="made"):
    info = ModelInfo(model, "recurrent", "sha256:0", True, "fp32", "torch on cpu", 16)
    return Result(protocol, info, data, {}, {HEADLINES[protocol].metric: value})


def test_the_average_is_of_shares_of_the_best():
    table = tabulate(
        [
            result("vip", "a", 0.30), result("davis-2017", "a", 0.60), result("jhmdb", "a", 50.0),
            result("davis-2017", "b", 0.45), result("jhmdb", "b", 40.0), result("vip", "b", 0.40),
        ]
    )  # fmt: skip
    assert table.columns == ("DAVIS J&F", "JHMDB PCK@0.1", "VIP mIoU", "normalised average")
    (a, a_values), (b, b_values) = table.rows
    assert (a, b) == ("a", "b")
    assert a_values == pytest.approx((60, 50, 30, 100 * (1 + 1 + 0.75) / 3))
    assert b_values == pytest.approx((45, 40, 40, 100 * (0.75 + 0.8 + 1) / 3))
    assert table.best == (0, 0, 1, 0)
    assert table.markdown().splitlines()[2] == "| a | **60.0** | **50.0** | 30.0 | **91.7** |"


def test_less_is_better_where_it_is(monkeypatch):
    monkeypatch.setitem(HEADLINES, "depth", Headline("AbsRel", "AbsRel", lower_is_better=True))
    table = tabulate(
        [result("depth", "a", 2.0), result("depth", "b", 1.0), result("vip", "a", 0.5), result("vip", "b", 0.5)]
    )
    assert table.best == (0, 1, 1)
    assert [values[-1] for _, values in table.rows] == [75.0, 100.0]


def test_a_model_that_lacks_a_task_has_no_average():
    table = tabulate([result("vip", "a", 0.3), result("vip", "b", 0.2), result("jhmdb", "b", 40.0)])
    values = dict(table.rows)
    assert math.isnan(values["a"][-1])
    assert math.isnan(values["a"][0])
    assert values["b"][-1] == pytest.approx(100 * (1 + 2 / 3) / 2)
    assert "| a |  | **30.0** |  |" in table.markdown()


def test_what_stays_where_it_was_is_a_row_that_no_model_is_measured_by():
    davis, boxes = (
        replace(each, metrics={**each.metrics, HEADLINES[each.protocol].kept: 0.5})
        for each in (result("davis-2017", "a", 0.4), result("boxes", "a", 0.6))
    )
    table = tabulate([davis, boxes, result("vip", "a", 0.3)])
    assert table.best == (0, 0, 0, 0)
    (_, of_model), (name, of_kept) = table.rows
    assert of_model == (40, 30, 60, 100)
    assert name == KEPT
    assert of_kept == pytest.approx((50, math.nan, 50, math.nan), nan_ok=True)
    assert KEPT not in dict(tabulate([result("vip", "a", 0.3)]).rows)


def test_figures_on_data_that_were_made_say_so():
    table = tabulate([result("vip", "a", 0.3, "vip val (made)"), result("jhmdb", "a", 30.0, "jhmdb val")])
    assert table.columns[:2] == ("JHMDB PCK@0.1", "VIP mIoU (made)")


def test_a_task_in_which_all_have_nothing_does_not_count():
    table = tabulate([result("vip", "a", 0.3), result("points", "a", 0.0), result("points", "b", 0.0)])
    assert dict(table.rows)["a"][-1] == 100
    alone = tabulate([result("points", "a", 0.0), result("vip", "a", 0.0)])
    assert math.isnan(dict(alone.rows)["a"][-1])


def test_results_that_cannot_stand_in_one_table_are_refused():
    with pytest.raises(ValueError, match="got two results of a in vip"):
        tabulate([result("vip", "a", 0.3), result("vip", "a", 0.4)])
    with pytest.raises(ValueError, match="got vip on made and other, expected the same data"):
        tabulate([result("vip", "a", 0.3), result("vip", "b", 0.4, "other")])
    other = replace(result("vip", "b", 0.4), settings={"top_k": 3})
    with pytest.raises(ValueError, match='got vip with settings {} and {"top_k": 3}, expected the same'):
        tabulate([result("vip", "a", 0.3), other])
    other = replace(result("jhmdb", "a", 30.0), model=replace(other.model, name="a", weights="sha256:1"))
    with pytest.raises(ValueError, match="got different weights called a"):
        tabulate([result("vip", "a", 0.3), other])
    with pytest.raises(ValueError, match="got a result of vip for a without 'mIoU', expected one by this version"):
        tabulate([replace(result("vip", "a", 0.3), metrics={"IoU": 0.3})])
    with pytest.raises(ValueError, match="got no result of davis-2017"):
        tabulate([])
