"""Videos in tar shards, for object stores and file systems that dislike many files.

The layout is webdataset's: `<key>.mp4` beside `<key>.json`. A manifest row holds the place of the video's bytes in its
shard, so a clip reads only what it needs, and the order of training stays free of the order of the files.
"""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from rvm_training.data.layouts import VIDEO_SUFFIXES, hashed_splits
from rvm_training.data.manifest import Clip, Manifest, relative_path
from rvm_training.data.sources import opened
from rvm_training.data.video import VideoError, probe


def pack(manifest: Manifest, folder: Path, *, shard_bytes: int = 2**30) -> tuple[Manifest, list[str]]:
    """Copy a manifest's videos into shards `shard-00000.tar` ...

    Args:
        manifest: clips; several of one video share its copy.
        folder: made where it is missing.
        shard_bytes: a shard is closed once it is larger.

    Returns:
        (the same clips with paths and places in the shards, relative to `folder`; reasons of what was left out).

    Raises:
        FileExistsError: there are shards already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if present := sorted(folder.glob("shard-*.tar")):
        raise FileExistsError(f"pack: {present[0]} exists; give a new folder")
    rows = [manifest[row] for row in range(len(manifest))]
    by_video: dict[tuple[str, int], list[int]] = {}
    for row, clip in enumerate(rows):
        by_video.setdefault((clip.path, clip.offset), []).append(row)
    moved: dict[int, Clip] = {}
    problems: list[str] = []
    shard, number = None, 0
    try:
        for key, users in enumerate(tqdm(by_video.values(), unit="video")):
            first = rows[users[0]]
            try:
                data = _bytes(first)
            except VideoError as error:
                problems.append(str(error))
                continue
            if shard is None:
                path = folder / f"shard-{number:05d}.tar"
                shard = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 (closed when full)
                number += 1
            name = f"{key:09d}"
            suffix = Path(first.path).suffix if not first.size else ".mp4"
            offset = _add(shard, name + (suffix if suffix in VIDEO_SUFFIXES else ".mp4"), data)
            about = {"source": first.source, "split": first.split, "fps": first.fps, "origin": Path(first.path).name}
            _add(shard, name + ".json", json.dumps(about).encode())
            for row in users:
                moved[row] = replace(rows[row], path=path.name, offset=offset, size=len(data))
            if shard.offset > shard_bytes:
                shard.close()
                shard = None
    finally:
        if shard is not None:
            shard.close()
    return Manifest.of([moved[row] for row in sorted(moved)], folder), problems


def index_shards(
    folder: Path, *, source: str | None = None, manifest_folder: Path, val_share: float = 0.01
) -> tuple[list[Clip], list[str]]:
    """Make rows of the videos in a folder's tar shards, whoever wrote them.

    Args:
        folder: where the shards are.
        source: dataset's name for the rows; None takes what `pack` wrote beside each video, else "shards".
        manifest_folder: where the manifest will be; paths below it are written relative to it.
        val_share: share of validation clips among those beside which no split is written.

    Returns:
        (rows, reasons of what was left out).

    Raises:
        ValueError: there is no video in any shard, nor a shard that cannot be read.
    """
    members: list[_Member] = []
    clips, problems = [], []
    for path in sorted(folder.glob("*.tar")):
        try:
            members += _members(path)
        except (tarfile.TarError, OSError) as error:
            problems.append(f"{path.name}: cannot be read as a tar file ({error})")
    if not members and not problems:
        raise ValueError(f"{folder}: no videos in tar files; expected shards with <key>.mp4 inside")
    splits = hashed_splits((member.name for member in members if not member.about.get("split")), val_share)
    for member in tqdm(members, unit="video"):
        place = Clip(str(member.shard), 0, 1, 1.0, offset=member.offset, size=member.size)
        try:
            with opened(place) as file:
                frames, fps = probe(file)
        except VideoError as error:
            problems.append(f"{member.shard.name}: {member.name}: {error}")
            continue
        clips.append(
            replace(
                place,
                path=relative_path(member.shard, manifest_folder),
                frames=frames,
                fps=fps,
                source=source or member.about.get("source", "shards"),
                split=member.about.get("split") or splits[member.name],
            )
        )
    return clips, problems


def merge(manifests: list[Path], folder: Path) -> Manifest:
    """One manifest of several, its paths relative to `folder` where they are below it."""
    tables = []
    for path in manifests:
        manifest = Manifest.read(path)
        base = path.parent.resolve()
        texts = manifest.table["path"].to_pylist()
        moved = [text if "://" in text else relative_path(base / text, folder) for text in texts]
        place = manifest.table.schema.get_field_index("path")
        tables.append(manifest.table.set_column(place, "path", pa.array(moved, pa.string())))
    table = pa.concat_tables(tables)
    names = pc.unique(table["source"]).to_pylist()
    return Manifest(table, folder, f"manifest of {', '.join(names)}")


def _bytes(clip: Clip) -> bytes:
    with opened(clip) as file:
        try:
            return Path(file).read_bytes() if isinstance(file, str) else file.read()
        except OSError as error:
            raise VideoError(f"{clip.path}: cannot be read ({error})") from error


def _add(shard: tarfile.TarFile, name: str, data: bytes) -> int:
    """Append a member; returns where its bytes begin."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    offset = shard.offset + tarfile.BLOCKSIZE  # After its header, one block in this format.
    shard.addfile(info, io.BytesIO(data))
    return offset


@dataclass(frozen=True)
class _Member:
    """A video within a shard."""

    shard: Path
    name: str
    offset: int
    size: int
    about: dict[str, str]
    """What `pack` wrote beside it."""


def _members(path: Path) -> list[_Member]:
    found = []
    about: dict[str, dict[str, str]] = {}
    with tarfile.open(path) as shard:
        for member in shard:
            if member.isfile() and Path(member.name).suffix.lower() in VIDEO_SUFFIXES:
                found.append(member)
            elif member.name.endswith(".json") and (file := shard.extractfile(member)) is not None:
                about[_key(member.name)] = _strings(file.read())
    return [
        _Member(path, member.name, member.offset_data, member.size, about.get(_key(member.name), {}))
        for member in found
    ]


def _key(name: str) -> str:
    return str(Path(name).with_suffix(""))


def _strings(text: bytes) -> dict[str, str]:
    try:
        values = json.loads(text)
    except ValueError:
        return {}  # Other people's files hold what they like.
    return {key: value for key, value in values.items() if isinstance(value, str)} if isinstance(values, dict) else {}
