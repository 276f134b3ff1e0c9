"""Golden cases and tiny networks for the tests of rvm_model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from rvm_model import RVM, DecoderConfig, RVMConfig, load_checkpoint

GOLDEN = Path(__file__).parents[1] / "golden"


@dataclass(frozen=True)
class GoldenCase:
    """A network with the authors' parameters, and what their code made of an input."""

    name: str
    model: RVM
    meta: dict
    arrays: dict[str, np.ndarray]

    def tensor(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[name])


def load_golden(name: str) -> GoldenCase:
    with np.load(GOLDEN / f"{name}.io.npz") as file:
        arrays = {key: file[key] for key in file.files}
    meta = json.loads(str(arrays.pop("meta")))
    model = load_checkpoint(GOLDEN / f"{name}.params.npz", base_grid=tuple(meta["cfg"]["base"]))
    return GoldenCase(name, model, meta, arrays)


@pytest.fixture
def golden():
    """Function from a golden case's name to the case."""
    return load_golden


@pytest.fixture(scope="session")
def tiny_config() -> RVMConfig:
    return RVMConfig(
        dim=24,
        encoder_depth=2,
        encoder_heads=3,
        encoder_mlp_dim=40,
        core_depth=2,
        core_heads=4,
        core_mlp_dim=56,
        base_grid=(3, 5),
        decoder=DecoderConfig(depth=1, dim=16, heads=2, mlp_dim=24),
    )


@pytest.fixture
def tiny_model(tiny_config) -> RVM:
    torch.manual_seed(0)
    return RVM(tiny_config).eval()
