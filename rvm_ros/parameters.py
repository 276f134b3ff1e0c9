"""Every ROS parameter of every node: name, default, meaning, limits. The only place where a ROS default stands.

`config/*.yaml` and `launch/` only repeat what they change.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from rvm_model.heads.clusters import ClusterConfig
from rvm_model.perception import PerceptionConfig

Value = bool | int | float | str | tuple[int, ...] | tuple[str, ...]


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter."""

    name: str
    default: Value
    description: str
    """What it does, with its unit; what `ros2 param describe` prints."""
    minimum: float | None = None
    """Smallest value allowed; for arrays, of each item."""
    maximum: float | None = None
    """Largest value allowed; needs `minimum`."""
    choices: tuple[str, ...] = ()
    """The only values allowed, for text."""
    length: int | None = None
    """Number of items, for arrays."""
    fixed: bool = False
    """Given at the node's start and read-only after; other parameters can be set until the node is configured."""

    def problem(self, value: Any) -> str:
        """Why a value of the right type, or none at all, is not allowed; empty when it is."""
        if value is None:  # An empty list on the command line is one.
            default = list(self.default) if isinstance(self.default, tuple) else self.default
            return f"{self.name}: got no value, expected one like {default!r}"
        items = list(value) if isinstance(self.default, tuple) else [value]
        if self.length is not None and len(items) != self.length:
            return f"{self.name}: got {len(items)} items, expected {self.length}"
        if self.choices and value not in self.choices:
            return f"{self.name}: got {value!r}, expected one of {', '.join(self.choices)}"
        for item in items:
            if self.minimum is not None and not item >= self.minimum:
                return f"{self.name}: got {item}, expected at least {self.minimum}"
            if self.maximum is not None and not item <= self.maximum:
                return f"{self.name}: got {item}, expected at most {self.maximum}"
        return ""

    def descriptor(self) -> ParameterDescriptor:
        """The ROS descriptor, ranges included where ROS has them (not for arrays)."""
        result = ParameterDescriptor(description=self.description, read_only=self.fixed)
        if self.choices:
            result.additional_constraints = "one of: " + ", ".join(self.choices)
        if self.minimum is not None and self.maximum is not None:
            # A range without a maximum cannot be written in ROS; `problem` holds the minimum alone.
            if isinstance(self.default, float):
                result.floating_point_range = [FloatingPointRange(from_value=self.minimum, to_value=self.maximum)]
            elif isinstance(self.default, int) and not isinstance(self.default, bool):
                limits = IntegerRange(from_value=int(self.minimum), to_value=int(self.maximum))
                result.integer_range = [limits]
        return result


PERCEPTION_PARAMETERS: tuple[ParameterSpec, ...] = (
    ParameterSpec(
        "cameras", ("camera",), "Names of the cameras; each gets its own state and its topics ~/<name>/...", fixed=True
    ),
    ParameterSpec(
        "model",
        "untrained:rvm_small16_256",
        "Weights: a .npz or .safetensors file, the name of a downloaded released model, or untrained:PRESET[:SEED]",
    ),
    ParameterSpec(
        "engine",
        "",
        "Folder that `rvm export` wrote: its weights and size count then, not model and image_size. Or torch; openvino "
        "or onnx, built from the model on first use and kept; tensorrt. Empty: torch on CUDA, the fastest on a CPU",
    ),
    ParameterSpec(
        "build_if_missing",
        False,
        "With the engine tensorrt: build it at the first start, for minutes, where the cache does not have it",
    ),
    ParameterSpec(
        "device",
        "auto",
        "Where the engine runs: cpu, cuda, cuda:N, xpu (an Intel GPU, by OpenVINO), or auto: CUDA where torch sees it "
        "and may run the engine there, else cpu",
    ),
    ParameterSpec(
        "image_size",
        (256, 256),
        "Height and width of the engine's input in pixels, multiples of 16",
        16,
        4096,
        length=2,
    ),
    ParameterSpec("threads", 0, "CPU threads of the engine; 0 takes one for each physical core", 0, 1024),
    ParameterSpec("max_gap", 1.0, "Seconds between two stamps above which a camera's state starts anew", 0.001, 3600.0),
    ParameterSpec(
        "stale_after", 2.0, "Seconds without an image, or a processed one, that diagnostics tell of", 0.1, 3600.0
    ),
    ParameterSpec(
        "max_pixels", 64_000_000, "Images with more pixels are refused before they are decoded", 1, 1_000_000_000
    ),
    ParameterSpec("clusters", ClusterConfig().clusters, "Number of clusters of the segmentation", 2, 1000),
    ParameterSpec("cluster_seed", ClusterConfig().seed, "Seed of the clusters' start", 0, 2**31 - 1),
    ParameterSpec(
        "overlay_alpha", PerceptionConfig().overlay_alpha, "Share of the label's colour in the overlay", 0.0, 1.0
    ),
    ParameterSpec("autostart", False, "Configure and activate at the start, without a lifecycle manager", fixed=True),
)
"""Parameters of `perception_node`."""

