"""A tiny network and its checkpoint."""

from pathlib import Path

import pytest
import torch

from rvm_model import RVM, RVMConfig, save_checkpoint


@pytest.fixture
def model() -> RVM:
    """A network in which no bias is zero and no scale is one."""
    torch.manual_seed(0)
    config = RVMConfig(
        dim=24, encoder_depth=2, encoder_heads=3, encoder_mlp_dim=40, core_depth=2, core_heads=4, core_mlp_dim=56,
        base_grid=(2, 3), decoder=None,
    )  # fmt: skip
    model = RVM(config).eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=float(parameter.detach().mean()), std=0.3)
    return model


@pytest.fixture
def checkpoint(model, tmp_path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(model, path)
    return path
