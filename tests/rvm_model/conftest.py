"""Tiny networks for the tests of rvm_model."""

from __future__ import annotations

import pytest
import torch

from rvm_model import RVM, DecoderConfig, RVMConfig


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
