"""Loading and saving weights: the authors' released `.npz` files and our `.safetensors`. Nothing is ever unpickled."""

from __future__ import annotations

import dataclasses
import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from rvm_model.config import RVMConfig
from rvm_model.keymap import entries, infer_config
from rvm_model.rvm import RVM

FORMAT = "rvm-checkpoint-1"
"""Value of the `format` entry in a safetensors file's metadata."""
RELEASED_GRID = (16, 16)
"""Patch rows and columns that the released models were trained at; their files do not say."""


class CheckpointError(ValueError):
    """A file that is no RVM checkpoint, or one with missing, extra or misshapen arrays. The message names them."""


def load_checkpoint(
    path: str | Path, *, base_grid: Sequence[int] | None = None, device: torch.device | str = "cpu"
) -> RVM:
    """Load a network from a released `.npz` or from our `.safetensors`.

    Args:
        path: the file; its suffix says which format it is.
        base_grid: patch rows and columns of the position code. A `.npz` does not hold it, so there None means
            the released models' (16, 16). A `.safetensors` holds its own: None takes it, another value overrides it.
        device: where the parameters go.

    Returns:
        The network in float32 and evaluation mode.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file cannot be read, or its arrays are not exactly those of one RVM network.
    """
    path = Path(path)
    grid = None if base_grid is None else _grid(base_grid)
    if not path.is_file():
        raise FileNotFoundError(
            f"checkpoint: no file at {path}; see `rvm weights download --help` for the released ones"
        )
    if path.suffix == ".npz":
        config, tensors = _read_npz(path, grid or RELEASED_GRID)
    elif path.suffix == ".safetensors":
        config, tensors = _read_safetensors(path, grid)
    else:
        raise CheckpointError(f"{path}: got suffix {path.suffix!r}, expected .npz (released) or .safetensors (ours)")
    with torch.device("meta"):  # No memory and no random numbers for weights that are replaced at once.
        model = RVM(config)
    model.load_state_dict(tensors, strict=True, assign=True)
    return model.to(device).eval()


def save_checkpoint(
    model: RVM,
    path: str | Path,
    *,
    dtype: torch.dtype | None = None,
    trained: bool = True,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a network as safetensors with its configuration in the metadata.

    Args:
        model: the network.
        path: file to write, ending in `.safetensors`.
        dtype: type to store, for example torch.float16; None keeps each parameter's own.
        trained: False for random weights; the node then says so.
        metadata: further text entries, for example how it was trained; `format`, `config` and `trained` are ours.

    Raises:
        ValueError: the suffix or a metadata key is not allowed.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"save_checkpoint: got {path.name}, expected a file name ending in .safetensors")
    metadata = dict(metadata or {})
    if reserved := {"format", "config", "trained"} & metadata.keys():
        raise ValueError(f"save_checkpoint: metadata keys {sorted(reserved)} are reserved; choose others")
    tensors = {
        name: tensor.detach().to(device="cpu", dtype=dtype or tensor.dtype).contiguous()
        for name, tensor in model.state_dict().items()
    }
    ours = {"format": FORMAT, "config": json.dumps(model.config.to_dict()), "trained": str(trained).lower()}
    # Written beside and moved into place, so that a crash never leaves half a checkpoint under the final name.
    partial = path.with_name(path.name + ".partial")
    try:
        partial.touch()
        mode = partial.stat().st_mode
        save_file(tensors, partial, metadata={**metadata, **ours})
        partial.chmod(mode)  # safetensors makes files that nobody else may read.
    except (SafetensorError, OSError) as error:
        partial.unlink(missing_ok=True)
        raise OSError(f"{path} cannot be written: {error}") from error
    partial.replace(path)


