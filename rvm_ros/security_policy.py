"""The SROS 2 policy of `perception_node`: what it may publish, subscribe to and answer, and nothing else.

`python -m rvm_ros.security_policy --cameras front rear` prints it; config/sros2_policy.xml is what it prints without
arguments. `ros2 security create_permission KEYSTORE ENCLAVE POLICY` makes permissions of it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from xml.etree import ElementTree

from rvm_ros.interfaces import PUBLISHED, SERVICES, SUBSCRIBED
from rvm_ros.parameters import PERCEPTION_PARAMETERS, camera_parameters, check_camera_names
from rvm_ros.perception_node import NAME

EVERY_NODE = {
    "publish": ("/rosout", "/parameter_events"),
    "subscribe": ("/clock",),
    "reply": (
        "~/describe_parameters",
        "~/get_parameter_types",
        "~/get_parameters",
        "~/get_type_description",
        "~/list_parameters",
        "~/set_parameters",
        "~/set_parameters_atomically",
    ),
}
"""What rclpy gives every node."""
LIFECYCLE = {
    "publish": ("~/transition_event",),
    "reply": (
        "~/change_state",
        "~/get_available_states",
        "~/get_available_transitions",
        "~/get_state",
        "~/get_transition_graph",
    ),
}
"""What a lifecycle node has beside that."""


def policy(topics: Mapping[str, str], *, namespace: str = "/", node: str = NAME) -> str:
    """The policy as XML, by the schema 0.2.0 of sros2.

    Args:
        topics: camera to the topic of its images, as it is subscribed to.
        namespace: the node's.
        node: its name.
    """
    cameras = list(topics)
    publish = [name for topic in PUBLISHED for name in _named(topic.name, cameras)]
    publish += [f"~/{camera}/label_info" for camera in cameras]
    subscribe = list(topics.values())
    subscribe += [name for topic in SUBSCRIBED if topic.name.startswith("~") for name in _named(topic.name, cameras)]
    reply = [f"~/{name}" for name in SERVICES]
    root = ElementTree.Element("policy", version="0.2.0")
    within = ElementTree.SubElement(root, "enclaves")
    within = ElementTree.SubElement(within, "enclave", path=f"{namespace.rstrip('/')}/{node}")
    within = ElementTree.SubElement(within, "profiles")
    profile = ElementTree.SubElement(within, "profile", ns=namespace, node=node)
    _rule(profile, "topics", "publish", (*EVERY_NODE["publish"], *LIFECYCLE["publish"], *publish))
    _rule(profile, "topics", "subscribe", (*EVERY_NODE["subscribe"], *subscribe))
    _rule(profile, "services", "reply", (*EVERY_NODE["reply"], *LIFECYCLE["reply"], *reply))
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _named(name: str, cameras: Iterable[str]) -> list[str]:
    return [name.replace("<camera>", camera) for camera in cameras] if "<camera>" in name else [name]


def _rule(profile: ElementTree.Element, kind: str, verb: str, names: Iterable[str]) -> None:
    rule = ElementTree.SubElement(profile, kind, {verb: "ALLOW"})
    for name in names:
        ElementTree.SubElement(rule, kind.removesuffix("s")).text = name


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the policy for some cameras."""
    default = next(spec.default for spec in PERCEPTION_PARAMETERS if spec.name == "cameras")
    parser = argparse.ArgumentParser(prog="python -m rvm_ros.security_policy", description=__doc__)
    parser.add_argument("--cameras", nargs="+", default=default, help="as in the parameter cameras")
    parser.add_argument(
        "--topics", nargs="+", default=[], metavar="CAMERA=TOPIC", help="other topics than <camera>/image_raw"
    )
    parser.add_argument("--namespace", default="/", help="the node's namespace")
    parser.add_argument("--node", default=NAME, help="the node's name")
    options = parser.parse_args(arguments)
    topics = {}
    try:
        check_camera_names(options.cameras)
        for camera in options.cameras:
            topics[camera] = next(str(s.default) for s in camera_parameters(camera) if s.name == f"{camera}.topic")
        for each in options.topics:
            camera, found, topic = each.partition("=")
            if not found or camera not in topics:
                raise ValueError(f"topics: got {each!r}, expected CAMERA=TOPIC with one of {', '.join(topics)}")
            topics[camera] = topic
    except ValueError as error:
        parser.error(str(error))
    sys.stdout.write(policy(topics, namespace=options.namespace, node=options.node))
    return 0


if __name__ == "__main__":
    sys.exit(main())
