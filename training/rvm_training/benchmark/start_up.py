"""How long a fresh process takes to its first features."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

from tqdm import trange

from rvm_training.benchmark.timing import Timing

IMPORTS, LOADING = "imports", "engine and first step"
_PROCESS = """
import json, sys, time
start = time.perf_counter()
import torch
from rvm_model.engines import choose_engine
imported = time.perf_counter()
choice, model, height, width = *sys.argv[1:3], *map(int, sys.argv[3:])
engine = choose_engine(choice, model=model, size=(height, width), device="cpu", tell=lambda _: None)
engine.step(torch.zeros(1, engine.info.height, engine.info.width, 3, dtype=torch.uint8), engine.init_state(1))
print(json.dumps([imported - start, time.perf_counter() - imported]))
"""


def start_ups(
    choices: Mapping[str, str], model: str, size: tuple[int, int], rounds: int
) -> dict[str, dict[str, Timing]]:
    """Start processes in turn, each with an engine on the CPU that is there already.

    Args:
        choices: what `choose_engine` takes, to its name on the page.
        model: weights, as `rvm_model.load_weights` takes them.
        size: height and width of the frames.
        rounds: measured processes of each; one before them builds what the cache lacks.

    Returns:
        Name to the parts of a start.

    Raises:
        subprocess.CalledProcessError: a process failed; its error is on the screen.
    """
    seconds: dict[str, list[list[float]]] = {name: [] for name in choices.values()}
    for round_ in trange(rounds + 1, unit="round", desc="start-up"):
        for choice, name in choices.items():
            command = [sys.executable, "-c", _PROCESS, choice, model, *map(str, size)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            if round_:
                seconds[name].append(json.loads(done.stdout.splitlines()[-1]))
    return {
        name: dict(zip((IMPORTS, LOADING), map(Timing.of, zip(*each, strict=True)), strict=True))
        for name, each in seconds.items()
    }