def read_config(path: Path) -> RVMConfig:
    """The sizes of a network that `load_checkpoint` accepts, without reading its arrays.

    Raises:
        CheckpointError: the file is no checkpoint.
    """
    if path.suffix != ".npz":
        return _stored_config(path, _metadata(path))
    try:
        return infer_config(_npz_shapes(path), RELEASED_GRID)
    except (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: {error}; expected a complete released file, download it again") from error


def is_trained(path: Path) -> bool:
    """Whether a checkpoint that `load_checkpoint` accepts holds trained weights; a released `.npz` does.

    Raises:
        CheckpointError: the file is no checkpoint.
    """
    if path.suffix == ".npz":
        return True
    return _metadata(path).get("trained") == "true"


def flax_arrays(model: RVM) -> dict[str, npt.NDArray[np.float32]]:
    """The network's parameters under the released names and layouts, as `numpy.savez` takes them."""
    state = model.state_dict()
    return {
        entry.flax_name: np.ascontiguousarray(entry.to_flax(state[entry.torch_name].float().cpu().numpy()))
        for entry in entries(model.config)
    }


def _grid(values: Sequence[int]) -> tuple[int, int]:
    try:
        rows, columns = (int(value) for value in values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"base_grid: got {values!r}, expected two numbers of patches (rows, columns)") from error
    return rows, columns


def _read_npz(path: Path, base_grid: tuple[int, int]) -> tuple[RVMConfig, dict[str, torch.Tensor]]:
    arrays = {}
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ValueError("it is not an .npz archive but a single array")
        with loaded as file:
            for name in file.files:
                arrays[name] = file[name]
    except (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path}: cannot be read as .npz ({error}); expected a complete released file, download it again"
        ) from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise CheckpointError(f"{path}: {name} is no array; expected nothing but the arrays of an RVM network")
        if array.dtype.kind != "f":
            raise CheckpointError(f"{path}: array {name} has dtype {array.dtype}, expected floating point")
    shapes = {name: array.shape for name, array in arrays.items()}
    try:
        config = infer_config(shapes, base_grid)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    expected = entries(config)
    _check_names(path, shapes, {entry.flax_name: entry.flax_shape for entry in expected})
    tensors = {}
    for entry in expected:
        # Popped, so that a 3 GB file is held once and not twice.
        array = entry.to_torch(np.asarray(arrays.pop(entry.flax_name), np.float32))
        tensors[entry.torch_name] = torch.from_numpy(np.ascontiguousarray(array))
    return config, tensors


def _npz_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    shapes = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shapes[name.removesuffix(".npy")] = read(file)[0]
    return shapes


def _read_safetensors(path: Path, base_grid: tuple[int, int] | None) -> tuple[RVMConfig, dict[str, torch.Tensor]]:
    metadata, stored = _open_safetensors(path)
    config = _stored_config(path, metadata)
    if base_grid is not None:
        config = dataclasses.replace(config, base_grid=base_grid)
    with torch.device("meta"):
        expected = {name: tuple(tensor.shape) for name, tensor in RVM(config).state_dict().items()}
    _check_names(path, {name: tuple(tensor.shape) for name, tensor in stored.items()}, expected)
    # Copied out of the file's memory map: a file replaced in place would otherwise kill a running node.
    return config, {name: tensor.to(torch.float32, copy=True) for name, tensor in stored.items()}


def _open_safetensors(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    metadata = _metadata(path)
    with safe_open(path, framework="pt") as file:
        return metadata, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)


def _metadata(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(
            f"{path}: cannot be read as safetensors ({error}); expected a whole .safetensors or .npz"
        ) from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: got format {metadata.get('format')!r} in the metadata, expected {FORMAT!r}; "
            "write it with save_checkpoint or `rvm weights convert`"
        )
    return metadata


def _stored_config(path: Path, metadata: Mapping[str, str]) -> RVMConfig:
    try:
        return RVMConfig.from_dict(json.loads(metadata["config"]))
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: the configuration in its metadata is not usable: {error}") from error


def _check_names(path: Path, got: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    problems = []
    if missing := expected.keys() - got.keys():
        problems.append(f"missing {_some(missing)}")
    if extra := got.keys() - expected.keys():
        problems.append(f"unexpected {_some(extra)}")
    misshapen = [
        f"{name} has shape {got[name]}, expected {shape}"
        for name, shape in expected.items()
        if name in got and got[name] != shape
    ]
    if misshapen:
        problems.append(_some(misshapen))
    if problems:
        raise CheckpointError(f"{path}: not the arrays of one RVM network: {'; '.join(problems)}")


def _some(names: Iterable[str], limit: int = 8) -> str:
    ordered = sorted(names)
    rest = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(ordered[:limit]) + rest
