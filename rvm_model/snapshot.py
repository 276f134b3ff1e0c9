"""What cameras remember, as a file: states and what the heads follow, so that a restart goes on as if there was none.

A safetensors file. It belongs to one engine: to another one a state means something else, or gives other last bits.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

SCHEMA = 1
_METADATA = "rvm_snapshot"


class SnapshotError(ValueError):
    """A snapshot cannot be used; the message says why."""


@dataclass(frozen=True)
class Remembered:
    """A flat dataclass, taken apart: what a head follows."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    """By field."""
    values: dict[str, Any] = field(default_factory=dict)
    """The other fields, as JSON has them."""


@dataclass(frozen=True)
class CameraSnapshot:
    """What one camera remembers."""

    state: Tensor
    """float32 [1, 1 + N, D]."""
    age: int
    """Frames in the state."""
    engine: str
    """`EngineInfo.digest` of what made it."""
    heads: dict[str, Remembered] = field(default_factory=dict)
    """By head."""


def take_apart(state: Any) -> Remembered:
    """A dataclass of tensors and plain values, in parts that a file can hold."""
    fields = {each.name: getattr(state, each.name) for each in dataclasses.fields(state)}
    tensors = {name: value for name, value in fields.items() if isinstance(value, Tensor)}
    return Remembered(tensors, {name: value for name, value in fields.items() if name not in tensors})


def save_snapshot(path: Path, cameras: Mapping[str, CameraSnapshot]) -> None:
    """Write a snapshot; a file that was there stays as it is until the new one is whole on the disk.

    Args:
        path: the file.
        cameras: by name.

    Raises:
        OSError: it cannot be written: no such folder, no permission, a full disk.
    """
    tensors, by_name = {}, {}
    for name, camera in cameras.items():
        values = {head: parts.values for head, parts in camera.heads.items()}
        by_name[name] = {"age": camera.age, "engine": camera.engine, "heads": values}
        tensors[f"{name}/state"] = camera.state.cpu().contiguous()
        for head, parts in camera.heads.items():
            tensors |= {f"{name}/{head}/{key}": value.cpu().contiguous() for key, value in parts.tensors.items()}
    described = {"schema": SCHEMA, "digest": _digest(tensors, by_name), "cameras": by_name}
    content = save(tensors, {_METADATA: json.dumps(described)})
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(partial)
        raise


def load_snapshot(path: Path, engines: Mapping[str, str]) -> dict[str, CameraSnapshot]:
    """Read a snapshot; its tensors are on the CPU.

    Args:
        path: the file.
        engines: `EngineInfo.digest` of what runs, by camera; the snapshot may lack some of the cameras.

    Raises:
        FileNotFoundError: there is no such file.
        SnapshotError: it is damaged, no snapshot, of other cameras, or another engine's.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no snapshot is there; save one first")
    try:
        with safe_open(path, framework="pt") as file:
            content = json.loads((file.metadata() or {}).get(_METADATA, "null"))
            _check(path, content, engines)
            # Copies: the file's own would change with it, or end the process when it is cut.
            tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118  It is no mapping.
        if content["digest"] != _digest(tensors, content["cameras"]):
            raise SnapshotError(f"{path}: its contents were changed since it was saved; save a new one")
        return {name: _camera(name, camera, tensors) for name, camera in content["cameras"].items()}
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        if isinstance(error, SnapshotError):
            raise
        raise SnapshotError(f"{path}: cannot be read as a snapshot ({error}); save a new one") from error


def put_together(kind: type[Any], parts: Remembered, device: torch.device | str) -> Any:
    """The dataclass that was taken apart.

    Raises:
        SnapshotError: its fields are not those of the kind.
    """
    wanted, got = {each.name for each in dataclasses.fields(kind)}, parts.tensors.keys() | parts.values.keys()
    if wanted != got:
        raise SnapshotError(
            f"snapshot: got {sorted(got)} for {kind.__name__}, expected {sorted(wanted)}; save a new one"
        )
    values = {name: _tuples(value) for name, value in parts.values.items()}
    return kind(**{name: value.to(device) for name, value in parts.tensors.items()}, **values)


def _tuples(value: Any) -> Any:
    """JSON has lists for tuples."""
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value


def _camera(name: str, content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> CameraSnapshot:
    def parts(head: str) -> dict[str, Tensor]:
        prefix = f"{name}/{head}/"
        return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}

    heads = {head: Remembered(parts(head), dict(values)) for head, values in content["heads"].items()}
    return CameraSnapshot(tensors[f"{name}/state"], int(content["age"]), content["engine"], heads)


def _digest(tensors: Mapping[str, Tensor], cameras: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(cameras, sort_keys=True).encode())
    for key, value in sorted(tensors.items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def _check(path: Path, content: Any, engines: Mapping[str, str]) -> None:
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise SnapshotError(f"{path}: is no snapshot of schema {SCHEMA}; save one with this version")
    if unknown := content["cameras"].keys() - engines.keys():
        raise SnapshotError(f"{path}: got cameras {sorted(unknown)}, expected some of {sorted(engines)}")
    for name, camera in content["cameras"].items():
        if camera["engine"] != engines[name]:
            raise SnapshotError(
                f"{path}: got a state of camera {name} by engine {camera['engine']}, expected one by {engines[name]}, "
                "which runs now; a state means nothing to another engine, so run the same one"
            )
