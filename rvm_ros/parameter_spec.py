"""What a ROS parameter may be: its type, its limits, and until when it can be set."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

Value = bool | int | float | str | tuple[int, ...] | tuple[str, ...]


class When(enum.Enum):
    """Until when a parameter can be set."""

    START = "start"
    """At the node's start; read-only after."""
    CONFIGURE = "configure"
    """Until the node is configured, and again after it was cleaned up."""
    RELOAD = "reload"
    """Always: once the node is configured, a new value loads the engine anew beside the one that runs."""
    LIVE = "live"
    """Always: the next frame goes by the new value."""


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
    when: When = When.CONFIGURE
    """Until when it can be set, and what that does."""

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
        result = ParameterDescriptor(description=self.description, read_only=self.when is When.START)
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


def declare(
    node: Node,
    specs: Iterable[ParameterSpec],
    is_configured: Callable[[], bool] = lambda: False,
    on_set: Callable[[set[str]], object] = lambda names: None,
    refusal: Callable[[dict[str, Any]], str] = lambda values: "",
) -> None:
    """Declare parameters on a node and refuse values that are not allowed, at the start and later.

    Args:
        node: the node.
        specs: its parameters.
        is_configured: whether the node has taken its parameters in, so that some changes would have no effect.
        on_set: told the names of parameters that are about to be set, of a configured node. It must look later what
            became of them: another callback may refuse.
        refusal: told names and values that are about to be set and are each allowed; says why they do not fit.

    Raises:
        ValueError: a value given at the start is not allowed; the message says what was got and expected.
    """
    by_name = {spec.name: spec for spec in specs}

    def refuse_bad_values(parameters: list[Parameter]) -> SetParametersResult:
        ours = [parameter for parameter in parameters if parameter.name in by_name]
        too_late = [p.name for p in ours if by_name[p.name].when is When.CONFIGURE]
        if too_late and is_configured():
            reason = (
                f"{', '.join(too_late)}: takes effect when the node is configured; deactivate it and clean it up first"
            )
            return SetParametersResult(successful=False, reason=reason)
        problems = [by_name[parameter.name].problem(parameter.value) for parameter in ours]
        reason = "; ".join(problem for problem in problems if problem)
        reason = reason or refusal({parameter.name: parameter.value for parameter in ours})
        if ours and not reason and is_configured():
            on_set({parameter.name for parameter in ours})
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
