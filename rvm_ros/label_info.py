"""The list of labels as vision_msgs has it, on machines where vision_msgs is installed; it is not on PyPI."""

from __future__ import annotations

import functools
import importlib
from typing import Any

from builtin_interfaces.msg import Time

from rvm_model.segmentation import LabelTable


@functools.cache
def label_info_type() -> type[Any] | None:
    """`vision_msgs/msg/LabelInfo`, or None where it cannot be imported: the JSON list says the same."""
    try:
        found: type[Any] = importlib.import_module("vision_msgs.msg").LabelInfo
    except (ImportError, AttributeError):  # Not there, or older than LabelInfo.
        return None
    return found


def label_info(table: LabelTable, stamp: Time) -> Any:
    """The message: every label with its value and name; no threshold, for the largest score wins."""
    message = importlib.import_module("vision_msgs.msg")
    info = message.LabelInfo()
    info.header.stamp = stamp
    info.class_map = [message.VisionClass(class_id=label.id, class_name=label.name) for label in table.labels]
    info.threshold = 0.0
    return info
