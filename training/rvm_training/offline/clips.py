"""`rvm clips`: training clips cut from recordings where their cameras ran on without a pause."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from rvm_model.messages.encodings import RgbArray
from rvm_model.messages.judge import Rules
from rvm_model.messages.stamps import NANOSECONDS
from rvm_model.preprocess import as_tensor, resize
from rvm_training.data.layouts import hashed_splits
from rvm_training.data.manifest import Clip
from rvm_training.data.video import probe
from rvm_training.offline.encoding import VideoSettings, VideoWriter
from rvm_training.offline.folders import Identity, ResultFolder, sort_out
from rvm_training.offline.lanes import Lane
from rvm_training.offline.recordings import Arrival, Recording
from rvm_training.offline.streams import Outcome, Stream, told

NAME = "clips.json"
"""In the folder of each recording: its clips."""
DECODERS = 2


@dataclass(frozen=True)
class ClipSettings:
    """How clips are cut."""

    video: VideoSettings = dataclasses.field(default_factory=VideoSettings)
    max_gap_s: float = 0.5
    """A longer pause ends a clip."""
    shortest_s: float = 2.0
    """What is shorter is dropped."""
    longest_s: float = 60.0
    """What is longer goes on in another clip."""

    def __post_init__(self) -> None:
        """Refuse what has no clips."""
        if not 0 < self.shortest_s <= self.longest_s or self.max_gap_s <= 0:
            raise ValueError(
                f"clips: got {self.shortest_s} to {self.longest_s} s with pauses of {self.max_gap_s} s, expected "
                "positive numbers, the shortest first"
            )


@dataclass(frozen=True)
class Stretch:
    """One clip."""

    file: str
    camera: str
    images: int
    first_stamp_ns: int
    last_stamp_ns: int
    frames: int
    """Of the video at its rate."""
    fps: float


@dataclass
class Cut:
    """What became of one recording."""

    outcome: Outcome
    stretches: list[Stretch]
    dropped: int = 0
    """Stretches that were too short."""


class _Cutter:
    """Writes the clips of one camera."""

    def __init__(self, folder: Path, camera: str, settings: ClipSettings, cut: Cut) -> None:
        self._folder, self._camera, self._settings, self._cut = folder, camera, settings, cut
        self._writer: VideoWriter | None = None
        self._path = folder
        self._number = self._images = 0
        self._first_ns = self._last_ns = 0

    def add(self, arrival: Arrival, image: RgbArray, *, cut: bool) -> None:
        time_ns = arrival.stamp_ns or arrival.time_ns
        if cut or time_ns - self._first_ns >= self._settings.longest_s * NANOSECONDS:
            self.end()
        if self._writer is None:
            self._path = self._folder / f"{self._camera}_{self._number:04d}.mp4"
            height, width = image.shape[:2]
            self._writer = VideoWriter(self._path, height, width, self._settings.video)
            self._number, self._images, self._first_ns = self._number + 1, 0, time_ns
        self._writer.write(image, time_ns / NANOSECONDS)
        self._images, self._last_ns = self._images + 1, time_ns

    def drop(self) -> None:
        """Let go of the clip that is written."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def end(self) -> None:
        """End the clip that is written, if there is one; a short one is dropped."""
        if self._writer is None:
            return
        self._writer.close()
        self._writer = None
        if self._last_ns - self._first_ns < self._settings.shortest_s * NANOSECONDS:
            self._path.unlink()
            self._number -= 1
            self._cut.dropped += 1
            return
        frames, fps = probe(str(self._path))
        self._cut.stretches.append(
            Stretch(self._path.name, self._camera, self._images, self._first_ns, self._last_ns, frames, fps)
        )


