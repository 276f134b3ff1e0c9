"""`rvm transcode`: videos made as training reads them, in the folders and under the names that they had."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rvm_model.frame_source import VideoFile
from rvm_model.preprocess import as_tensor, resize
from rvm_training.data.layouts import VIDEO_SUFFIXES, videos_below
from rvm_training.offline.encoding import VideoSettings, VideoWriter
from rvm_training.offline.streams import told


@dataclass(frozen=True)
class Job:
    """One video."""

    source: Path
    target: Path
    """An mp4."""


def jobs(inputs: Sequence[Path], out: Path) -> list[Job]:
    """Videos, and where they go: those of a folder keep their place below it.

    Args:
        inputs: videos, and folders of videos at any depth.
        out: folder for the results.

    Raises:
        FileNotFoundError: there is nothing of a name.
        ValueError: there is no video, or two would go to one place.
    """
    found: list[Job] = []
    for path in inputs:
        if not path.exists():
            raise FileNotFoundError(f"input: nothing at {path}, expected a video or a folder of videos")
        files = [path] if path.is_file() else sorted(videos_below(path))
        files = [file for file in files if not file.resolve().is_relative_to(out.resolve())]  # Results of before.
        base = path.parent if path.is_file() else path
        found += [Job(file, out / file.relative_to(base).with_suffix(".mp4")) for file in files]
    if not found:
        raise ValueError(
            f"input: got no video in {', '.join(map(str, inputs))}, expected some of {sorted(VIDEO_SUFFIXES)}"
        )
    counts = Counter(str(job.target) for job in found)
    if twice := [target for target, count in counts.items() if count > 1]:
        raise ValueError(f"input: got several videos for {', '.join(sorted(twice))}; give them another --out each")
    return found


def transcode(
    todo: Sequence[Job],
    settings: VideoSettings,
    *,
    workers: int = 1,
    on_done: Callable[[], object] = lambda: None,
) -> list[str]:
    """Transcode videos; a result has its name only once it is whole.

    Args:
        todo: the videos.
        settings: how they are written.
        workers: videos at once.
        on_done: called for every video that is done with.

    Returns:
        What was wrong with those that could not be, and with frames that could not be decoded.
    """

    stopped = threading.Event()

    def one(job: Job) -> str:
        problem = _one(job, settings, stopped)
        on_done()
        return problem

    with ThreadPoolExecutor(workers, "transcode") as pool:
        try:
            return [problem for problem in pool.map(one, todo) if problem]
        except BaseException:  # Ctrl-C: the threads would go on to their ends.
            stopped.set()
            raise


def _one(job: Job, settings: VideoSettings, stopped: threading.Event) -> str:
    partial = job.target.with_name(f".{job.target.name}.partial.mp4")
    writer: VideoWriter | None = None
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        source = VideoFile(job.source)
        for frame in source:
            if stopped.is_set():
                raise InterruptedError("interrupted")
            if writer is None:
                size = settings.size(*frame.rgb.shape[:2])
                writer = VideoWriter(partial, *size, settings)
            writer.write(resize(as_tensor(frame.rgb), *size).numpy(), frame.time_s)
        if writer is None:
            return f"{job.source}: has no frame that can be decoded"
        writer.close()
        writer = None
        os.replace(partial, job.target)
    except Exception as error:  # Whatever is wrong with one video is nothing to the others.
        if writer is not None:
            writer.close()
        partial.unlink(missing_ok=True)
        return f"{job.source}: {told(error)}"
    return f"{job.source}: {source.skipped} damaged packets were left out" if source.skipped else ""
