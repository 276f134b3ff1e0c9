"""The benchmark's figures as docs/benchmarks.md, a picture and a JSON file."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from rvm_model.config import RVMConfig
from rvm_model.engines.cpu import processor
from rvm_training.benchmark.engines import AUTHORS, EAGER, StepTiming
from rvm_training.benchmark.roofline import Machine, bound_ms, parameter_count
from rvm_training.benchmark.shares import STEP
from rvm_training.benchmark.start_up import PARTS, StartUp
from rvm_training.benchmark.stream import Steadiness
from rvm_training.benchmark.timing import Timing

NOTEBOOK = "https://github.com/google-deepmind/representations4d/blob/main/colabs/rvm_runtime_and_memory.ipynb"


@dataclass(frozen=True)
class Network:
    """One of the networks that were timed."""

    config: RVMConfig
    identity: str
    """Of its weights."""
    trained: bool


@dataclass(frozen=True)
class Report:
    """Everything that one run measured."""

    command: str
    device: str
    rounds: int
    steps: list[StepTiming]
    starts: dict[str, StartUp]
    """Engine's name to the start of a process; empty where nothing is compiled."""
    starts_size: tuple[int, int]
    shares: dict[str, dict[str, Timing]]
    """Engine's name to the parts of a frame."""
    shares_size: tuple[int, int]
    camera: tuple[int, int]
    """Height and width of the images that the shares are of."""
    stream: Steadiness
    stream_engine: str
    window: dict[int, Timing]
    """Frames that a space-time transformer sees to the time of a pass over them."""
    window_size: tuple[int, int]
    machine: Machine
    """What the device reached in plain float32 products and copies."""
    networks: dict[str, Network]
    """By name."""
    network_step: Timing
    """One step of the recurrent network in plain torch, at `window_size`, in turn with the transformer's passes."""


def write(report: Report, folder: Path) -> list[Path]:
    """Write benchmarks.md, benchmarks.json and images/benchmarks.png into a folder; returns the files."""
    text, figures, picture = folder / "benchmarks.md", folder / "benchmarks.json", folder / "images" / "benchmarks.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    figures.write_text(json.dumps({"where": machine(report), **dataclasses.asdict(report)}, indent=1) + "\n")
    _draw(report, picture)
    text.write_text(markdown(report), encoding="utf-8")
    return [text, figures, picture]


