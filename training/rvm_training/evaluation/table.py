"""Results of several models side by side, in the form of the paper's tables 1 and 2.

The normalised average is the paper's: every task relative to the best model of the table, averaged over the tasks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rvm_training.evaluation.propagation import STAYS
from rvm_training.evaluation.result import MADE, Result


@dataclass(frozen=True)
class Headline:
    """The one figure of a protocol that tables show."""

    metric: str
    """Name in the result."""
    title: str
    """Of the column."""
    scale: float = 1.0
    """From the result's unit to the column's."""
    lower_is_better: bool = False
    kept: str = ""
    """Name of the result's figure of what is marked on the first frame and stays where it was; empty where there is
    none."""


KEPT = "the first frame's, kept"
"""Row of those figures: they need no model."""

HEADLINES: dict[str, Headline] = {
    "davis-2017": Headline("J&F-Mean", "DAVIS J&F", 100, kept=STAYS),
    "davis-2016": Headline("J&F-Mean", "DAVIS-2016 J&F", 100, kept=STAYS),
    "jhmdb": Headline("PCK@0.1", "JHMDB PCK@0.1"),
    "vip": Headline("mIoU", "VIP mIoU", 100),
    "classification": Headline("top-1", "classification top-1", 100),
    "points": Headline("average Jaccard", "points AJ", 100, kept="average Jaccard of points that stay"),
    "boxes": Headline("mIoU", "boxes mIoU", 100, kept="mIoU of boxes that stay"),
    "depth": Headline("AbsRel", "depth AbsRel, %", 100, lower_is_better=True),
    "segmentation": Headline("mIoU", "segmentation mIoU", 100),
    "retrieval": Headline("mAP", "retrieval mAP", 100),
    "noise-square": Headline("IoU of a linear readout", "noise square IoU, linear readout", 100),
}
"""Protocol to its figure, in the order of the columns."""


@dataclass(frozen=True)
class Table:
    """Models against protocols."""

    columns: tuple[str, ...]
    """Titles; the last one is the normalised average where there are several protocols."""
    rows: tuple[tuple[str, tuple[float, ...]], ...]
    """Model and its figures, and `KEPT` last where results have it; NaN where there is none."""
    best: tuple[int, ...]
    """Row of the model with the best figure of each column; -1 where there is none."""

    def markdown(self) -> str:
        """The table as Markdown, the best of every column in bold."""
        lines = ["| model | " + " | ".join(self.columns) + " |", "|---|" + "---:|" * len(self.columns)]
        for index, (model, values) in enumerate(self.rows):
            cells = ["" if math.isnan(value) else f"{value:.1f}" for value in values]
            cells = [f"**{cell}**" if index == best else cell for cell, best in zip(cells, self.best, strict=True)]
            lines.append(f"| {model} | " + " | ".join(cells) + " |")
        return "\n".join(lines) + "\n"


def tabulate(results: Sequence[Result]) -> Table:
    """Arrange results.

    Args:
        results: of any models and protocols; those of protocols that have no headline are left out.

    Raises:
        ValueError: two results of one model and protocol, one protocol on different data, or nothing to show.
    """
    shown = [result for result in results if result.protocol in HEADLINES]
    if not shown:
        raise ValueError(f"table: got no result of {', '.join(HEADLINES)}, expected at least one")
    cells: dict[tuple[str, str], float] = {}
    kept: dict[str, float] = {}
    data: dict[str, str] = {}
    weights: dict[str, str] = {}
    settings: dict[str, str] = {}
    for result in shown:
        model, protocol = result.model.name, result.protocol
        if weights.setdefault(model, result.model.weights) != result.model.weights:
            raise ValueError(f"table: got different weights called {model}, expected names that tell them apart")
        said = result.settings_key
        if settings.setdefault(protocol, said) != said:
            raise ValueError(f"table: got {protocol} with settings {settings[protocol]} and {said}, expected the same")
        if (model, protocol) in cells:
            raise ValueError(
                f"table: got two results of {model} in {protocol}, expected one; give them different names"
            )
        if data.setdefault(protocol, result.data) != result.data:
            raise ValueError(f"table: got {protocol} on {data[protocol]} and {result.data}, expected the same data")
        headline = HEADLINES[protocol]
        if headline.metric not in result.metrics:
            raise ValueError(
                f"table: got a result of {protocol} for {model} without {headline.metric!r}, expected one by this "
                "version; evaluate again"
            )
        cells[model, protocol] = result.metrics[headline.metric] * headline.scale
        if headline.kept in result.metrics:
            kept[protocol] = result.metrics[headline.kept] * headline.scale
    models = list(dict.fromkeys(result.model.name for result in shown))
    protocols = [protocol for protocol in HEADLINES if protocol in data]
    matrix = [[cells.get((model, protocol), math.nan) for protocol in protocols] for model in models]
    lower = [HEADLINES[protocol].lower_is_better for protocol in protocols]
    columns = [HEADLINES[each].title + (MADE if data[each].endswith(MADE) else "") for each in protocols]
    best = [_best([row[index] for row in matrix], lower[index]) for index in range(len(protocols))]
    if len(protocols) > 1:
        for row in matrix:
            row.append(_normalised(row, [matrix[at][index] for index, at in enumerate(best)], lower))
        columns.append("normalised average")
        best.append(_best([row[-1] for row in matrix], False))
    rows = [(model, tuple(row)) for model, row in zip(models, matrix, strict=True)]
    if kept:
        blank = [math.nan] * (len(columns) - len(protocols))
        rows.append((KEPT, (*(kept.get(protocol, math.nan) for protocol in protocols), *blank)))
    return Table(tuple(columns), tuple(rows), tuple(best))


def _best(values: Sequence[float], lower_is_better: bool) -> int:
    finite = [index for index, value in enumerate(values) if not math.isnan(value)]
    if not finite:
        return -1
    return (min if lower_is_better else max)(finite, key=lambda index: values[index])


def _normalised(row: Sequence[float], best: Sequence[float], lower: Sequence[bool]) -> float:
    """Mean share of the best, in percent; NaN for a model that lacks a task: it would be compared on other tasks.

    Tasks whose best figure is 0 count for no model.
    """
    shares = [_share(*each) for each in zip(row, best, lower, strict=True) if each[1] != 0]
    return 100 * sum(shares) / len(shares) if shares else math.nan


def _share(value: float, best: float, lower_is_better: bool) -> float:
    above, below = (best, value) if lower_is_better else (value, best)
    return above / below if below else math.nan
