"""`rvm features`: features of recordings, by the engine and with the numbers of the live node."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, get_args

from tqdm import tqdm

from rvm_model.camera_heads import CameraHeads, HeadsConfig
from rvm_model.engines import Engine
from rvm_model.perception import Perception
from rvm_training.offline.bag_sink import BagSink
from rvm_training.offline.folders import Identity, ResultFolder, sort_out
from rvm_training.offline.pipeline import Settings, Sink, Spent, process
from rvm_training.offline.recordings import Recording
from rvm_training.offline.shards import Format, ShardSink
from rvm_training.offline.streams import Outcome, told

FORMATS = ("bag", *get_args(Format))


@dataclass(frozen=True)
class Target:
    """What is written."""

    out: Path
    kind: str = "bag"
    """One of FORMATS."""
    outputs: tuple[str, ...] = ("features",)
    """Of a bag: fields of `Wanted`."""
    node: str = "/perception"
    """Of a bag: full name of the node whose topics it has."""
    coding: str = "float32"
    """Of the features, one of `recoding.CODINGS`; of shards float32 or float16."""
    components: int = 32
    """With the coding `pca`."""
    shard_bytes: int = 256 * 10**6
    heads: HeadsConfig = field(default_factory=HeadsConfig)

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            ValueError: says what does not.
        """
        if self.kind != "bag" and self.coding not in ("float32", "float16"):
            raise ValueError(f"features: got {self.coding} for {self.kind}, expected float32 or float16; bags take all")
        if self.kind != "bag" and self.outputs != ("features",):
            raise ValueError(
                f"outputs: got {', '.join(self.outputs)} for {self.kind}, which has features and cls_token"
            )

        if self.components < 1:
            raise ValueError(f"components: got {self.components}, expected at least 1")

    def described(self) -> dict[str, Any]:
        """All that the results change with, as JSON has it."""
        said = dataclasses.asdict(self)
        del said["out"], said["shard_bytes"]
        return {**said, "outputs": list(self.outputs)}


@dataclass(frozen=True)
class Done:
    """What became of all inputs."""

    outcomes: list[Outcome]
    """Of those that were processed."""
    skipped: list[Recording]
    """Whose results were there."""
    spent: Spent

    @property
    def failed(self) -> list[Outcome]:
        """Those that did not come to their end."""
        return [outcome for outcome in self.outcomes if outcome.error]


def extract(
    inputs: Sequence[Recording],
    engine: Engine,
    target: Target,
    settings: Settings = Settings(),
    *,
    resume: bool = False,
    show_progress: bool = False,
) -> Done:
    """Write the features of recordings, each into a folder of its own.

    Args:
        inputs: the recordings.
        engine: what makes the features.
        target: where and how they are written.
        settings: how they are made.
        resume: leave out those whose results are there.
        show_progress: draw a bar.

    Raises:
        ValueError: results are there, and may not be: without `resume`, or made in another way.
    """
    target.check()
    folders = {recording.name: ResultFolder(target.out, recording.name) for recording in inputs}
    said = {**target.described(), **_described(settings)}

    def identity_of(recording: Recording) -> Identity:
        return Identity(str(recording.path), engine.info.digest, {**said, **recording.settings})

    looked, there, bad = sort_out(inputs, folders, identity_of, resume=resume)
    outcomes, todo = [Outcome(recording, error=problem) for recording, problem in bad], []
    for recording in looked:
        try:
            todo.append((recording, recording.lengths()))
        except Exception as error:  # Whatever is wrong with one input is nothing to the others.
            outcomes.append(Outcome(recording, error=told(error)))
    total = sum(sum(lengths.values()) for _, lengths in todo)
    perception = Perception(engine)
    sink_of = partial(_sink, engine=engine, target=target, identity_of=identity_of, folders=folders)
    with tqdm(total=total, unit=" frames", mininterval=1, disable=not show_progress) as bar:
        processed, spent = process(todo, perception, sink_of, settings, lambda: bar.update())
    return Done([*processed, *outcomes], there, spent)


def _described(settings: Settings) -> dict[str, Any]:
    rules = dataclasses.asdict(settings.rules)
    return {**rules, "decay_half_life_s": settings.decay_half_life_s}


def _sink(
    recording: Recording,
    *,
    engine: Engine,
    target: Target,
    identity_of: Callable[[Recording], Identity],
    folders: Mapping[str, ResultFolder],
) -> Sink:
    info, folder = engine.info, folders[recording.name]
    describe: Callable[[Outcome], dict[str, Any]] = partial(
        _said, identity=identity_of(recording), weights=info.weights
    )
    if target.kind == "bag":
        return BagSink(
            folder,
            info,
            target.outputs,
            node=target.node,
            coding=target.coding,
            components=target.components,
            heads=lambda: CameraHeads(info, target.heads),
            describe=describe,
        )
    kind: Any = target.kind
    dtype: Any = target.coding
    return ShardSink(folder, info, kind=kind, dtype=dtype, shard_bytes=target.shard_bytes, describe=describe)


def _said(outcome: Outcome, *, identity: Identity, weights: str) -> dict[str, Any]:
    recording = outcome.recording
    return {
        "input": identity.input,
        "input_bytes": recording.bytes,
        "engine": identity.engine,
        "weights": weights,
        "settings": identity.settings,
        "frames": dict(outcome.frames),
        "refused": dict(outcome.refused),
        "skipped": dict(outcome.skipped),
        "resets": dict(outcome.resets),
    }
