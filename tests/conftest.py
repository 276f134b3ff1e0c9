"""For all tests: a ROS domain of their own, a GPU where a test asks for one, and the golden cases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import numpy as np
    import torch

    from rvm_model import RVM

ROOT = Path(__file__).resolve().parents[1]

# Before anything imports rclpy or torch: both read the environment only once.
os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)  # the PyPI wheels of ROS 2 install themselves there
os.environ.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", str(ROOT / "config" / "fastdds_shm.xml"))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
# Two runs on one machine must not hear each other; above domain 101 the ports meet those that Linux hands out.
os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 101))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Engines that nodes build go neither into the user's cache nor come from it."""
    os.environ["RVM_CACHE"] = str(tmp_path_factory.mktemp("rvm_cache"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Files with slow tests first: begun last, one would keep one process busy while the other has nothing left to do.
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])
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


@dataclass(frozen=True)
class GoldenCase:
    """A network with the authors' parameters, and what their code made of an input."""

    name: str
    model: RVM
    meta: dict
    arrays: dict[str, np.ndarray]

    def tensor(self, name: str) -> torch.Tensor:
        import torch

        return torch.from_numpy(self.arrays[name])


def load_golden(name: str) -> GoldenCase:
    import numpy as np

    from rvm_model import load_checkpoint

    folder = ROOT / "tests" / "golden"
    with np.load(folder / f"{name}.io.npz") as file:
        arrays = {key: file[key] for key in file.files}
    meta = json.loads(str(arrays.pop("meta")))
    model = load_checkpoint(folder / f"{name}.params.npz", base_grid=tuple(meta["cfg"]["base"]))
    return GoldenCase(name, model, meta, arrays)


@pytest.fixture
def golden():
    """Function from a golden case's name to the case."""
    return load_golden


@pytest.fixture
def make_video(tmp_path):
    """Function writing a video whose frames are grey 10, 20, 30, ... and returning its path."""
    import av
    import numpy as np

    def make(count: int, fps: int = 25, height: int = 48, width: int = 64, gop: int = 30) -> Path:
        path = tmp_path / "video.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=fps, options={"crf": "5", "g": str(gop)})
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            for index in range(count):
                pixels = np.full((height, width, 3), 10 * (index % 25 + 1), np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode(None))
        return path

    return make


@pytest.fixture
def small_disk(tmp_path):
    """Function mounting a disk of so many megabytes and returning its folder; skips where that is not allowed."""
    mounted = []

    def mount(megabytes: int) -> Path:
        folder = tmp_path / f"disk_{len(mounted)}"
        folder.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)]
        try:
            subprocess.run(words, capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("needs the right to mount a small disk")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)
