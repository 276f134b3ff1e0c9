"""`rvm replay-check`: whether an engine makes of a recording what it made before, or what another one made.

A reference holds, of each camera, which frames went in and which of them started the state anew, the digest of every
frame's features, and some frames' features themselves. The same engine on the same machine must give the same bits;
anything else must be as near as its precision allows.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from rvm_model.engines import Engine
from rvm_model.engines.cpu import processor
from rvm_model.engines.load import runtime_version
from rvm_model.engines.parity import TOLERANCE
from rvm_model.perception import Perception
from rvm_training.offline.pipeline import Result, Settings, process
from rvm_training.offline.recordings import Recording
from rvm_training.offline.streams import Outcome

KEPT = 16
"""Frames of each camera whose features a reference holds, the last one beside them."""
_VERSION = 1
Features = npt.NDArray[np.float32]


class ReplayError(ValueError):
    """A reference that cannot be read, or a recording that is not the one that it was made of."""


@dataclass(frozen=True)
class Maker:
    """What a reference was made by: where all of it is the same, the bits must be."""

    engine: str
    """Digest."""
    runtime: str
    machine: str
    threads: int

    @classmethod
    def of(cls, engine: Engine) -> Maker:
        """An engine, here."""
        info = engine.info
        runtime = torch.__version__ if info.kind == "torch" else runtime_version(info.kind)
        return cls(info.digest, f"{info.kind} {runtime}", processor(info.device), torch.get_num_threads())


@dataclass
class CameraRun:
    """What an engine made of one camera's frames."""

    stamps_ns: list[int] = field(default_factory=list)
    resets: list[int] = field(default_factory=list)
    """Frames before which the state was started anew."""
    digests: list[str] = field(default_factory=list)
    kept: dict[int, Features] = field(default_factory=dict)
    """Frames to features [1 + N, D]."""


@dataclass
class Run:
    """What an engine made of a recording."""

    maker: Maker
    weights: str
    precision: str
    rules: dict[str, Any]
    """How stamps were judged."""
    cameras: dict[str, CameraRun]


@dataclass(frozen=True)
class CameraVerdict:
    """One camera against its reference."""

    camera: str
    frames: int
    worst: float
    """Largest relative error of a frame whose features the reference holds; 0 where all bits are the same."""
    worst_frame: int
    problem: str
    """What is wrong; empty where nothing is."""


@dataclass(frozen=True)
class Verdict:
    """A run against its reference."""

    exact: bool
    """Whether the same bits were expected."""
    why: str
    """Why, or why not."""
    tolerance: float
    cameras: list[CameraVerdict]

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not any(camera.problem for camera in self.cameras)


