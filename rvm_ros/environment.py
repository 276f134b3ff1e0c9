"""Environment variables that ROS processes with large images want; the launch files and the demo set the same."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from ament_index_python.packages import get_package_share_directory

PROFILE = "fastdds_shm.xml"
"""Shared-memory profile in config/: with Fast DDS's defaults, large best-effort frames are lost between processes."""


def ros_environment() -> dict[str, str]:
    """Variables to set before a ROS process starts; what the user has set already is left out.

    - FASTDDS_DEFAULT_PROFILES_FILE: the shared-memory profile.
    - OMP_WAIT_POLICY, GOMP_SPINCOUNT: idle threads sleep instead of spinning, which other load would pay for.
    - AMENT_PREFIX_PATH: this Python environment, where it holds ROS packages from PyPI and no ROS 2 is sourced.
    """
    wanted = {
        "FASTDDS_DEFAULT_PROFILES_FILE": str(profile_path()),
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "0",
    }
    if (Path(sys.prefix) / "share" / "ament_index").is_dir():
        wanted["AMENT_PREFIX_PATH"] = sys.prefix
    return {name: value for name, value in wanted.items() if not os.environ.get(name)}


def profile_path() -> Path:
    """The shared-memory profile: beside the package in a source tree, else where it was installed.

    Raises:
        FileNotFoundError: neither is there.
    """
    # First the source tree's, also for an editable install of it: that file is the one being edited.
    candidates = [Path(__file__).resolve().parents[1] / "config" / PROFILE]
    with contextlib.suppress(LookupError, OSError):  # Not installed, or no ament index at all.
        candidates.append(Path(get_package_share_directory("rvm_ros")) / "config" / PROFILE)
    candidates.append(Path(sys.prefix) / "share" / "rvm_ros" / "config" / PROFILE)
    for path in candidates:
        if path.is_file():
            return path
    raise FileNotFoundError(f"{PROFILE}: not found at {' or '.join(map(str, candidates))}; install the package")
