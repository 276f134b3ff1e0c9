"""The list of training clips: one row per stretch of video, as Parquet or CSV.

| column | type | meaning |
|---|---|---|
| path | text | video file or tar shard: absolute, a URL, or relative to the manifest's folder |
| start | integer | first frame of the stretch, counted at `fps` |
| frames | integer | its number of frames |
| fps | float | frames per second that `start` and `frames` count in |
| source | text | dataset it belongs to; the mixture gives weights by this name |
| weight | float | relative share of the row within its source |
| split | text | `train` or `val`, or what the dataset calls it |
| offset, size | integer, optional | place of the video's bytes inside a tar shard; size 0: the file is the video |
| recording, camera | text, optional | bag and camera that the clip was cut from |
| first_stamp_ns, last_stamp_ns | integer, optional | acquisition times of its first and last image there |
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("start", pa.int64()),
        ("frames", pa.int64()),
        ("fps", pa.float64()),
        ("source", pa.string()),
        ("weight", pa.float64()),
        ("split", pa.string()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("recording", pa.string()),
        ("camera", pa.string()),
        ("first_stamp_ns", pa.int64()),
        ("last_stamp_ns", pa.int64()),
    ]
)
_OPTIONAL: dict[str, int | str] = {
    "offset": 0, "size": 0, "recording": "", "camera": "", "first_stamp_ns": 0, "last_stamp_ns": 0,
}  # fmt: skip
"""Columns that may be left out, and what they hold then."""


@dataclass(frozen=True)
class Clip:
    """A row of a manifest; the columns' meanings are in the module's table."""

    path: str
    start: int
    frames: int
    fps: float
    source: str = "videos"
    weight: float = 1.0
    split: str = "train"
    offset: int = 0
    size: int = 0
    recording: str = ""
    camera: str = ""
    first_stamp_ns: int = 0
    last_stamp_ns: int = 0


class Manifest:
    """A table of clips, held as columns: no row is an object until it is asked for."""

    def __init__(self, table: pa.Table, folder: Path, name: str = "manifest") -> None:
        """Take a table with the schema's columns; `folder` is where relative paths start.

        Raises:
            ValueError: a value is missing, or has no meaning.
        """
        self.table = table
        self.name = name
        self._folder = folder
        for column, wrong, expected in (
            ("frames", pc.less(table["frames"], 1), "at least 1"),
            ("start", pc.less(table["start"], 0), "0 or more"),
            ("fps", pc.invert(pc.greater(table["fps"], 0)), "a positive rate"),
            ("weight", pc.invert(pc.greater_equal(table["weight"], 0)), "0 or more"),
            ("path", pc.equal(table["path"], ""), "a path"),
        ):
            if table[column].null_count:
                raise ValueError(f"{name}: column {column} has {table[column].null_count} empty values; fill them in")
            rows = np.flatnonzero(wrong.to_numpy(zero_copy_only=False))
            if len(rows):
                got = table[column][int(rows[0])].as_py()
                raise ValueError(f"{name}: row {rows[0] + 1} has {column} {got!r}, expected {expected}")

    @classmethod
    def read(cls, path: str | Path) -> Manifest:
        """Read `.parquet` or `.csv`.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the suffix is another, or columns are missing, unknown or of the wrong type.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"manifest: no file at {path}; make one with `rvm manifest`")
        try:
            check_suffix(path)
            if path.suffix == ".parquet":
                table = pa.parquet.read_table(path)
            else:
                types = pa.csv.ConvertOptions(column_types=_SCHEMA, strings_can_be_null=False)
                table = pa.csv.read_csv(path, convert_options=types)
            return cls(_conformed(table), path.parent, str(path))
        except pa.ArrowInvalid as error:
            raise ValueError(f"{path}: cannot be read as a manifest ({error})") from error

    @classmethod
    def of(cls, clips: Iterable[Clip], folder: Path) -> Manifest:
        """A manifest of clips at hand."""
        return cls(pa.Table.from_pylist([asdict(clip) for clip in clips], schema=_SCHEMA), folder)

    def write(self, path: Path) -> None:
        """Write `.parquet` or `.csv`, by the suffix.

        Raises:
            ValueError: the suffix is another.
        """
        check_suffix(path)
        (pa.parquet.write_table if path.suffix == ".parquet" else pa.csv.write_csv)(self.table, path)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, row: int) -> Clip:
        """The clip of a row, its path resolved."""
        values = {field.name: self.table[field.name][row].as_py() for field in fields(Clip)}
        if "://" not in values["path"]:
            values["path"] = str(self._folder / values["path"])
        return Clip(**values)

    def split(self, name: str) -> Manifest:
        """The rows of one split.

        Raises:
            ValueError: there are none.
        """
        table = self.table.filter(pc.equal(self.table["split"], name))
        if not table.num_rows:
            raise ValueError(f"{self.name}: no rows of split {name!r}, expected one of {self._values('split')}")
        return Manifest(table, self._folder, f"{self.name}, split {name}")

    def _values(self, column: str) -> list[str]:
        return sorted(pc.unique(self.table[column]).to_pylist())


def check_suffix(path: Path) -> None:
    """Refuse a file that is no manifest by its name.

    Raises:
        ValueError: the suffix is neither `.parquet` nor `.csv`.
    """
    if path.suffix not in (".parquet", ".csv"):
        raise ValueError(f"manifest: got {path.name}, expected a .parquet or .csv file")


def relative_path(path: Path, folder: Path) -> str:
    """A path as a manifest in that folder writes it: relative where the file is below the folder, else absolute."""
    path, folder = path.resolve(), folder.resolve()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _conformed(table: pa.Table) -> pa.Table:
    missing = [name for name in _SCHEMA.names if name not in table.column_names and name not in _OPTIONAL]
    unknown = [name for name in table.column_names if name not in _SCHEMA.names]
    if missing or unknown:
        raise ValueError(
            f"manifest: missing columns {missing}, unknown columns {unknown}; expected {list(_SCHEMA.names)}, "
            f"of which {list(_OPTIONAL)} may be left out"
        )
    for name, value in _OPTIONAL.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.repeat(value, table.num_rows))
    return table.select(_SCHEMA.names).cast(_SCHEMA)
