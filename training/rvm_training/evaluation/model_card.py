"""Model cards: what weights are, what they were made of, how good they are and what they are not for.

After Model Cards for Model Reporting (Mitchell et al., 2019, arXiv 1810.03993). What can be read off the weights and
the results is; the rest people write, in a file of notes, and every part of it must be there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from rvm_model.rvm import RVM
from rvm_model.weights import WeightsInfo
from rvm_training.evaluation.result import Result
from rvm_training.evaluation.table import HEADLINES, tabulate

SUFFIXES = (".npz", ".safetensors")
"""Of files of weights."""
RANDOM = "Random weights: the figures are those of a network that learned nothing."


@dataclass(frozen=True)
class CardNotes:
    """What only people know of weights."""

    purpose: str = ""
    """What they are for, and for whom."""
    not_for: str = ""
    """What they should not be used for."""
    data: str = ""
    """What they were trained on: source, amount, licence, who may be seen in it."""
    training: str = ""
    """The recipe: objective, steps, batch, schedule; what departs from the paper."""
    cost: str = ""
    """Machine, hours, and energy where it is known."""
    reproduce: str = ""
    """Commands that make these weights and these figures."""
    limits: str = ""
    """Where they fail, and what was not tested."""
    licence: str = ""
    """Of the weights."""

    @property
    def missing(self) -> list[str]:
        """Names of the parts that nobody wrote."""
        return [field.name for field in dataclasses.fields(self) if not getattr(self, field.name).strip()]


def model_card(network: RVM, info: WeightsInfo, notes: CardNotes, results: Sequence[Result]) -> str:
    """A card as Markdown.

    Args:
        network: what the card is of.
        info: where its weights came from.
        notes: what people say, whole.
        results: of these weights and of what they are compared with.

    Raises:
        ValueError: a part of the notes is missing, no result is of these weights, or results cannot be compared.
    """
    if notes.missing:
        raise ValueError(f"card: got notes without {', '.join(notes.missing)}, expected every part to say something")
    if not any(result.model.weights == info.identity for result in results):
        raise ValueError(f"card: got no result of the weights {info.identity}, expected one; evaluate them first")
    name = Path(info.name)
    parts = [
        f"# {name.stem if name.suffix in SUFFIXES else info.name}",
        "" if info.trained else f"**{RANDOM}**",
        _section("What it is for", notes.purpose),
        _section("What it is not for", notes.not_for),
        _section("The network", _network(network, info)),
        _section("Data", notes.data),
        _section("Training", notes.training),
        _section("Cost", notes.cost),
        _section("Figures", _figures(results)),
        _section("Limits", notes.limits),
        _section("Made with", notes.reproduce),
        _section("Licence", notes.licence),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n{text.strip()}"


def _network(network: RVM, info: WeightsInfo) -> str:
    config = network.config
    counts = {
        part: sum(parameter.numel() for parameter in module.parameters())
        for part in ("tokenizer", "encoder", "core", "decoder")
        if isinstance(module := getattr(network, part), nn.Module)
    }
    run = sum(parameter.numel() for parameter in network.parameters()) - counts.get("decoder", 0)
    trained, run_at = (f"{height}x{width}" for height, width in (config.training_size, config.image_size))
    code = "stays as it is" if config.position == "axes" else "is resized"
    lines = [
        f"RVM (recurrent video masked autoencoder, arXiv 2512.13684): {config.encoder_depth} encoder blocks and "
        f"{config.core_depth} blocks of the recurrent core, {config.dim} wide, patches of {config.patch_size} pixels, "
        f"trained at {trained}, run at {run_at} where nobody chooses; at other sizes its position code {code}.",
        "",
        f"- Parameters: {', '.join(f'{part} {count:,}' for part, count in counts.items())}; without the decoder, which "
        f"a robot does not need, {run:,}",
        f"- Identity of the weights: `{info.identity}`",
    ]
    return "\n".join(lines)


def _figures(results: Sequence[Result]) -> str:
    shown = [result for result in results if result.protocol in HEADLINES]
    lines = [tabulate(shown).markdown()] if shown else []
    for mine in _alike(results):
        names = list(dict.fromkeys(name for result in mine for name in result.metrics))
        size = mine[0].settings.get("size")
        at = f", {size[0]}x{size[1]}" if isinstance(size, (list, tuple)) else ""
        lines += [
            f"<details><summary>{mine[0].protocol}, on {mine[0].data}{at}</summary>\n",
            "| | " + " | ".join(result.model.name for result in mine) + " |",
            "|---|" + "---:|" * len(mine),
            *(f"| {name} | " + " | ".join(_cells(name, mine)) + " |" for name in names),
            "\n</details>\n",
        ]
    return "\n".join(lines)


def _alike(results: Sequence[Result]) -> list[list[Result]]:
    """Results that may stand side by side: of one protocol, data and settings."""
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.protocol, result.data, result.settings_key), []).append(result)
    return list(groups.values())


def _cells(metric: str, results: Sequence[Result]) -> list[str]:
    values = [result.metrics.get(metric, math.nan) for result in results]
    return ["" if math.isnan(value) else f"{value:.4g}" for value in values]
