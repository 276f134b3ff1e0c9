"""The tables of docs/node.md, from where the node itself takes what they say.

`python -m rvm_ros.node_reference docs/node.md` writes them anew between their marks; a test compares.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from rvm_ros.counts import COUNTED
from rvm_ros.diagnostics import CAMERA_VALUES, LEVELS, NODE_VALUES
from rvm_ros.interfaces import PUBLISHED, SERVICES, SUBSCRIBED, Topic, type_name
from rvm_ros.parameter_spec import ParameterSpec, When
from rvm_ros.parameters import PERCEPTION_PARAMETERS, PLAYER_PARAMETERS, RECORDER_PARAMETERS, camera_parameters

WHENS = {
    When.START: "at the start",
    When.CONFIGURE: "until configured",
    When.RELOAD: "always; loads anew",
    When.LIVE: "always",
}
"""Until when a parameter can be set, in a table."""


def tables() -> dict[str, str]:
    """Every table in Markdown, by the name of its marks."""
    return {
        "subscribed": _topics(SUBSCRIBED),
        "published": _topics(PUBLISHED),
        "services": _table(
            ("service", "type", "what"),
            ((f"`~/{name}`", f"`{type_name(kind)}`", text) for name, (kind, text) in SERVICES.items()),
        ),
        "parameters": _parameters((*PERCEPTION_PARAMETERS, *camera_parameters("<camera>"))),
        "player": _parameters(PLAYER_PARAMETERS),
        "recorder": _parameters(RECORDER_PARAMETERS),
        "levels": _table(("level", "of", "when"), LEVELS),
        "node values": _table(("key", "what"), ((f"`{key}`", text) for key, text in NODE_VALUES.items())),
        "camera values": _table(
            ("key", "what"), ((f"`{key}`", text) for key, text in {**COUNTED, **CAMERA_VALUES}.items())
        ),
    }


def written(text: str) -> str:
    """A document with its tables written anew.

    Raises:
        ValueError: it lacks the marks of a table.
    """
    for name, table in tables().items():
        begin, end = f"<!-- {name}: written by rvm_ros.node_reference -->\n", f"<!-- end of {name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        around = pattern.split(text)
        if len(around) != 2:
            raise ValueError(
                f"document: got {len(around) - 1} of the marks {begin!r} and {end!r}, expected one of each"
            )
        text = f"{around[0]}{begin}{table}{end}{around[1]}"
    return text


def _topics(topics: Iterable[Topic]) -> str:
    rows = ((f"`{each.name}`", f"`{type_name(each.type)}`", _qos(each.qos), each.description) for each in topics)
    return _table(("topic", "type", "QoS", "what"), rows)


def _qos(qos: QoSProfile) -> str:
    reliability = "reliable" if qos.reliability == ReliabilityPolicy.RELIABLE else "best effort"
    latched = ", latched" if qos.durability == DurabilityPolicy.TRANSIENT_LOCAL else ""
    return f"{reliability}, {qos.depth}{latched}"


def _parameters(specs: Iterable[ParameterSpec]) -> str:
    def row(spec: ParameterSpec) -> tuple[str, ...]:
        default = list(spec.default) if isinstance(spec.default, tuple) else spec.default
        allowed = ", ".join(spec.choices)
        if spec.minimum is not None:
            allowed = f"{spec.minimum:g} to {spec.maximum:g}" if spec.maximum is not None else f"from {spec.minimum:g}"
        return f"`{spec.name}`", f"`{default!r}`", allowed, WHENS[spec.when], spec.description

    return _table(("parameter", "default", "allowed", "can be set", "what"), map(row, specs))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tables of a document anew."""
    paths = sys.argv[1:] if arguments is None else list(arguments)
    if len(paths) != 1:
        print("node_reference: expected the path of a document, docs/node.md", file=sys.stderr)
        return 2
    path = Path(paths[0])
    path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
