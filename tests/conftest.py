"""Environment of all tests: a ROS domain of their own, and a GPU where a test asks for one."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Before anything imports rclpy or torch: both read the environment only once.
os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)  # the PyPI wheels of ROS 2 install themselves there
os.environ.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", str(ROOT / "config" / "fastdds_shm.xml"))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
# Two runs on one machine must not hear each other; above domain 101 the ports meet those that Linux hands out.
os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 101))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root folder."""
    return ROOT
