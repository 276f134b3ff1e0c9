"""From the launch file's arguments to the node's parameters. Nothing of ROS is imported: it is tested everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

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
    parameters: dict[str, Any] = {name: given[name] for name in ("model", "engine", "device") if given[name]}
    if given["image"] or given["camera"]:
        camera = _camera(given, next(_cameras(in_file), None))
        parameters["cameras"] = [camera]
        if given["image"]:
            parameters[f"{camera}.topic"] = given["image"]
    # The node does it itself, so that there is one way, whoever starts it: this file, `ros2 run`, a supervisor.
    parameters["autostart"] = given["autostart"] == "true"
    return parameters


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
