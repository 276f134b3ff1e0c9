"""Reconstructions as image grids: what the network saw, what it was asked for, and what it made."""

from __future__ import annotations

from pathlib import Path

import cv2
import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from rvm_model.rvm import Reconstruction
from rvm_training.pretraining.module import Pretraining

COLUMNS = ("first source", "last source", "visible", "reconstruction", "target", "error")
_GAP = 2
_TITLE_ROWS = 20
_LEAST_WIDTH = 110
"""Pixels of a column that its title needs."""
_GREY = 0.5


def write_pictures(trainer: L.Trainer, module: Pretraining, folder: Path) -> Path:
    """Draw the validation's example to `step_00001000.png`, and to TensorBoard where that is on."""
    assert module.example is not None
    frames, out = module.example
    count = min(module.config.log.pictures, len(frames))
    patch = module.network.config.patch_size
    grid = titled(reconstruction_grid(frames[:count], out, module.config.data.frames.sources, patch))
    folder.mkdir(exist_ok=True)
    path = folder / f"step_{trainer.global_step:08d}.png"
    cv2.imwrite(str(path), grid[..., ::-1])
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image("reconstructions", grid, trainer.global_step, dataformats="HWC")
    return path


def reconstruction_grid(frames: Tensor, out: Reconstruction, sources: int, patch: int) -> npt.NDArray[np.uint8]:
    """One row per target frame, in `COLUMNS`: `visible` is what the decoder saw, the error is grey where there is none.

    Args:
        frames: [B, S + T, H, W, 3] in [0, 1].
        out: what the network made of them; its batch may be larger.
        sources: S.
        patch: side of a patch in pixels.

    Returns:
        RGB uint8 [rows, columns, 3].
    """
    rows = []
    for clip, (first, last) in enumerate(zip(frames[:, 0], frames[:, sources - 1], strict=True)):
        for index, target in enumerate(frames[clip, sources:]):
            hidden = out.mask[clip, index].repeat_interleave(patch, 0).repeat_interleave(patch, 1)[..., None]
            made = out.frames[clip, index].float()
            seen = torch.where(hidden, torch.full_like(target, _GREY), target)
            # Grey is right, lighter is too bright, darker too dark.
            error = _GREY + (made - target) / 2
            rows.append([first, last, seen, made, target, error])
    return _tiled([[_to_uint8(image) for image in row] for row in rows])


def titled(grid: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A grid of `COLUMNS` with their names above, enlarged by whole pixels where the names would not fit."""
    factor = -(-_LEAST_WIDTH * len(COLUMNS) // grid.shape[1])
    grid = grid.repeat(factor, axis=0).repeat(factor, axis=1)
    title = np.full((_TITLE_ROWS, grid.shape[1], 3), 255, np.uint8)
    for index, name in enumerate(COLUMNS):
        place = (index * grid.shape[1] // len(COLUMNS) + 2, _TITLE_ROWS - 6)
        cv2.putText(title, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([title, grid])


def _to_uint8(image: Tensor) -> npt.NDArray[np.uint8]:
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


def _tiled(rows: list[list[npt.NDArray[np.uint8]]]) -> npt.NDArray[np.uint8]:
    padded = [[np.pad(image, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255) for image in row] for row in rows]
    return np.concatenate([np.concatenate(row, axis=1) for row in padded], axis=0)
