"""The fixed position code: a sinusoid table over the flattened patch grid, resized where the grid differs, or one over
rows and one over columns.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def sinusoid_table(positions: int, dim: int) -> npt.NDArray[np.float64]:
    """Sinusoid code of positions 0..positions-1.

    Args:
        positions: number of positions.
        dim: width of the code.

    Returns:
        [positions, dim] in [-1, 1]: sin on even and cos on odd columns, of pos / 10000^(2*(j//2)/dim).
    """
    column = np.arange(dim)
    angle = np.arange(positions)[:, None] / 10000.0 ** (2 * (column // 2) / dim)
    return np.where(column % 2 == 0, np.sin(angle), np.cos(angle))


def position_code(
    grid: tuple[int, int],
    base_grid: tuple[int, int],
    dim: int,
    *,
    kind: Literal["flattened", "axes"] = "flattened",
    origin: tuple[int, int] = (0, 0),
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    """Position code of every patch of a grid.

    Args:
        grid: patch rows and columns of the image.
        base_grid: rows and columns for which a flattened table is made; another grid gets it by bicubic resizing.
        dim: width of the code.
        kind: one table over the flattened grid, as the authors have it; or one over rows in the first half of the width
            and one over columns in the second, as MAE's (He et al., 2021), made for the grid itself.
        origin: row and column of the first patch; with axes a frame may lie anywhere in a larger one.
        device: where the code goes.
        dtype: its type; the code is computed in float64 and rounded.

    Returns:
        [rows * columns, dim], row-major. The tensor is shared between calls: do not write into it.

    Raises:
        ValueError: an origin with a flattened table.
    """
    if kind != "axes" and origin != (0, 0):
        raise ValueError(f"origin: got {origin} for a {kind} position code, expected (0, 0); only axes have another")
    key = (grid, base_grid, dim, kind, origin, str(device), dtype)
    code = _codes.get(key)
    if code is None or torch.compiler.is_compiling():
        # Shared by training and inference: an inference-mode tensor could not enter autograd later.
        with torch.inference_mode(False), torch.no_grad():
            table = _table_of_axes(grid, origin, dim) if kind == "axes" else _resized_table(grid, base_grid, dim)
            code = torch.from_numpy(table).to(device=device, dtype=dtype)
        if type(code) is Tensor and not torch.compiler.is_compiling():  # Not the stand-in of an export.
            while len(_codes) >= CACHED_CODES:
                _codes.pop(next(iter(_codes)), None)
            _codes[key] = code
    return code


CACHED_CODES = 16
"""Codes that are kept: those of several engines of several sizes, and of the decoder."""
_codes: dict[tuple[tuple[int, int], tuple[int, int], int, str, tuple[int, int], str, torch.dtype], Tensor] = {}


@lru_cache(maxsize=CACHED_CODES)
def _resized_table(grid: tuple[int, int], base_grid: tuple[int, int], dim: int) -> npt.NDArray[np.float32]:
    table = sinusoid_table(base_grid[0] * base_grid[1], dim)
    if grid != base_grid:
        rows, columns = (bicubic_weights(old, new) for old, new in zip(base_grid, grid, strict=True))
        image = table.reshape(*base_grid, dim)
        table = np.einsum("Hh,hwd,Ww->HWd", rows, image, columns, optimize=True).reshape(-1, dim)
    return table.astype(np.float32)


def _table_of_axes(grid: tuple[int, int], origin: tuple[int, int], dim: int) -> npt.NDArray[np.float32]:
    (rows, columns), (top, left) = grid, origin
    table = np.empty((rows, columns, dim), np.float32)
    table[..., : dim // 2] = sinusoid_table(top + rows, dim // 2)[top:, None]
    table[..., dim // 2 :] = sinusoid_table(left + columns, dim // 2)[left:]
    return table.reshape(-1, dim)


def bicubic_weights(size: int, new_size: int) -> npt.NDArray[np.float64]:
    """Weights [new_size, size] of a bicubic resize along one axis, as jax.image.resize computes them.

    Keys' kernel with a = -0.5 at half-pixel centres, widened when shrinking (antialiasing), each row normalised to 1.
    torch's `interpolate` agrees with antialias=True, but is wrong for an output of a single column.
    """
    scale = size / new_size
    centres = (np.arange(new_size) + 0.5) * scale - 0.5
    x = np.abs(centres[:, None] - np.arange(size)) / max(scale, 1.0)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
