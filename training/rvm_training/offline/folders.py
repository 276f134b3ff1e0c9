"""Where the results of a recording are written: in a folder that has its name only once all is there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rvm_training.offline.recordings import Recording

NAME = "features.json"
"""In the folder of each recording: what it was made of, with what, and what came of it."""
_PARTIAL = ".partial"


@dataclass(frozen=True)
class Identity:
    """What results depend on, but for the input's own content."""

    input: str
    """Its path."""
    engine: str
    """Digest of the engine."""
    settings: dict[str, Any]
    """All that the results change with, as JSON has it."""


class ResultFolder:
    """The folder of one recording."""

    def __init__(self, out: Path, name: str, index: str = NAME) -> None:
        self._index = index
        self.path = out / name
        self.partial = out / _PARTIAL / name
        """Where it is written to until it is whole; not there yet."""

    def holds(self, identity: Identity, input_bytes: int) -> bool:
        """Whether it has these results already; not where the input has changed since.

        Raises:
            ValueError: it is there, and something else.
        """
        if not self.path.exists():
            return False
        try:
            said = json.loads((self.path / self._index).read_text(encoding="utf-8"))
            before = Identity(said["input"], said["engine"], said["settings"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{self.path}: is there, but has no {self._index} that can be read ({error!r}); move it away"
            ) from error
        if before.input != identity.input:
            raise ValueError(f"{self.path}: was made of {before.input}; give another folder with --out")
        if before != identity:
            differs = [key for key in identity.settings if before.settings.get(key) != identity.settings[key]]
            raise ValueError(
                f"{self.path}: was made in another way ({', '.join(differs) or 'the engine'}); give another folder "
                "with --out, or remove it"
            )
        return bool(said["input_bytes"] == input_bytes)

    def begin(self) -> Path:
        """Remove what an interrupted run left; returns where to write, which is not there yet."""
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.parent.mkdir(parents=True, exist_ok=True)
        return self.partial

    def finish(self, said: dict[str, Any]) -> None:
        """Say what it is, and give the folder its name."""
        (self.partial / self._index).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
        if self.path.exists():  # Of what the input was before.
            shutil.rmtree(self.path)
        os.replace(self.partial, self.path)
        self._tidy()

    def discard(self) -> None:
        """Leave nothing."""
        shutil.rmtree(self.partial, ignore_errors=True)
        self._tidy()

    def _tidy(self) -> None:
        with contextlib.suppress(OSError):  # Others write there still.
            self.partial.parent.rmdir()


def sort_out(
    recordings: Sequence[Recording],
    folders: Mapping[str, ResultFolder],
    identity_of: Callable[[Recording], Identity],
    *,
    resume: bool,
) -> tuple[list[Recording], list[Recording], list[tuple[Recording, str]]]:
    """What is to be done.

    Returns:
        Recordings that are to be processed, those whose results are there, and those that cannot be looked at, with
        the reason.

    Raises:
        ValueError: results are there, and may not be: without `resume`, or they are something else.
    """
    todo: list[Recording] = []
    there: list[Recording] = []
    bad: list[tuple[Recording, str]] = []
    for recording in recordings:
        folder = folders[recording.name]
        try:
            size = recording.bytes
        except OSError as error:
            bad.append((recording, str(error)))
            continue
        holds = folder.holds(identity_of(recording), size)
        if folder.path.exists() and not resume:
            raise ValueError(f"{folder.path}: is there; go on with --resume, or give another --out")
        (there if holds else todo).append(recording)
    return todo, there, bad
