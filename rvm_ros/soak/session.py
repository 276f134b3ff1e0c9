"""A soak: a node for each part (`exact` twice, `flood`, `prompts`, `signals`), and what came of what it was sent."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from rvm_ros.environment import ros_environment
from rvm_ros.soak import exact, flood, prompts, signals
from rvm_ros.soak.exact import ExactRun
from rvm_ros.soak.flood import FloodRun
from rvm_ros.soak.kinds import MAX_PIXELS
from rvm_ros.soak.link import CAMERAS, DEPTH, Link
from rvm_ros.soak.prompts import PromptRun
from rvm_ros.soak.reference import SIZE, Reference, write_network
from rvm_ros.soak.report import Check, Report, check_log
from rvm_ros.soak.script import JPEG_CAMERA, MAX_GAP_S
from rvm_ros.soak.signals import SignalRun
from rvm_ros.soak.subject import END_S, NODE, Log, SoakError, Subject

_IN_STEP: dict[str, object] = {"processing": "every", "queue_length": DEPTH}


@dataclass(frozen=True)
class SoakOptions:
    """What is thrown at what."""

    hostile: int = 20_000
    """Hostile messages in step, and as many frames that are taken in at the least."""
    steady: int = 20_000
    """Good frames with nothing between them, for the memory that cameras cost."""
    flood: int = 5_000
    """Hostile messages at full speed."""
    prompts: int = 2_000
    """Hostile prompts."""
    ends: int = 20
    """Nodes that are told to end, each at another moment."""
    engine: str = "openvino"
    """The node's parameter `engine`."""
    seed: int = 0
    show: bool = True
    """Show progress."""


def run(options: SoakOptions) -> Report:
    """Run a soak. What does not hold is in the report; the node's logs are kept then."""
    report = Report(options.engine, options.seed)
    folder = Path(tempfile.mkdtemp(prefix="rvm_soak_"))
    start_s = time.monotonic()
    # A cache and a domain of its own: nothing of this must reach the user's engines or a robot.
    wanted = {"RVM_CACHE": str(folder / "cache"), **ros_environment(), **_apart()}
    with _environment(wanted):
        model = folder / "network.safetensors"
        write_network(model, options.seed)
        for part, messages in ((exact.HOSTILE, options.hostile), (exact.STEADY, options.steady)):
            if messages:
                _exact_part(part, messages, options, report, folder, Reference(options.engine, model), model)
        if options.flood:
            _flood_part(options, report, folder, Reference(options.engine, model), model)
        if options.prompts:
            _prompt_part(options, report, folder, Reference(options.engine, model), model)
        if options.ends:
            _signal_part(options, report, folder, model)
    report.figures["seconds"] = round(time.monotonic() - start_s, 1)
    if report.holds:
        shutil.rmtree(folder)
    else:
        print(f"soak: the node's logs are kept in {folder}")
    return report


def _exact_part(
    part: str, messages: int, options: SoakOptions, report: Report, folder: Path, reference: Reference, model: Path
) -> None:
    parameters = {**_parameters(options, model), **_IN_STEP}
    with (
        _part(part, report, parameters, folder / f"{part}.log", reliable=True) as (subject, link, refused),
        tqdm(total=messages, unit="message", desc=part, disable=not options.show) as bar,
    ):
        thrown = ExactRun(part, link, subject, reference, options.seed, report, bar.update)
        try:
            thrown.run(messages)
        finally:
            refused.update(thrown.refused)


def _flood_part(options: SoakOptions, report: Report, folder: Path, reference: Reference, model: Path) -> None:
    # Every features message must get here, for each is compared.
    depths = {f"qos_overrides.{NODE}/{camera}/features.publisher.depth": 100_000 for camera in CAMERAS}
    parameters = {**_parameters(options, model), **depths}
    with _part(flood.PART, report, parameters, folder / "flood.log", reliable=False) as (_, link, _refused):
        FloodRun(link, reference, options.seed, report).run(options.flood)


def _prompt_part(options: SoakOptions, report: Report, folder: Path, reference: Reference, model: Path) -> None:
    parameters = {**_parameters(options, model), **_IN_STEP, "segmentation": "propagation"}
    with _part(prompts.PART, report, parameters, folder / "prompts.log", reliable=True) as (_, link, _refused):
        PromptRun(link, reference, options.seed, report).run(options.prompts)


def _signal_part(options: SoakOptions, report: Report, folder: Path, model: Path) -> None:
    with tqdm(total=options.ends, unit="node", desc=signals.PART, disable=not options.show) as bar:
        try:
            parameters, log = _parameters(options, model), folder / "signals.log"
            SignalRun(parameters, log, options.seed, report, bar.update).run(options.ends)
        except SoakError as error:
            _end_early(report, signals.PART, error)


def _end_early(report: Report, part: str, error: SoakError) -> None:
    report.checks.append(Check(f"{part}: runs to its end", str(error), "no error", holds=False))


@contextlib.contextmanager
def _part(
    name: str, report: Report, parameters: Mapping[str, object], log: Path, *, reliable: bool
) -> Iterator[tuple[Subject, Link, Counter[tuple[str, str]]]]:
    """A node and a link to it; at the end the node is interrupted, and its log is checked."""
    refused: Counter[tuple[str, str]] = Counter()
    subject = Subject(parameters, log)
    try:
        link = Link(subject, reliable=reliable)
        try:
            link.connect()
            yield subject, link, refused
            status, seconds = subject.interrupt(signal.SIGTERM)
            report.check(f"{name}: exit status", status, 0)
            report.check_at_most(f"{name}: end after SIGTERM", seconds, END_S, "s")
        except SoakError as error:
            _end_early(report, name, error)
        finally:
            link.close()
    finally:
        subject.kill()
    check_log(report, name, Log.read(log), refused)


def _parameters(options: SoakOptions, model: Path) -> dict[str, object]:
    return {
        "autostart": "true",
        "cameras": f"[{', '.join(CAMERAS)}]",
        f"{JPEG_CAMERA}.transport": "compressed",
        "model": model,
        "engine": options.engine,
        "image_size": f"[{SIZE[0]}, {SIZE[1]}]",
        "device": "cpu",
        "threads": 1,
        "clusters": 3,
        "max_pixels": MAX_PIXELS,
        "max_gap": MAX_GAP_S,
    }


def _apart() -> dict[str, str]:
    """Variables that keep a run from the network and from other runs; what the user has set already is left out."""
    # Domains above 101 collide with ephemeral ports.
    wanted = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_DOMAIN_ID": str(1 + os.getpid() % 101)}
    return {name: value for name, value in wanted.items() if not os.environ.get(name)}


@contextlib.contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
