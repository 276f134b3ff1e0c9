"""Results as shards of arrays for training heads: files of many frames, with an index beside them.

A shard holds frames of one camera in order: `features` [n, h, w, D] and `cls_token` [n, D] as float32 or float16;
`stamp_ns` (acquisition) and `time_ns` (recording), int64 [n]; `index` of the image among those of its camera,
int64 [n]; `reset`, bool [n], whether the state started anew with the frame.
"""

from __future__ import annotations

import bisect
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor
from torch.utils.data import Dataset

from rvm_model.bags import BagError
from rvm_model.camera_heads import Wanted, tensors
from rvm_model.engines import EngineInfo
from rvm_training.offline.folders import NAME, ResultFolder
from rvm_training.offline.pipeline import Result
from rvm_training.offline.streams import Outcome

Format = Literal["safetensors", "npz"]
Arrays = dict[str, npt.NDArray[Any]]
_BOTH = Wanted(features=True, cls_token=True)


class ShardSink:
    """Shards for one recording."""

    def __init__(
        self,
        folder: ResultFolder,
        info: EngineInfo,
        *,
        kind: Format,
        dtype: Literal["float32", "float16"],
        shard_bytes: int,
        describe: Callable[[Outcome], dict[str, Any]],
    ) -> None:
        """Make the folder.

        Args:
            folder: where.
            info: the engine.
            kind: of the files.
            dtype: of features and class tokens.
            shard_bytes: about the size of a file.
            describe: what is said of the whole at the end.

        Raises:
            OSError: the folder cannot be made.
        """
        self._folder, self._info, self._kind, self._dtype = folder, info, kind, np.dtype(dtype)
        self._path = folder.begin()
        self._path.mkdir(parents=True)
        self._rows_per_shard = max(1, shard_bytes // (info.tokens * info.dim * self._dtype.itemsize))
        self._describe = describe
        self._rows: dict[str, list[Arrays]] = {}
        self._shards: list[dict[str, Any]] = []

    def write(self, result: Result) -> None:
        """Take a frame, and write a shard where one is full."""
        arrival = result.arrival
        outputs = tensors(self._info, result.features, _BOTH)
        assert outputs.features is not None
        assert outputs.cls_token is not None
        row = {
            "features": self._stored(outputs.features),
            "cls_token": self._stored(outputs.cls_token[0, 0]),
            "stamp_ns": np.int64(arrival.stamp_ns),
            "time_ns": np.int64(arrival.time_ns),
            "index": np.int64(result.index),
            "reset": np.bool_(result.reset),
        }
        rows = self._rows.setdefault(arrival.camera, [])
        rows.append(row)  # type: ignore[arg-type]  # Scalars of numpy are stacked as arrays are.
        if len(rows) == self._rows_per_shard:
            self._put(arrival.camera)

    def finish(self, outcome: Outcome) -> None:
        """Write the last shards and the index."""
        for camera in list(self._rows):
            self._put(camera)
        self._folder.finish({**self._describe(outcome), "shards": self._shards})

    def discard(self) -> None:
        """Leave nothing."""
        self._folder.discard()

    def _stored(self, values: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        with np.errstate(over="ignore"):
            stored = values.astype(self._dtype)
        if not np.isfinite(stored).all():
            raise BagError(
                f"{self._folder.path}: got a feature of {np.abs(values).max()}, beyond {self._dtype}; store float32"
            )
        return stored

    def _put(self, camera: str) -> None:
        rows = self._rows.pop(camera)
        arrays = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        number = sum(shard["camera"] == camera for shard in self._shards)
        name = f"{camera}_{number:05d}.{self._kind}"
        if self._kind == "npz":
            np.savez(self._path / name, **arrays)  # type: ignore[arg-type]  # Its bool is none of our names.
        else:
            save_file(arrays, self._path / name)
        stamps = arrays["stamp_ns"]
        self._shards.append(
            {
                "file": name,
                "camera": camera,
                "rows": len(rows),
                "first_stamp_ns": int(stamps[0]),
                "last_stamp_ns": int(stamps[-1]),
            }
        )


@dataclass(frozen=True)
class Shard:
    """One file of the index."""

    path: Path
    input: str
    """What it was made of."""
    camera: str
    rows: int


def find_shards(folder: Path) -> list[Shard]:
    """The shards below a folder that `rvm features` wrote.

    Raises:
        ValueError: there are none.
    """
    found = []
    for index in sorted(folder.rglob(NAME)):
        said = json.loads(index.read_text(encoding="utf-8"))
        found += [
            Shard(index.parent / each["file"], said["input"], each["camera"], each["rows"])
            for each in said.get("shards", [])
        ]
    if not found:
        raise ValueError(f"{folder}: got no shards, expected what `rvm features --format safetensors` or npz wrote")
    return found


class FeatureDataset(Dataset[dict[str, Tensor]]):
    """The frames of shards, for training heads: tensors by the names that a shard has, features as float32."""

    def __init__(self, folder: Path) -> None:
        """Read the index; frames are read as they are asked for.

        Args:
            folder: what `rvm features` wrote.

        Raises:
            ValueError: there are no shards.
        """
        self.shards = find_shards(folder)
        self._ends = list(itertools.accumulate(shard.rows for shard in self.shards))
        self._open: tuple[Path, Any] | None = None

    def __len__(self) -> int:
        """Number of frames."""
        return self._ends[-1]

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One frame.

        Raises:
            IndexError: there are not as many.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"frame: got {index}, expected 0 to {len(self) - 1}")
        place = bisect.bisect_right(self._ends, index)
        shard = self.shards[place]
        row = index - (self._ends[place] - shard.rows)
        found = self._row(shard.path, row)
        return {name: value.float() if value.is_floating_point() else value for name, value in found.items()}

    def __getstate__(self) -> dict[str, Any]:
        """Workers open files of their own."""
        return {**self.__dict__, "_open": None}

    def _row(self, path: Path, row: int) -> dict[str, Tensor]:
        if self._open is None or self._open[0] != path:
            self._open = path, self._opened(path)
        shard = self._open[1]
        if isinstance(shard, dict):
            return {name: torch.as_tensor(values[row]) for name, values in shard.items()}
        return {name: shard.get_slice(name)[row] for name in shard.keys()}  # noqa: SIM118  # It is no dict.

    @staticmethod
    def _opened(path: Path) -> Any:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        return safe_open(path, framework="pt")
