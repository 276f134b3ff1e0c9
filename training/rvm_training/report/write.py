"""A report as one HTML file: what a perception node recorded, or what an engine makes of a recording now."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from rvm_model.bags import is_bag, open_bag
from rvm_model.engines import Engine
from rvm_model.perception import Perception
from rvm_training.offline.pipeline import Result, Settings, process
from rvm_training.offline.recordings import Recording
from rvm_training.offline.streams import Outcome
from rvm_training.report import recorded
from rvm_training.report.track import Shown, Track

STEP = "time of the engine's step for each frame"


def is_recorded(paths: Sequence[Path]) -> bool:
    """Whether there are features in one of these bags already.

    Raises:
        ValueError: a bag cannot be read.
    """
    found = False
    for path in paths:
        if is_bag(path):
            with open_bag(path) as bag:
                found = found or bool(recorded.node_of(bag))
    return found


def of_recorded(paths: Sequence[Path], out: Path, most: int, cameras: Mapping[str, str] | None = None) -> list[str]:
    """Write the report of what a perception node recorded.

    Args:
        paths: bags that belong together, one of them with features.
        out: file to write.
        most: frames of each camera that are shown at most.
        cameras: names of the node's cameras to the topics of their images, where the names do not tell.

    Returns:
        The cameras that are shown.

    Raises:
        ValueError: a bag cannot be read, or has no features.
    """
    found = recorded.collect(paths, most, cameras)
    about, status = "Features of `rvm features`." if found.later else "Recorded by a perception node.", found.status
    if status:
        about += f" Engine {status['engine'][:19]}, weights {status['weights']}."
    title = " + ".join(dict.fromkeys(path.name for path in paths))
    return _write(found.tracks, out, title, " ".join([about, *found.notes]), trained=status.get("trained", True))


def of_engine(
    recording: Recording,
    engine: Engine,
    out: Path,
    most: int,
    settings: Settings = Settings(),
    on_frame: Callable[[], object] = lambda: None,
) -> list[str]:
    """Write the report of what an engine makes of a recording.

    Args:
        recording: the recording.
        engine: what makes the features.
        out: file to write.
        most: frames of each camera that are shown at most.
        settings: how they are made.
        on_frame: called for every frame.

    Returns:
        The cameras that are shown.

    Raises:
        ValueError: the recording cannot be read to its end, or has no images.
    """
    lengths = recording.lengths()
    sink = _Sink(
        {name: Track(name, count, most, STEP, settings.rules.max_gap_s) for name, count in lengths.items()}, engine
    )
    (outcome,), _ = process([(recording, lengths)], Perception(engine), lambda _: sink, settings, on_frame)
    if outcome.error:
        raise ValueError(f"{recording.path}: {outcome.error}")
    info = engine.info
    about = (
        f"Made for this page by {info.kind} {info.arithmetic} on {info.place}, {info.height}x{info.width}, weights "
        f"{info.weights}."
    )
    if outcome.refused:
        about += f" {outcome.refused.total()} images could not be used, the first of camera {outcome.first_refusal}."
    return _write(list(sink.tracks.values()), out, recording.path.name, about, trained=info.trained)


class _Sink:
    """The results of the pipeline as tracks."""

    def __init__(self, tracks: dict[str, Track], engine: Engine) -> None:
        self.tracks = tracks
        self._info = engine.info

    def write(self, result: Result) -> None:
        features = result.features[1:].unflatten(0, self._info.grid).cpu().numpy()
        arrival = result.arrival
        self.tracks[arrival.camera].add(
            Shown(arrival.stamp_ns or arrival.time_ns, features, result.image, result.step_s * 1e3, result.reset)
        )

    def finish(self, outcome: Outcome) -> None:
        """All is there."""

    def discard(self) -> None:
        """Nothing was written."""


def _write(tracks: Sequence[Track], out: Path, title: str, about: str, *, trained: bool) -> list[str]:
    shown = [track for track in tracks if not track.is_empty]
    empty = ", ".join(track.camera for track in tracks if track.is_empty)
    if not shown:
        raise ValueError(f"{title}: got no frame with features of {empty}, expected some to show. {about}")
    content: dict[str, Any] = {
        "title": title,
        "about": f"{about} Of {empty} there is no frame with features." if empty else about,
        "warning": "" if trained else "The weights are UNTRAINED (random): features and segments mean nothing.",
        "tracks": [track.described() for track in shown],
    }
    page, script = (files("rvm_training.report").joinpath(name).read_text("utf-8") for name in ("page.html", "page.js"))
    # A text of the data must not end the element that it stands in.
    text = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page.replace("SCRIPT", script).replace("DATA", text), encoding="utf-8")
    return [track.camera for track in shown]
