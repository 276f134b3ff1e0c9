"""From the launch file's arguments to the node's parameters. Nothing of ROS is imported: it is tested everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

NODE_ARGUMENTS = ("model", "engine", "device", "segmentation", "readout")
"""Arguments of the perception node's launch file that are its parameters by the same names."""
OUTPUTS = ("features", "segmentation", "labels", "status")
"""What a recorder takes of a perception node's outputs where nobody chose."""
CAMERA = "camera"
"""Name of the one camera where none is given: what the layouts in config/ show."""


def node_parameters(given: Mapping[str, str], in_file: object) -> dict[str, Any]:
    """Parameters that go over those of the file.

    Args:
        given: the launch file's arguments by name; empty where nothing was given.
        in_file: what the parameter file holds; None where it holds nothing, or is not there, which the node tells.

    Raises:
        ValueError: `image` or `camera` do not fit the cameras that the file names.
    """
    parameters: dict[str, Any] = {name: given[name] for name in NODE_ARGUMENTS if given[name]}
    if given["image"] or given["camera"]:
        camera = _camera(given, next(_cameras(in_file), None))
        parameters["cameras"] = [camera]
        if given["image"]:
            parameters[f"{camera}.topic"] = given["image"]
    # The node does it itself, so that there is one way, whoever starts it: this file, `ros2 run`, a supervisor.
    parameters["autostart"] = given["autostart"] == "true"
    return parameters


def recorder_parameters(given: Mapping[str, str]) -> dict[str, Any]:
    """The recorder's parameters, of record.launch.py's arguments by name; what is empty is left to the recorder.

    Raises:
        ValueError: a number is none.
    """
    parameters: dict[str, Any] = {name: given[name] for name in ("perception", "folder", "features") if given[name]}
    for name, kind in (("every_n", int), ("keep_s", float), ("buffer_mb", int)):
        if given[name]:
            try:
                parameters[name] = kind(given[name])
            except ValueError as error:
                raise ValueError(f"{name}: got {given[name]!r}, expected a number") from error
    parameters["record"] = given["record"] == "true"
    return parameters


def rosbag2_command(given: Mapping[str, str], now: datetime) -> list[str]:
    """What records the same topics with rosbag2.

    Args:
        given: record.launch.py's arguments by name.
        now: the bag is named by it.

    Raises:
        ValueError: an argument was given that rosbag2 has nothing like.
    """
    ours = [name for name in ("features", "every_n", "keep_s", "buffer_mb") if given[name]]
    if ours or given["record"] != "true":
        told = ", ".join(ours or ["record"])
        raise ValueError(f"recorder: got rosbag2 with {told}, which only feature_recorder has; leave that out")
    node = "/".join(part.strip("/") for part in ("", given["namespace"], given["perception"]) if part.strip("/"))
    output = str(Path(given["folder"] or "bags").expanduser() / f"rvm_{now:%Y_%m_%d-%H_%M_%S}")
    topics = f"/{node}/[^/]+/({'|'.join(OUTPUTS)})|{given['images']}"
    return ["ros2", "bag", "record", "--storage", "mcap", "--output", output, "--regex", topics]


def _camera(given: Mapping[str, str], in_file: list[str] | None) -> str:
    """The one camera that `image` and `camera` are about."""
    wanted = given["camera"]
    if in_file is None:
        return wanted or CAMERA
    if len(in_file) == 1 and wanted in ("", in_file[0]):
        return in_file[0]
    raise ValueError(
        f"image and camera are for one camera: got image {given['image']!r}, camera {wanted!r}, and cameras {in_file} "
        f"in {given['params_file']}; set the topics in that file"
    )


def _cameras(in_file: object) -> Iterator[list[str]]:
    """The cameras that a parameter file names, for each part of it that is about them."""
    for node in in_file.values() if isinstance(in_file, Mapping) else ():
        parameters = node.get("ros__parameters") if isinstance(node, Mapping) else None
        if isinstance(parameters, Mapping) and parameters.get("cameras"):
            yield list(parameters["cameras"])
