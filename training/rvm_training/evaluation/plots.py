"""Curves and bars of several models, as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from rvm_training.evaluation.result import Result

INCHES = (7.0, 4.2)
DPI = 130
COLUMNS = 3
"""Panels side by side."""


def plot_curves(
    path: Path,
    results: Sequence[Result],
    x: str,
    names: Sequence[str],
    *,
    title: str,
    low: float | None = 0.0,
    share: bool = True,
) -> None:
    """Draw a curve of every result, in one panel for each name.

    Args:
        path: of the PNG.
        results: each with the curves `x` and `names`.
        x: name of the horizontal axis.
        names: of the vertical axes.
        title: of the picture.
        low: where the vertical axes begin; None lets them fit the curves.
        share: give all panels one vertical axis.

    Raises:
        ValueError: a result has no such curve.
        OSError: it cannot be written.
    """
    columns = min(COLUMNS, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(INCHES[0] * (1 + columns) / 2, INCHES[1] * (1 + rows) / 2), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=share).flatten()
    for axes, name in zip(panels, names, strict=False):
        for result in results:
            if x not in result.curves or name not in result.curves:
                raise ValueError(f"{result.protocol}: got curves {sorted(result.curves)}, expected {x!r} and {name!r}")
            axes.plot(result.curves[x], result.curves[name], marker="o", markersize=3, label=result.model.name)
        axes.set(xlabel=x, ylabel=name)
        axes.grid(alpha=0.3)
        if low is not None:
            axes.set_ylim(bottom=low)
    for axes in panels[len(names) :]:
        axes.remove()
    panels[0].legend(fontsize="small")
    figure.suptitle(title)
    _save(figure, path)


def plot_bars(path: Path, columns: Mapping[str, Mapping[str, float]], *, title: str) -> None:
    """Draw groups of bars: what is compared to its models to their values.

    Args:
        path: of the PNG.
        columns: name of a group to (model to value).
        title: of the picture.

    Raises:
        OSError: it cannot be written.
    """
    figure = Figure(figsize=(max(INCHES[0], 0.9 * len(columns)), INCHES[1]), layout="constrained")
    axes = figure.subplots()
    models = list(dict.fromkeys(model for values in columns.values() for model in values))
    width = 0.8 / max(1, len(models))
    for index, model in enumerate(models):
        places = [group + (index - (len(models) - 1) / 2) * width for group in range(len(columns))]
        axes.bar(places, [values.get(model, 0.0) for values in columns.values()], width, label=model)
    axes.set_xticks(range(len(columns)), list(columns), rotation=30, ha="right", fontsize="small")
    axes.set(title=title)
    axes.grid(axis="y", alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), fontsize="small", loc="outside lower center", ncols=3)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
