"""Environment variables that ROS processes with large images want; the launch files and the demo set the same."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

PROFILE = "fastdds_shm.xml"
"""Shared-memory profile in config/: with Fast DDS's defaults, large best-effort frames are lost between processes."""


def dds_environment() -> dict[str, str]:
    """Variables to set before a ROS process starts; what the user has set already is left out.

    - FASTDDS_DEFAULT_PROFILES_FILE: the shared-memory profile.
    - OMP_WAIT_POLICY, GOMP_SPINCOUNT: idle threads sleep instead of spinning, which other load would pay for.
    """
    wanted = {
        "FASTDDS_DEFAULT_PROFILES_FILE": str(profile_path()),
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "0",
    }
    return {name: value for name, value in wanted.items() if name not in os.environ}


def profile_path() -> Path:
    """The shared-memory profile, installed or in the source tree.

    Raises:
        FileNotFoundError: neither is there.
    """
    # In a source tree, and in an editable install of it, the file beside the package is the one being edited.
    candidates = [Path(__file__).resolve().parents[1] / "config" / PROFILE]
    with contextlib.suppress(PackageNotFoundError):  # A source tree that was never installed.
        candidates.append(Path(get_package_share_directory("rvm_ros")) / "config" / PROFILE)
    for path in candidates:
        if path.is_file():
            return path
    raise FileNotFoundError(f"{PROFILE}: not found at {' or '.join(map(str, candidates))}; install the package")
