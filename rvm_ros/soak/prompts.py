"""The part in which prompts are nonsense: objects to follow, marked by whoever can reach the topics."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import String

from rvm_model.messages.feature_maps import msg_to_features
from rvm_ros.soak.kinds import GOOD_SIZE, Rng, raw
from rvm_ros.soak.link import Link
from rvm_ros.soak.reference import Reference
from rvm_ros.soak.report import Report
from rvm_ros.soak.script import RAW_CAMERA, Script

PART = "prompts"
HEIGHT, WIDTH = GOOD_SIZE
HUGE_NUMBER = "9" * 400
"""An integer that no float holds."""
GOOD_PROMPT = json.dumps({"id": 7, "name": "cup", "box": [8, 8, 40, 40]})


def _text(*choices: str) -> Callable[[Rng], String]:
    return lambda rng: String(data=str(rng.choice(choices)))


def _json(content: dict[str, object]) -> String:
    return String(data=json.dumps(content))


KINDS: dict[str, Callable[[Rng], Image | String]] = {
    "no JSON": _text("", "cup", "{", "nul", "{'id': 1}", "\x00", "[1", '{"box": [0, 0, 9, 9]'),
    "no object": _text("1", "null", "[]", '"box"', "true", "NaN", "1e999"),
    "nested without end": lambda rng: String(data="[" * int(rng.integers(1000, 200_000))),
    "unknown keys": _text('{"file": "/etc/passwd"}', '{"__class__": 1, "clear": true}', '{"box": [0,0,9,9], "x": 1}'),
    "keys of control characters": _text('{"\\n[ERROR] [0.0] [root]: \\u001b[31m": 1}', '{"\\r\\b": 1}'),
    "half characters": _text(
        '{"\\ud800": 1}',
        '{"points": "\\ud800"}',
        '{"id": "\\udfff", "box": [0,0,9,9]}',
        '{"name": "\\ud800", "box": 1}',
    ),
    "nothing asked, or too much": _text("{}", '{"id": 1}', '{"box": [0,0,9,9], "remove": 1}', '{"clear": false}'),
    "wrong ids": _text(
        '{"remove": 0}',
        '{"remove": 255}',
        '{"remove": 1.5}',
        '{"remove": true}',
        '{"id": -1, "box": [0,0,9,9]}',
        f'{{"remove": {HUGE_NUMBER}}}',
    ),
    "wrong boxes": _text(
        '{"box": []}',
        '{"box": [0, 0, 9]}',
        '{"box": "0099"}',
        '{"box": [9, 9, 0, 0]}',
        '{"box": [0, 0, 1e999, 9]}',
        '{"box": [NaN, 0, 9, 9]}',
        '{"box": [-Infinity, 0, 9, 9]}',
        '{"box": [0, 0, 9, 99999]}',
        '{"box": [[0], 0, 9, 9]}',
    ),
    "wrong points": _text(
        '{"points": []}',
        '{"points": [[]]}',
        '{"points": [1, 2]}',
        '{"points": [[1, 2, 3]]}',
        '{"points": [[NaN, 1]]}',
        '{"points": [[-1, 5]]}',
        '{"points": {"x": 1}}',
        '{"points": [[1, 1]], "negative": [[1e300, 1]]}',
    ),
    "numbers that no float holds": _text(
        f'{{"points": [[{HUGE_NUMBER}, 1]]}}',
        f'{{"box": [0, 0, {HUGE_NUMBER}, 9]}}',
        f'{{"box": [-{HUGE_NUMBER}, 0, 9, 9]}}',
    ),
    "stamps out of this world": _text(
        f'{{"stamp": [-{HUGE_NUMBER}, 0], "box": [0,0,9,9]}}',
        '{"stamp": [1], "box": [0,0,9,9]}',
        '{"stamp": "now", "box": [0,0,9,9]}',
        '{"stamp": [1, 1], "box": [0,0,9,9]}',
        '{"stamp": [-5, 0], "box": [0,0,9,9]}',
    ),
    "points without end": lambda rng: _json({"points": [[1, 1]] * int(rng.integers(1001, 50_000))}),
    "texts without end": lambda rng: _json(
        {str(rng.choice(["id", "name", "box", "clear", "x"])): "x" * int(rng.integers(5000, 500_000))}
    ),
    "mask of colours": lambda rng: raw(rng.bytes(HEIGHT * WIDTH * 3), HEIGHT, WIDTH, WIDTH * 3, "rgb8"),
    "mask of no size": lambda rng: raw(b"", 0, int(rng.integers(0, 9)), 0, "mono8"),
    "mask of a huge size": lambda rng: raw(b"", 2**32 - 1, int(rng.choice([1, 2**16, 2**32 - 1])), 9, "mono8"),
    "mask cut off": lambda rng: raw(rng.bytes(int(rng.integers(HEIGHT * WIDTH))), HEIGHT, WIDTH, WIDTH, "mono8"),
    "mask of a wrong step": lambda rng: raw(
        rng.bytes(HEIGHT * WIDTH), HEIGHT, WIDTH, int(rng.choice([0, WIDTH - 1, 2**32 - 1])), "mono8"
    ),
    "mask of nothing": lambda rng: raw(bytes(HEIGHT * WIDTH), HEIGHT, WIDTH, WIDTH, "mono8"),
    "mask of ids beyond all": lambda rng: raw(
        rng.integers(300, 2**16, HEIGHT * WIDTH).astype(np.uint16).tobytes(), HEIGHT, WIDTH, WIDTH * 2, "mono16"
    ),
    "mask of many letters": lambda rng: raw(b"", 1, 1, 1, "x" * int(rng.integers(1000, 100_000))),
}
"""Prompts that must be refused, by kind."""


@dataclass
class PromptRun:
    """Throws so many prompts at the raw camera, with a good frame after each."""

    link: Link
    reference: Reference
    seed: int
    report: Report

    def run(self, prompts: int) -> None:
        """Throw them and check that frames go on as if nothing were.

        Raises:
            SoakError: the node has ended, or features that had to come did not.
        """
        rng = np.random.default_rng([self.seed, 200])
        script, kinds, wrong = Script(RAW_CAMERA, rng), list(KINDS), []
        waiting = self.link.features[RAW_CAMERA]
        for index in range(prompts):
            kind = kinds[index % len(kinds)]
            self.report.sent[f"prompt: {kind}"] += 1
            self.link.prompt(KINDS[kind](rng))
            sent = script.good()
            self.link.send(RAW_CAMERA, sent.message)
            self.link.wait(lambda: bool(waiting), f"the features of the good frame after the prompt {index}, {kind}")
            assert sent.image is not None
            expected = self.reference.step(RAW_CAMERA, sent.image, reset=False)
            if not self.reference.agrees(msg_to_features(waiting.pop(0)), expected):
                wrong.append(f"{kind}: features of the frame after it are wrong")
        taken = [outcome for outcome in self.link.prompted if not outcome.startswith("refused")]
        self.link.prompt(String(data=GOOD_PROMPT))
        self.link.wait(lambda: not self.link.prompted[-1].startswith("refused"), "a good prompt to be taken")
        self.report.check(f"{PART}: wrong features", wrong[:5], [])
        self.report.check(f"{PART}: nonsense that was taken for a prompt", taken[:5], [])
        self.report.figures[f"{PART}: prompts"] = prompts