PLAYER_PARAMETERS: tuple[ParameterSpec, ...] = (
    ParameterSpec("source", "", "Video file, folder of images, or camera device (/dev/videoN or N)", fixed=True),
    ParameterSpec("topic", "image_raw", "Topic of the images; compressed ones go to <topic>/compressed", fixed=True),
    ParameterSpec(
        "transport",
        "raw",
        "raw: sensor_msgs/Image, compressed: CompressedImage (jpeg)",
        choices=("raw", "compressed"),
        fixed=True,
    ),
    ParameterSpec("rate", 0.0, "Frames per second; 0 plays at the video's own rate", 0.0, 1000.0, fixed=True),
    ParameterSpec("loop", False, "Start again at the end instead of ending", fixed=True),
    ParameterSpec("frame_id", "camera", "frame_id of the images' headers", fixed=True),
    ParameterSpec("wait_for_subscribers", 0, "Publish nothing until so many subscriptions match", 0, 1000, fixed=True),
    ParameterSpec(
        "folder_rate", 30.0, "Frames per second that the images of a folder were taken at", 0.001, 1000.0, fixed=True
    ),
)
"""Parameters of `video_player_node`."""


def camera_parameters(camera: str) -> tuple[ParameterSpec, ...]:
    """Parameters of one camera of `perception_node`."""
    return (
        ParameterSpec(f"{camera}.topic", f"{camera}/image_raw", f"Base topic of camera {camera}'s images"),
        ParameterSpec(
            f"{camera}.transport",
            "raw",
            "raw: sensor_msgs/Image on the topic, compressed: CompressedImage on <topic>/compressed",
            choices=("raw", "compressed"),
        ),
    )


def check_camera_names(cameras: Sequence[str]) -> None:
    """Check the names of the cameras.

    Raises:
        ValueError: there is none, one is given twice, or one cannot be part of a topic's name.
    """
    if not cameras or len(set(cameras)) != len(cameras):
        raise ValueError(f"cameras: got {list(cameras)}, expected at least one name and each once")
    for camera in cameras:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*", camera):
            raise ValueError(
                f"cameras: got {camera!r}, expected a letter, then letters, digits and single underscores, "
                "as in a topic's name"
            )


def declare(node: Node, specs: Iterable[ParameterSpec], is_configured: Callable[[], bool] = lambda: False) -> None:
    """Declare parameters on a node and refuse values that are not allowed, at the start and later.

    Args:
        node: the node.
        specs: its parameters.
        is_configured: whether the node has taken its parameters in, so that a change would have no effect.

    Raises:
        ValueError: a value given at the start is not allowed; the message says what was got and expected.
    """
    by_name = {spec.name: spec for spec in specs}

    def refuse_bad_values(parameters: list[Parameter]) -> SetParametersResult:
        ours = [parameter for parameter in parameters if parameter.name in by_name]
        if ours and is_configured():
            names = ", ".join(parameter.name for parameter in ours)
            reason = f"{names}: takes effect when the node is configured; deactivate it and clean it up first"
            return SetParametersResult(successful=False, reason=reason)
        problems = [by_name[parameter.name].problem(parameter.value) for parameter in ours]
        reason = "; ".join(problem for problem in problems if problem)
        return SetParametersResult(successful=not reason, reason=reason)

    node.add_on_set_parameters_callback(refuse_bad_values)
    for spec in by_name.values():
        default = list(spec.default) if isinstance(spec.default, tuple) else spec.default
        try:
            node.declare_parameter(spec.name, default, spec.descriptor())
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise ValueError(f"parameter {spec.name}: {error}") from error


def unknown_parameters(given: Iterable[str], declared: Iterable[str]) -> dict[str, str]:
    """Parameters that were given to a node at its start and that it does not have.

    Not refused: a file with `/**` gives all nodes what is meant for one.

    Returns:
        Name to the declared one that is most like it, or to nothing.
    """
    known = set(declared)
    unknown = (name for name in given if name not in known and not name.startswith("qos_overrides."))
    return {name: "".join(difflib.get_close_matches(name, known, n=1)) for name in unknown}
