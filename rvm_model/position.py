"""The fixed position code: a sinusoid table over the flattened patch grid (MAE's), resized where the grid differs."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional


def sinusoid_table(positions: int, dim: int) -> Tensor:
    """Sinusoid code of positions 0..positions-1.

    Args:
        positions: number of positions.
        dim: width of the code.

    Returns:
        float32 [positions, dim] in [-1, 1]: sin on even and cos on odd columns, of pos / 10000^(2*(j//2)/dim).
    """
    column = torch.arange(dim, dtype=torch.float64)
    # Computed in float64 and rounded once, as numpy does in the reference: float32 angles differ by up to 3e-5.
    wavelength = 10000.0 ** (2.0 * torch.div(column, 2, rounding_mode="floor") / dim)
    angle = torch.arange(positions, dtype=torch.float64)[:, None] / wavelength
    return torch.where(column % 2 == 0, angle.sin(), angle.cos()).to(torch.float32)


def position_code(
    grid: tuple[int, int], base_grid: tuple[int, int], dim: int, *, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Position code of every patch of a grid.

    Args:
        grid: patch rows and columns of the image.
        base_grid: rows and columns for which the table is made; another grid gets it by bicubic resizing.
        dim: width of the code.
        device: where the code goes.
        dtype: its type; the code is computed in float32.

    Returns:
        [rows * columns, dim], row-major. The tensor is shared between calls: do not write into it.
    """
    return _cached(grid, base_grid, dim, str(device), dtype)


# Two engines of four sizes each, twice over for the decoder: more sizes than this in one process recompute.
@lru_cache(maxsize=16)
def _cached(grid: tuple[int, int], base_grid: tuple[int, int], dim: int, device: str, dtype: torch.dtype) -> Tensor:
    # Cached across training and inference: an inference-mode tensor could not enter autograd later.
    with torch.inference_mode(False), torch.no_grad():
        table = sinusoid_table(base_grid[0] * base_grid[1], dim)
        if grid != base_grid:
            image = table.T.reshape(1, dim, *base_grid)
            # antialias=True selects Keys' a=-0.5 kernel, which is jax.image.resize's; without it torch uses a=-0.75.
            image = functional.interpolate(image, size=grid, mode="bicubic", align_corners=False, antialias=True)
            table = image.reshape(dim, -1).T.contiguous()
        return table.to(device=device, dtype=dtype)