def run(recording: Recording, engine: Engine, settings: Settings, like: Run | None = None) -> Run:
    """Put a recording through an engine, camera by camera, so that the bits do not depend on who shares a batch.

    Args:
        recording: the recording.
        engine: what runs.
        settings: how stamps are judged.
        like: a reference, of whose frames the features are kept; None keeps some, and the last.

    Raises:
        ReplayError: the recording cannot be read to its end, or a camera has no image that can be used.
    """
    lengths = recording.lengths()
    sink = _Sink({camera: max(1, -(-count // KEPT)) for camera, count in lengths.items()}, like)
    alone = dataclasses.replace(settings, batch=1)
    (outcome,), _ = process([(recording, lengths)], Perception(engine), lambda _: sink, alone)
    if outcome.error:
        raise ReplayError(f"{recording.path}: {outcome.error}")
    if empty := [name for name, camera in sink.cameras.items() if not camera.stamps_ns]:
        raise ReplayError(
            f"{recording.path}: got no image of camera {', '.join(empty)} that can be used ({outcome.first_refusal})"
        )
    sink.keep_last()
    rules = {**dataclasses.asdict(settings.rules), "decay_half_life_s": settings.decay_half_life_s}
    return Run(Maker.of(engine), engine.info.weights, engine.info.precision, rules, sink.cameras)


def save(made: Run, path: Path) -> None:
    """Write a reference, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    for camera, each in made.cameras.items():
        arrays[f"{camera}/frames"] = np.array(list(each.kept), np.int64)
        arrays[f"{camera}/features"] = np.stack(list(each.kept.values()))
        arrays[f"{camera}/stamps_ns"] = np.array(each.stamps_ns, np.int64)
    said = {
        "version": _VERSION,
        "maker": dataclasses.asdict(made.maker),
        "weights": made.weights,
        "precision": made.precision,
        "rules": made.rules,
        "cameras": {camera: {"resets": each.resets, "digests": each.digests} for camera, each in made.cameras.items()},
    }
    partial = path.with_name(f"{path.name}.partial")
    try:
        save_file(arrays, partial, metadata={"replay": json.dumps(said)})
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path) -> Run:
    """Read a reference.

    Raises:
        ReplayError: the file is none.
        FileNotFoundError: there is none.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no reference there; make one with --write")
    try:
        with safe_open(path, framework="np") as file:
            said = json.loads((file.metadata() or {})["replay"])
            if said["version"] != _VERSION:
                raise ReplayError(f"{path}: got version {said['version']}, expected {_VERSION}; write it anew")
            cameras = {
                camera: CameraRun(
                    file.get_tensor(f"{camera}/stamps_ns").tolist(),
                    each["resets"],
                    each["digests"],
                    _kept(file.get_tensor(f"{camera}/frames"), file.get_tensor(f"{camera}/features")),
                )
                for camera, each in said["cameras"].items()
            }
        return Run(Maker(**said["maker"]), said["weights"], said["precision"], said["rules"], cameras)
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ReplayError(f"{path}: is no reference of `rvm replay-check --write` ({error!r})") from error


def compare(made: Run, reference: Run, tolerance: float | None = None) -> Verdict:
    """Judge a run.

    Args:
        made: the run.
        reference: what it must be like.
        tolerance: largest relative error of a frame; None expects the same bits of the same engine on the same machine,
            and of another the tolerance of the coarser of both precisions.

    Raises:
        ReplayError: other frames went in, so that there is nothing to compare.
    """
    own, before = vars(made.maker), vars(reference.maker)
    differs = [name for name in own if own[name] != before[name]]
    exact = not differs and tolerance is None
    if tolerance is None:
        tolerance = max(TOLERANCE[name] for name in (made.precision, reference.precision))  # type: ignore[index]
    why = f"another {' and another '.join(differs)} than the reference's" if differs else "the same engine and machine"
    if made.cameras.keys() != reference.cameras.keys():
        raise ReplayError(f"got cameras {sorted(made.cameras)}, expected {sorted(reference.cameras)}, the reference's")
    if made.rules != reference.rules:
        raise ReplayError(f"got {made.rules}, expected {reference.rules}, by which the reference judged stamps")
    verdicts = [
        _judged(camera, each, reference.cameras[camera], exact, tolerance) for camera, each in made.cameras.items()
    ]
    return Verdict(exact, why, tolerance, verdicts)


def _judged(camera: str, made: CameraRun, expected: CameraRun, exact: bool, tolerance: float) -> CameraVerdict:
    if made.stamps_ns != expected.stamps_ns:
        place = next(
            (i for i, (a, b) in enumerate(zip(made.stamps_ns, expected.stamps_ns, strict=False)) if a != b),
            min(len(made.stamps_ns), len(expected.stamps_ns)),
        )
        raise ReplayError(
            f"camera {camera}: got {len(made.stamps_ns)} frames, expected {len(expected.stamps_ns)} with the same "
            f"stamps; they differ from frame {place} on, so it is another recording, or others were refused"
        )
    worst, worst_frame = 0.0, 0
    for index, features in expected.kept.items():
        if made.kept[index].shape != features.shape:
            raise ReplayError(
                f"camera {camera}: got features {made.kept[index].shape}, expected {features.shape}; the engine is of "
                "another size than the reference's"
            )
        error = float(np.linalg.norm(made.kept[index] - features) / max(float(np.linalg.norm(features)), 1e-12))
        error = error if np.isfinite(error) else math.inf  # NaN is neither more nor less than anything.
        if error > worst:
            worst, worst_frame = error, index
    problem = ""
    if made.resets != expected.resets:
        problem = f"the state was started anew before frames {made.resets}, expected {expected.resets}"
    elif exact and made.digests != expected.digests:
        first = next(i for i, (a, b) in enumerate(zip(made.digests, expected.digests, strict=True)) if a != b)
        problem = f"other bits from frame {first} on, where the same were expected"
    elif not exact and worst > tolerance:
        problem = f"relative error {worst:.2e} at frame {worst_frame}, expected at most {tolerance:.0e}"
    return CameraVerdict(camera, len(made.stamps_ns), worst, worst_frame, problem)


def _kept(frames: npt.NDArray[np.int64], features: Features) -> dict[int, Features]:
    return dict(zip(frames.tolist(), features, strict=True))


class _Sink:
    """The results of the pipeline as a run."""

    def __init__(self, every: dict[str, int], like: Run | None) -> None:
        self._every = every
        self._wanted = {camera: each.kept.keys() for camera, each in like.cameras.items()} if like is not None else {}
        self.cameras = {camera: CameraRun() for camera in every}
        self._last: dict[str, Features] = {}

    def write(self, result: Result) -> None:
        name = result.arrival.camera
        camera, features = self.cameras[name], result.features.cpu().numpy()
        index = len(camera.stamps_ns)
        camera.stamps_ns.append(result.arrival.stamp_ns or result.arrival.time_ns)
        camera.digests.append(hashlib.sha256(features.astype("<f4", copy=False).tobytes()).hexdigest())
        if result.reset:
            camera.resets.append(index)
        if index in self._wanted[name] if name in self._wanted else index % self._every[name] == 0:
            camera.kept[index] = features
        self._last[name] = features

    def keep_last(self) -> None:
        """Errors grow over the frames: the last one counts most."""
        for name, features in self._last.items():
            self.cameras[name].kept[len(self.cameras[name].stamps_ns) - 1] = features

    def finish(self, outcome: Outcome) -> None:
        """All is there."""

    def discard(self) -> None:
        """Nothing was written."""
