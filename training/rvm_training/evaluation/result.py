"""A result file: one model, one protocol, the figures and everything that made them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rvm_training.evaluation.models.base import ModelInfo

MADE = " (made)"
"""Ends the name of data that were made here, so that their figures are not taken for those of the dataset."""
SCHEMA = 1
"""Of the file; a file of another one is refused."""


class ResultError(ValueError):
    """A file that is no result of this version."""


@dataclass(frozen=True)
class Result:
    """What one model reached in one protocol."""

    protocol: str
    """For example `davis-2017`."""
    model: ModelInfo
    """Which model."""
    data: str
    """Name of the data's folder, or what made it."""
    settings: Mapping[str, Any]
    """What was chosen: input size, parameters of the protocol."""
    metrics: Mapping[str, float]
    """Figures of the whole, by the names that papers use; NaN where there is none."""
    parts: Sequence[Mapping[str, Any]] = ()
    """Figures of every video or object."""
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Figures over something that is one of them: frames, strength, ..."""

    @property
    def settings_key(self) -> str:
        """The same for results that may stand side by side: all settings but the learning rate, which is searched."""
        return json.dumps({name: value for name, value in self.settings.items() if name != "lr"}, sort_keys=True)

    @property
    def file_name(self) -> str:
        """Name that tells protocol and model."""
        return f"{self.protocol}_{self.model.file_name}.json"

    def save(self, folder: Path) -> Path:
        """Write the file, as strict JSON (NaN is null), and return its path.

        Raises:
            OSError: it cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / self.file_name
        partial = path.with_name(path.name + ".partial")
        text = json.dumps(_without_nan({"schema": SCHEMA, **asdict(self)}), indent=1, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(path)
        return path

    @classmethod
    def load(cls, path: Path) -> Result:
        """Read a file of `save`.

        Raises:
            ResultError: it is none.
            OSError: it cannot be read.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(values, dict) or values.pop("schema", None) != SCHEMA:
                raise ResultError(f"{path}: got no schema {SCHEMA}, expected a result that `rvm eval` wrote")
            metrics = {name: float("nan") if value is None else value for name, value in values.pop("metrics").items()}
            return cls(model=ModelInfo(**values.pop("model")), metrics=metrics, **values)
        except (UnicodeDecodeError, json.JSONDecodeError, TypeError, KeyError, AttributeError) as error:
            raise ResultError(f"{path}: is no result of `rvm eval` ({error!r}); evaluate again") from error


def load_results(paths: Iterable[Path]) -> list[Result]:
    """Read result files, and all that lie in folders.

    Raises:
        ResultError: a file is none, or there is no file.
        OSError: a file cannot be read.
    """
    found = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    if not found:
        raise ResultError("results: got no .json file, expected those that `rvm eval` wrote")
    return [Result.load(path) for path in found]


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, Mapping):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(each) for each in value]
    return value
