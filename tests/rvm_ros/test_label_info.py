"""The list of labels as vision_msgs has it. vision_msgs is not on PyPI: a stand-in has its fields."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

pytest.importorskip("builtin_interfaces.msg")

from builtin_interfaces.msg import Time

from rvm_model.segmentation import Label, LabelTable
from rvm_ros import label_info

TABLE = LabelTable("readout", (Label(0, "floor", (1, 2, 3)), Label(7, "robot", (4, 5, 6))), 255)


class LabelInfo(SimpleNamespace):
    def __init__(self) -> None:
        super().__init__(header=SimpleNamespace(stamp=None), class_map=[], threshold=None)


@pytest.fixture
def vision_msgs(monkeypatch):
    """Function putting a module of these names in place of vision_msgs.msg."""

    def put(**names) -> None:
        module = ModuleType("vision_msgs.msg")
        vars(module).update(names)
        monkeypatch.setitem(sys.modules, "vision_msgs", ModuleType("vision_msgs"))
        monkeypatch.setitem(sys.modules, "vision_msgs.msg", module)
        label_info.label_info_type.cache_clear()

    yield put
    label_info.label_info_type.cache_clear()


def test_every_label_is_in_the_message_with_its_value_and_name(vision_msgs):
    vision_msgs(LabelInfo=LabelInfo, VisionClass=SimpleNamespace)
    assert label_info.label_info_type() is LabelInfo
    message = label_info.label_info(TABLE, Time(sec=3))
    assert message.header.stamp.sec == 3
    assert [(each.class_id, each.class_name) for each in message.class_map] == [(0, "floor"), (7, "robot")]
    assert message.threshold == 0.0


def test_without_vision_msgs_or_with_one_that_is_too_old_there_is_none(vision_msgs, monkeypatch):
    vision_msgs(VisionClass=SimpleNamespace)
    assert label_info.label_info_type() is None
    label_info.label_info_type.cache_clear()
    monkeypatch.setitem(sys.modules, "vision_msgs.msg", None)
    assert label_info.label_info_type() is None
