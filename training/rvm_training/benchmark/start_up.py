"""How long a fresh process takes to its first features."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tqdm import trange

from rvm_training.benchmark.timing import Timing

PARTS = ("Python and imports", "engine and first step", "all")
_PROCESS = """
import json, sys, time
import torch
from rvm_model.engines import choose_engine
imported = time.time()
choice, model, height, width = *sys.argv[1:3], *map(int, sys.argv[3:])
engine = choose_engine(choice, model=model, size=(height, width), device="cpu", tell=lambda _: None)
engine.step(torch.zeros(1, engine.info.height, engine.info.width, 3, dtype=torch.uint8), engine.init_state(1))
print(json.dumps([imported, time.time(), f"{engine.info.kind} {engine.info.arithmetic}"]))
"""


@dataclass(frozen=True)
class StartUp:
    """One choice of an engine."""

    engine: str
    """What it turned out to be."""
    parts: dict[str, Timing]
    """By the names of `PARTS`, from before the process was started."""


def start_ups(choices: Mapping[str, str], model: str, size: tuple[int, int], rounds: int) -> dict[str, StartUp]:
    """Start processes in turn, each with an engine on the CPU that is there already.

    Args:
        choices: name on the page to what `choose_engine` takes.
        model: weights, as `rvm_model.load_weights` takes them.
        size: height and width of the frames.
        rounds: measured processes of each; one before them builds what the cache lacks.

    Raises:
        ValueError: a process failed; its error is on the screen.
    """
    seconds: dict[str, list[tuple[float, float, float]]] = {name: [] for name in choices}
    engines: dict[str, str] = {}
    for round_ in trange(rounds + 1, unit="round", desc="start-up"):
        for name, choice in choices.items():
            words = [choice, model, *map(str, size)]
            started = time.time()
            done = subprocess.run([sys.executable, "-c", _PROCESS, *words], stdout=subprocess.PIPE, text=True)
            if done.returncode:
                raise ValueError(f"start-up: a process with engine {choice!r} and {model} ended with {done.returncode}")
            imported, ready, engines[name] = json.loads(done.stdout.splitlines()[-1])
            if round_:
                seconds[name].append((imported - started, ready - imported, ready - started))
    return {
        name: StartUp(engines[name], dict(zip(PARTS, map(Timing.of, zip(*each, strict=True)), strict=True)))
        for name, each in seconds.items()
    }