def machine(report: Report) -> str:
    """Where it ran, without names of hosts."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnxruntime", "openvino"))
    threads = "" if report.device.startswith("cuda") else f", {torch.get_num_threads()} threads"
    return f"{processor(report.device)}{threads}; {packages}; Python {platform.python_version()}"


def markdown(report: Report) -> str:
    """The page."""
    sections = [
        "# How fast the recurrent step is",
        f"Written by the command below; comparisons are ratios within this one run. Machine: {machine(report)}. "
        "Other weights of the same size take the same time; the errors are those of these.",
        f"```sh\n{report.command}\n```",
        *_networks(report),
        *_engines(report),
        *_starts(report),
        *_stream(report),
        *_shares(report),
    ]
    return "\n\n".join(sections) + "\n"


def _networks(report: Report) -> list[str]:
    lines = ["| network | parameters | D | encoder | core | patch | weights |", "|---|---|---|---|---|---|---|"]
    for name, network in report.networks.items():
        config = network.config
        weights = network.identity[:19] if network.trained else "untrained"
        lines.append(
            f"| `{name}` | {parameter_count(config) / 1e6:.1f} M | {config.dim} | {config.encoder_depth} blocks | "
            f"{config.core_depth} blocks | {config.patch_size} px | {weights} |"
        )
    return ["\n".join(lines)]


def _engines(report: Report) -> list[str]:
    compared = any(step.name == AUTHORS for step in report.steps)
    yardsticks = [AUTHORS, EAGER] if compared else [EAGER]
    authors = (
        f"`{AUTHORS}` is the network of their [runtime notebook]({NOTEBOOK}), read from the file that `--authors` "
        "names (download it, and `pip install einops`). "
        if compared
        else ""
    )
    sections = [
        "## Engines",
        f"One step, everything in turn, {report.rounds} rounds: medians, with the tenth to the ninetieth percentile; "
        "ratios are taken round by round. "
        f"`{EAGER}` is this project's network as it stands, `torch engine` the same with joined products; the others "
        f"are what `rvm export` writes. {authors}The error is the largest relative "
        "one of 64 recurrent steps against the float32 network, on a recording that calibration has not seen: that of "
        "`--video`, or rendered scenes; `loading` is from the engine's folder to the first "
        "features, in a process that has imported everything. The roofline is what float32 would take at the "
        f"{report.machine.flops_per_s / 1e12:.2f} TFLOP/s that a large matrix product reached here "
        f"and the {report.machine.bytes_per_s / 1e9:.0f} GB/s of a large copy, whichever takes longer.",
    ]
    for (network, height, width, cameras), rows in _groups(report.steps).items():
        base = {name: _named(rows, name).timing for name in yardsticks}
        sections.append(f"### {network}, {height}x{width}, {cameras} camera{'s' if cameras > 1 else ''}")
        lines = [
            f"| | ms | 10 % to 90 % | {' | '.join(f'as fast as {name}' for name in yardsticks)} | error | loading |",
            "|---" * (5 + len(yardsticks)) + "|",
        ]
        for row in rows:
            timing = row.timing
            error = "" if row.error is None else f"{row.error:.1e}"
            load = "" if row.load_s is None else f"{row.load_s:.1f} s"
            ratios = " | ".join(_ratio(timing, base[name]) for name in yardsticks)
            spread = f"{timing.p10_ms:.1f} to {timing.p90_ms:.1f}"
            lines.append(f"| {row.name} | {timing.median_ms:.1f} | {spread} | {ratios} | {error} | {load} |")
        bound = bound_ms(report.machine, report.networks[network].config, (height, width), cameras)
        ratios = " | ".join(f"{base[name].median_ms / bound:.2f}" for name in yardsticks)
        lines.append(f"| *roofline of float32, by arithmetic* | {bound:.1f} | | {ratios} | | |")
        sections.append("\n".join(lines))
    return sections


def _starts(report: Report) -> list[str]:
    if not report.starts:
        return []
    height, width = report.starts_size
    lines = [f"| | engine | {' | '.join(PARTS)} |", "|---" * (2 + len(PARTS)) + "|"]
    for name, start in report.starts.items():
        medians = [f"{start.parts[part].median_ms / 1e3:.1f} s" for part in PARTS]
        lines.append(f"| {name} | {start.engine} | {' | '.join(medians)} |")
    return [
        "## Start-up",
        f"From the start of a fresh process to the first features, with an engine of {height}x{width} that is there "
        f"already; medians of {len(start.parts[PARTS[0]].each_ms)}.",
        "\n".join(lines),
    ]


def _stream(report: Report) -> list[str]:
    early, late = report.stream.early, report.stream.late
    ratio, low, high = late.ratio(early)
    height, width = report.window_size
    grown = report.stream.grown_mb
    memory = "was not measured" if grown is None else f"changed by {grown:+.1f} MB"
    lines = ["| frames at once | a pass | a frame, in chunks | a frame, each answered |", "|---|---|---|---|"]
    for count, timing in report.window.items():
        lines.append(
            f"| {count} | {timing.median_ms:.1f} ms | {timing.median_ms / count:.1f} ms | {timing.median_ms:.1f} ms |"
        )
    return [
        "## Cost over time, and cost of context",
        f"{report.stream_engine}: a camera's step after {len(report.stream.stream_ms)} frames takes {ratio:.3f} times "
        f"as long as one of the first ten after a reset (median of {len(late.each_ms)} pairs in turn, of "
        f"{late.median_ms:.1f} and {early.median_ms:.1f} ms; eight of ten pairs are within {low:.2f} to {high:.2f}), "
        f"and from frame 10 on the memory of the process {memory}. The state carries the past, however long it is.",
        "A transformer over space and time has to look at the frames again. Below, the network's own encoder over all "
        f"patches of several frames at {height}x{width} at once, in plain torch; without the core, which is what the "
        "recurrence costs. In chunks, features come only when a chunk is full, and nothing is known of what was before "
        "it. The recurrent step in plain torch, from the same rounds: "
        f"{report.network_step.median_ms:.0f} ms for each frame, at once, whatever came before. {_crossing(report)}",
        "\n".join(lines),
        "![steps of all engines, time of each frame of the stream, cost against context](images/benchmarks.png)",
    ]


def _crossing(report: Report) -> str:
    """Which chunks cost less per frame than the recurrent step, and which more."""
    step = report.network_step.median_ms
    cheaper = [str(count) for count, timing in report.window.items() if timing.median_ms / count <= step]
    dearer = [str(count) for count in report.window if str(count) not in cheaper]
    sentences = []
    if cheaper:
        sentences.append(f"Chunks of {', '.join(cheaper)} cost less a frame than that.")
    if dearer:
        sentences.append(f"Chunks of {', '.join(dearer)} cost more.")
    return " ".join(sentences)


def _shares(report: Report) -> list[str]:
    height, width = report.shares_size
    lines = [f"| | {' | '.join(report.shares)} |", "|---" * (1 + len(report.shares)) + "|"]
    steps = {name: parts[STEP].median_ms for name, parts in report.shares.items()}
    for part in next(iter(report.shares.values())):
        cells = [
            f"{parts[part].median_ms:.1f} ms ({100 * parts[part].median_ms / steps[name]:.0f} %)"
            for name, parts in report.shares.items()
        ]
        lines.append(f"| {part} | {' | '.join(cells)} |")
    return [
        "## What a frame's time is made of",
        f"One camera of {report.camera[0]}x{report.camera[1]}, engine of {height}x{width}; `all` is resize and every "
        "head, without the step.",
        "\n".join(lines),
    ]


def _draw(report: Report, path: Path) -> None:
    figure = Figure(figsize=(17, 4.5), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.4, 1, 1))
    names = list(dict.fromkeys(step.name for step in report.steps))
    groups = _groups(report.steps)
    for index, name in enumerate(names):
        ratios = [_named(rows, names[0]).timing.ratio(_named(rows, name).timing)[0] for rows in groups.values()]
        places = [place + 0.8 * index / len(names) for place in range(len(groups))]
        left.bar(places, ratios, width=0.8 / len(names), label=name, align="edge")
    labels = [f"{network.removeprefix('untrained:')}\n{h}x{w}, {n}" for network, h, w, n in groups]
    left.set_xticks([place + 0.4 for place in range(len(groups))], labels, fontsize=7)
    left.set(ylabel=f"times as fast as {names[0]}", xlabel="network, size, cameras")
    left.legend(fontsize=8)
    left.grid(axis="y", alpha=0.3)
    stream = np.asarray(report.stream.stream_ms)
    bins = np.array_split(stream, max(1, len(stream) // 20))
    middle.plot(np.arange(1, len(stream) + 1), stream, ".", markersize=2, alpha=0.3, label="each frame")
    middle.plot(np.cumsum([len(each) for each in bins]), [np.median(each) for each in bins], label="median of twenty")
    middle.set(xlabel="frame of the stream", ylabel="ms", ylim=(0, 2 * np.median(stream)), title=report.stream_engine)
    middle.legend(fontsize=8)
    middle.grid(alpha=0.3)
    counts = list(report.window)
    passes = [timing.median_ms for timing in report.window.values()]
    chunks = [ms / count for ms, count in zip(passes, counts, strict=True)]
    right.plot(counts, passes, "o-", label="space-time, every frame answered")
    right.plot(counts, chunks, "s-", label="space-time, in chunks")
    right.axhline(report.network_step.median_ms, color="C2", linestyle="--", label="recurrent step, unlimited past")
    right.set(xlabel="frames that the transformer sees", ylabel="ms per frame", xscale="log", yscale="log")
    right.set_xticks(counts, [str(count) for count in counts])
    right.minorticks_off()
    right.legend(fontsize=8)
    right.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def _groups(steps: Sequence[StepTiming]) -> dict[tuple[str, int, int, int], list[StepTiming]]:
    """Rows that are compared: those of one network, height, width and number of cameras."""
    groups: dict[tuple[str, int, int, int], list[StepTiming]] = {}
    for step in steps:
        groups.setdefault((step.network, step.height, step.width, step.cameras), []).append(step)
    return groups


def _ratio(timing: Timing, base: Timing) -> str:
    """How many times as fast, round by round: median, and the first and last decile."""
    median, low, high = base.ratio(timing)
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def _named(rows: Sequence[StepTiming], name: str) -> StepTiming:
    return next(row for row in rows if row.name == name)
