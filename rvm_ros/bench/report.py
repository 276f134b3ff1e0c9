"""The benchmark's figures as text, a page and a JSON file."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rvm_model.engines.cpu import processor
from rvm_ros.bench.camera import HEIGHT, WIDTH
from rvm_ros.bench.figures import Durations, Split, around_ms, over_rounds
from rvm_ros.bench.session import Result
from rvm_ros.latency import STAGES

PACKAGES = ("torch", "openvino", "onnxruntime", "ros-kilted-rclpy", "ros-kilted-rmw-fastrtps-cpp")


def write(results: Sequence[Result], command: str, folder: Path) -> list[Path]:
    """Write node_benchmarks.md and node_benchmarks.json into a folder; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    text, figures = folder / "node_benchmarks.md", folder / "node_benchmarks.json"
    content = {"where": machine(), "command": command, "results": [_plain(result) for result in results]}
    figures.write_text(json.dumps(content, indent=1) + "\n")
    text.write_text(page(results, command), encoding="utf-8")
    return [text, figures]


def page(results: Sequence[Result], command: str) -> str:
    """The page, Markdown."""
    sections = [
        "# What ROS costs around the engine",
        f"Written by the command below. Machine: {machine()}.",
        f"```sh\n{command}\n```",
        f"A camera publishes {WIDTH}x{HEIGHT} rgb8, best effort, from a process of its own; the node is a process as a "
        "robot runs it; who receives the features is a third one. A frame's stamp is the time just before its publish "
        "call, by the clock that all processes of a machine share, so its age when the features' callback begins is "
        "the whole. The node's part is what it tells on /diagnostics, and what is left is outside of it. The engine's "
        "step alone runs in a fourth process, with the node's parameters and threads, at the camera's rate and "
        "without pauses. The relay is a node without an engine, which answers each image with a feature map of the "
        "same size: what ROS costs here in Python before anything of ours is done. All take turns in every round; "
        "figures are medians over the rounds, of each round's percentile, and the maximum is that of all frames.",
    ]
    for result in results:
        sections += [f"## {result.case.name}", _about(result), *_tables(result), f"**{verdict(result)}**"]
    return "\n\n".join(sections) + "\n"


def machine() -> str:
    """Where it ran, without names of hosts."""
    packages = ", ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name)))
    return f"{processor('cpu')}, {os.cpu_count()} cores; {packages}; Python {platform.python_version()}"


def verdict(result: Result) -> str:
    """The case in one line, with how far the rounds differ."""
    low, high = around_ms(result.rounds)
    return f"{Split.of(result.rounds).verdict()}; {low:.1f} to {high:.1f} ms in single rounds"


def text(result: Result) -> str:
    """A case for a terminal."""
    return "\n\n".join([result.case.name, _about(result), *_tables(result), verdict(result)])


def _plain(result: Result) -> dict[str, object]:
    """For JSON; of a file of weights its name alone, for the page is for other machines."""
    case = dataclasses.replace(result.case, model=Path(result.case.model).name)
    return dataclasses.asdict(dataclasses.replace(result, case=case))


def _about(result: Result) -> str:
    case, (height, width, dim) = result.case, result.feature_map
    before, after = result.load
    return (
        f"{result.engine}. {case.rate_hz:g} Hz, {case.rounds} rounds of {case.seconds:g} s a phase; a feature map has "
        f"{height}x{width}x{dim} numbers, {height * width * dim * 4 / 1e3:.0f} kB. Load of the machine: {before:.1f} "
        f"before, {after:.1f} at the end."
    )


def _tables(result: Result) -> list[str]:
    return ["\n".join(lines) for lines in (_split(result), _spread(result), _subscribers(result))]


def _split(result: Result) -> list[str]:
    split = Split.of(result.rounds)
    rows = [
        *((f"node: {stage}", split.stages[stage], meaning) for stage, meaning in STAGES.items()),
        ("outside of the node", split.outside, "from process to process, twice, with both executors"),
        ("**publish to features received**", split.total, "the sum"),
        ("engine step alone", split.engine, "at the camera's rate, in a process of its own"),
        ("**ROS and the rest**", split.around, "the difference, within each round"),
        ("the same beside the step in the node", split.beside, "the difference, of the same frames"),
        ("relay without an engine", split.relay, "what ROS alone costs here"),
    ]
    return ["| | ms | what it is |", "|---|---|---|", *(f"| {name} | {ms:.2f} | {what} |" for name, ms, what in rows)]


def _spread(result: Result) -> list[str]:
    rounds = result.rounds
    rows: dict[str, list[Durations]] = {}
    for output in result.case.outputs:
        phases = [each for round_ in rounds if (each := round_.node[output].latency) is not None]
        if phases:
            rows[f"publish to features received, subscribed: {output}"] = phases
    rows["relay"] = [each.relay for each in rounds]
    rows["engine step alone, at the camera's rate"] = [each.paced.step for each in rounds]
    rows["engine step alone, without pauses"] = [each.back_to_back.step for each in rounds]
    lines = ["| ms | p50 | p95 | p99 | max | frames |", "|---|---|---|---|---|---|"]
    for name, durations in rows.items():
        all_ = Durations.over_rounds(durations)
        lines.append(f"| {name} | {all_.p50:.1f} | {all_.p95:.1f} | {all_.p99:.1f} | {all_.max:.1f} | {all_.count} |")
    return lines


def _subscribers(result: Result) -> list[str]:
    rounds = result.rounds
    lines = [
        "| subscribed | processor time a frame | node: heads | node: publish | sent | features received | dropped |",
        "|---|---|---|---|---|---|---|",
    ]
    for output in result.case.outputs:
        phases = [round_.node[output] for round_ in rounds]
        received = [each.latency.count for each in phases if each.latency is not None]
        cpu, heads, publish = (
            over_rounds(rounds, of)
            for of in (
                lambda round_, output=output: round_.node[output].cpu_ms,
                lambda round_, output=output: round_.node[output].stages_p50_ms["heads"],
                lambda round_, output=output: round_.node[output].stages_p50_ms["publish"],
            )
        )
        lines.append(
            f"| {output} | {cpu:.1f} ms | {heads:.2f} ms | {publish:.2f} ms | {sum(each.sent for each in phases)} | "
            f"{sum(received) if received else ''} | {sum(each.counts['dropped'] for each in phases)} |"
        )
    cpu_ms = over_rounds(rounds, lambda round_: round_.paced.cpu_ms)
    lines.append(f"| *engine step alone, at the camera's rate* | {cpu_ms:.1f} ms | | | | | |")
    return lines


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""  # On a ROS 2 machine rclpy is no pip package, and a runtime may be missing.
