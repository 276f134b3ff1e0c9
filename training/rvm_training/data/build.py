"""Making manifests: every video is opened once, and what cannot be opened is listed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from rvm_training.data.layouts import Found
from rvm_training.data.manifest import Clip, relative_path
from rvm_training.data.video import VideoError, probe


def probe_clips(
    found: Sequence[Found], *, source: str, folder: Path, weight: float = 1.0, threads: int = 8
) -> tuple[list[Clip], list[str]]:
    """Open every video for its length and rate.

    Args:
        found: what a layout names.
        source: dataset's name for the rows.
        folder: where the manifest will be; paths below it are written relative to it.
        weight: of every row.
        threads: videos opened at once.

    Returns:
        (rows, reasons of what was left out).
    """
    paths = sorted({item.path for item in found})
    with ThreadPoolExecutor(threads) as pool:
        probed = dict(zip(paths, tqdm(pool.map(_probe, paths), total=len(paths), unit="video"), strict=True))
    clips, problems = [], []
    for item in found:
        result = probed[item.path]
        if isinstance(result, str):
            problems.append(result)
            continue
        frames, fps = result
        first, last = 0, frames
        if item.seconds is not None:
            first, last = math.floor(item.seconds[0] * fps), min(frames, math.ceil(item.seconds[1] * fps))
        if first >= last:
            problems.append(
                f"{item.path}: the stretch {item.seconds} s has no frames; the video has {frames / fps:.1f} s"
            )
            continue
        path = relative_path(item.path, folder)
        clips.append(Clip(path, first, last - first, fps, source, weight, item.split))
    # One reason per video, not per stretch of it.
    return clips, list(dict.fromkeys(problems))


def write_problems(problems: Iterable[str], manifest: Path) -> Path:
    """Write the reasons beside a manifest, one per line; returns the file."""
    path = manifest.with_suffix(".quarantine.txt")
    path.write_text("".join(f"{problem}\n" for problem in problems), encoding="utf-8")
    return path


def _probe(path: Path) -> tuple[int, float] | str:
    try:
        return probe(str(path))
    except VideoError as error:
        return str(error)
