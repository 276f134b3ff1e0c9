"""The readouts by their names."""

from __future__ import annotations

import inspect
from typing import Any

from rvm_training.readout.actions import Classification
from rvm_training.readout.boxes import Boxes
from rvm_training.readout.depth import Depth
from rvm_training.readout.points import Points
from rvm_training.readout.segmentation import Segmentation
from rvm_training.readout.task import Task

_ALL: tuple[type[Task], ...] = (Classification, Depth, Boxes, Points, Segmentation)
READOUTS: dict[str, type[Any]] = {task.name: task for task in _ALL}
"""Name on the command line to the class, which takes a folder, clips, and `options` by name."""


def options(name: str) -> set[str]:
    """Names of what a task takes beside the folder and clips."""
    parameters = inspect.signature(READOUTS[name]).parameters.values()
    return {each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}
