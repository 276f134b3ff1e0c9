"""One HTML page of a folder of results: tables, plots, pictures and videos, all within the file."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from rvm_training.evaluation.result import Result, load_results
from rvm_training.evaluation.table import HEADLINES, Table, tabulate

TITLES = {
    "davis-2017": "DAVIS-2017: objects of a first frame followed",
    "davis-2016": "DAVIS-2016: one object followed",
    "jhmdb": "JHMDB: joints followed",
    "vip": "VIP: parts of people followed",
    "classification": "Readout: which action a clip shows",
    "points": "Readout: points followed",
    "boxes": "Readout: boxes followed",
    "depth": "Readout: how far away things are",
    "segmentation": "Readout: what every pixel is",
    "retrieval": "Clips found by a clip",
    "horizon": "How long objects are followed",
    "noise-square": "The square that only motion shows",
    "robustness": "When the pictures get worse",
    "reconstruction": "Masked later frames reconstructed",
    "cost": "Time and memory",
}
"""Protocol to the heading of its section, in the page's order; others come after them by their own names."""
MEDIA = {".png": "image/png", ".mp4": "video/mp4"}
"""Files that are shown, and their types."""
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { padding: .25rem .8rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
td.best { font-weight: 700 }
figure { margin: 1rem 0 } figure > * { max-width: 100% } figcaption { color: #666; font-size: .85em }
.note { color: #a00 }
"""


def write_report(folder: Path, *, title: str) -> Path:
    """Write `report.html` of all results and media in a folder.

    Args:
        folder: what `rvm eval` wrote to.
        title: of the page.

    Returns:
        Path of the page.

    Raises:
        ResultError: there is no result, or a file is none.
        OSError: a file cannot be read, or the page not written.
    """
    results = load_results([folder])
    media = sorted(path for path in folder.iterdir() if path.suffix in MEDIA)
    found = dict.fromkeys(result.protocol for result in results)
    protocols = [each for each in TITLES if each in found] + [each for each in found if each not in TITLES]
    parts = [f"<h1>{escape(title)}</h1>", _models(results)]
    if any(result.protocol in HEADLINES for result in results):
        bars = [path for path in media if path.name == "table.png"]
        media = [path for path in media if path not in bars]
        parts += ["<h2>All together</h2>", _headlines(tabulate(results)), *map(_figure, bars)]
    for protocol in protocols:
        mine = [result for result in results if result.protocol == protocol]
        shown = [path for path in media if path.stem == protocol or path.stem.startswith(f"{protocol}_")]
        media = [path for path in media if path not in shown]
        parts += [f"<h2>{escape(TITLES.get(protocol, protocol))}</h2>", _metrics(mine), *map(_figure, shown)]
    if media:
        parts += ["<h2>Features seen</h2>", *map(_figure, media)]
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _models(results: Sequence[Result]) -> str:
    models = {result.model.name: result.model for result in results}
    rows = [
        [model.name, model.kind, model.arithmetic, model.runs_on, str(model.patch_size), model.weights[:24]]
        for model in models.values()
    ]
    untrained = [model.name for model in models.values() if model.weights and not model.trained]
    note = (
        f'<p class="note">Untrained, so that its figures are chance: {escape(", ".join(untrained))}</p>'
        if untrained
        else ""
    )
    return _table(["model", "sees", "arithmetic", "runs on", "patch", "weights"], rows) + note


def _headlines(table: Table) -> str:
    rows = [[model, *map(_number, values)] for model, values in table.rows]
    marked = {(row, column + 1) for column, row in enumerate(table.best)}
    return _table(["model", *table.columns], rows, marked)


def _metrics(results: Sequence[Result]) -> str:
    """Models side by side where there are few figures, below each other where there are many."""
    names = list(dict.fromkeys(name for result in results for name in result.metrics))
    rows = [[name, *(_number(result.metrics.get(name, math.nan)) for result in results)] for name in names]
    said = {
        f"Data: {each.data}. " + ", ".join(f"{name} {value}" for name, value in each.settings.items()): None
        for each in results
    }
    caption = "".join(f"<p>{escape(text)}</p>" for text in said)
    return caption + _table(["", *(result.model.name for result in results)], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], marked: set[tuple[int, int]] | None = None) -> str:
    lines = ["<table><tr>", *(f"<th>{escape(each)}</th>" for each in head), "</tr>"]
    for y, row in enumerate(rows):
        best = ['<td class="best">' if (y, x) in (marked or set()) else "<td>" for x in range(len(row))]
        lines += ["<tr>", *(f"{tag}{escape(cell)}</td>" for tag, cell in zip(best, row, strict=True)), "</tr>"]
    return "".join([*lines, "</table>"])


def _figure(path: Path) -> str:
    data = f"data:{MEDIA[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"
    shown = (
        f'<img src="{data}" alt="{escape(path.stem)}">'
        if path.suffix == ".png"
        else f'<video src="{data}" controls loop muted></video>'
    )
    return f"<figure>{shown}<figcaption>{escape(path.name)}</figcaption></figure>"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4g}"
