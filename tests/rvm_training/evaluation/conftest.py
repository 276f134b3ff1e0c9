"""Small folders laid out as the datasets, and a tiny network for them."""

import pytest

from rvm_training.synthetic.benchmarks import WRITERS, BenchmarkConfig

SIZE = (64, 112)
"""Rows and columns of the frames."""
FRAMES = 6


@pytest.fixture(scope="session")
def benchmarks(tmp_path_factory):
    """Folder with `davis`, `jhmdb` and `vip`, of two videos each."""
    root = tmp_path_factory.mktemp("benchmarks")
    for name, write in WRITERS.items():
        write(root / name, BenchmarkConfig(videos=2, frames=FRAMES, height=SIZE[0], width=SIZE[1]))
    return root
