"""A run's metrics, read back from its CSV files, and their picture."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

Metrics = dict[str, dict[int, float]]
"""Name of a metric to its values by step."""


def read_metrics(folder: Path) -> Metrics:
    """All metrics of a run. Each start of it wrote a file of its own: from where a later one began, it counts alone.

    A file that is being rewritten, as one of a run that goes on is, counts as far as it is there.
    """
    metrics: Metrics = {}
    files = folder.glob("metrics/version_*/metrics.csv")
    for path in sorted(files, key=lambda path: int(path.parent.name.removeprefix("version_"))):
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            rows = [row for row in reader if (row.get("step") or "").isdecimal() and None not in row.values()]
        if not rows:
            continue
        first = min(int(row["step"]) for row in rows)
        for values in metrics.values():
            for step in [step for step in values if step >= first]:
                del values[step]
        for row in rows:
            for name, text in row.items():
                if name not in ("step", "epoch") and text:
                    metrics.setdefault(name, {})[int(row["step"])] = float(text)
    return metrics


def draw_curves(metrics: Metrics, path: Path) -> None:
    """Draw loss and PSNR over steps, the predictions that need no network as level lines beside them."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, kind, label in ((left, "mse", "mean squared error"), (right, "psnr", "PSNR in dB")):
        for name, shown, style in ((f"train/{kind}", "training clips", "-"), (f"val/{kind}", "held-out clips", "o-")):
            if values := metrics.get(name):
                axes.plot(list(values), list(values.values()), style, label=shown, markersize=3, linewidth=1)
        for name, shown, style, color in (
            (f"val/{kind}_copy_last", "copy the last source frame", "--", "C2"),
            (f"val/{kind}_mean_frame", "mean of the source frames", ":", "C3"),
        ):
            if values := metrics.get(name):
                level = list(values.values())[-1]  # The held-out clips are the same each time: so is this.
                axes.axhline(level, linestyle=style, color=color, label=shown, linewidth=1)
        axes.set(xlabel="step", ylabel=label)
        axes.grid(alpha=0.3)
    left.set_yscale("log")
    right.legend()
    figure.savefig(path, dpi=110)


def draw_beside(runs: Mapping[str, Metrics], names: Sequence[str], path: Path, *, logarithmic: bool = False) -> None:
    """Draw several runs over steps, one panel for each metric.

    Args:
        runs: name of a run to its metrics.
        names: of the metrics; each run has them all.
        path: of the PNG.
        logarithmic: the vertical axes.
    """
    figure = Figure(figsize=(5.5 * len(names), 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for run, metrics in runs.items():
            axes.plot(list(metrics[name]), list(metrics[name].values()), label=run, linewidth=1)
        axes.set(xlabel="step", ylabel=name)
        axes.grid(alpha=0.3)
        if logarithmic:
            axes.set_yscale("log")
        axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