def cut_clips(
    recordings: Sequence[Recording],
    out: Path,
    settings: ClipSettings,
    *,
    resume: bool = False,
    workers: int = 1,
    on_done: Callable[[], object] = lambda: None,
) -> tuple[list[Cut], list[Recording]]:
    """Cut recordings, each into a folder of its own.

    Args:
        recordings: the recordings.
        out: where the folders are made.
        settings: how.
        resume: leave out those whose clips are there.
        workers: recordings at once.
        on_done: called for every recording that is done with.

    Returns:
        What became of those that were cut, and those that were left out.

    Raises:
        ValueError: clips are there, and may not be: without `resume`, or cut in another way.
    """
    folders = {recording.name: ResultFolder(out, recording.name, NAME) for recording in recordings}
    stopped = threading.Event()

    def identity_of(recording: Recording) -> Identity:
        return Identity(str(recording.path), "", {**dataclasses.asdict(settings), **recording.settings})

    def one(recording: Recording) -> Cut:
        cut = _cut(recording, folders[recording.name], settings, identity_of(recording), decoders, stopped)
        on_done()
        return cut

    todo, there, bad = sort_out(recordings, folders, identity_of, resume=resume)
    cuts = [Cut(Outcome(recording, error=problem), []) for recording, problem in bad]
    with ThreadPoolExecutor(DECODERS * workers, "decode") as decoders, ThreadPoolExecutor(workers, "cut") as pool:
        try:
            return [*pool.map(one, todo), *cuts], there
        except BaseException:  # Ctrl-C: the threads would go on to their ends.
            stopped.set()
            raise


def clips_of(folder: Path, manifest_folder: Path, source: str, val_share: float) -> list[Clip]:
    """The clips below a folder as rows of a manifest.

    Args:
        folder: what `cut_clips` wrote.
        manifest_folder: where the manifest will be, which paths are relative to.
        source: the rows' source.
        val_share: share of recordings that are for validation: no clip of a recording is, or all are.
    """
    indexes = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(f"*/{NAME}"))}
    splits = hashed_splits((path.parent.name for path in indexes), val_share)
    return [
        Clip(
            str((path.parent / each["file"]).relative_to(manifest_folder)),
            0,
            each["frames"],
            each["fps"],
            source,
            split=splits[path.parent.name],
            recording=said["input"],
            camera=each["camera"],
            first_stamp_ns=each["first_stamp_ns"],
            last_stamp_ns=each["last_stamp_ns"],
        )
        for path, said in indexes.items()
        for each in said["clips"]
    ]


def _cut(
    recording: Recording,
    folder: ResultFolder,
    settings: ClipSettings,
    identity: Identity,
    pool: Executor,
    stopped: threading.Event,
) -> Cut:
    outcome = Outcome(recording)
    cut = Cut(outcome, [])
    try:
        cameras = list(recording.lengths())
        path = folder.begin()
        path.mkdir(parents=True)
        _fill(path, cut, cameras, settings, pool, stopped)
        folder.finish(_described(cut, identity))
    except Exception as error:  # Whatever one recording ends with is nothing to the others.
        outcome.error = told(error)
        folder.discard()
    return cut


def _fill(
    path: Path, cut: Cut, cameras: Sequence[str], settings: ClipSettings, pool: Executor, stopped: threading.Event
) -> None:
    outcome, rules = cut.outcome, Rules(settings.max_gap_s)
    streams = {camera: Stream(outcome, camera, rules) for camera in cameras}
    cutters = {camera: _Cutter(path, camera, settings, cut) for camera in cameras}

    def prepare(image: RgbArray) -> Tensor:
        return resize(as_tensor(image), *settings.video.size(*image.shape[:2]))

    lane = Lane(outcome.recording, len(cameras), pool, prepare)
    try:
        while group := lane.take():
            if stopped.is_set():
                raise InterruptedError("interrupted")
            for waiting in group:
                camera = waiting.arrival.camera
                judged = streams[camera].take(waiting)
                if judged is not None:
                    decoded, due = judged
                    outcome.frames[camera] += 1
                    outcome.resets[due.reset] += bool(due.reset)
                    cutters[camera].add(waiting.arrival, decoded.batch.numpy(), cut=bool(due.reset))
        for cutter in cutters.values():
            cutter.end()
    finally:
        for cutter in cutters.values():
            cutter.drop()
        lane.close()


def _described(cut: Cut, identity: Identity) -> dict[str, Any]:
    return {
        "input": identity.input,
        "input_bytes": cut.outcome.recording.bytes,
        "engine": identity.engine,
        "settings": identity.settings,
        "clips": [dataclasses.asdict(stretch) for stretch in cut.stretches],
        "dropped": cut.dropped,
        "refused": dict(cut.outcome.refused),
    }
