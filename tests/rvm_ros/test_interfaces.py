"""The tables of topics and services say what a live node has; documents and the security policy say the same."""

from __future__ import annotations

import itertools
import re
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("rclpy")

from rclpy.parameter import Parameter

from rvm_ros import node_reference, security_policy
from rvm_ros.interfaces import PUBLISHED, SERVICES, SUBSCRIBED, type_name
from rvm_ros.launch_parameters import NODE_ARGUMENTS, node_parameters
from rvm_ros.parameters import PERCEPTION_PARAMETERS, camera_parameters
from rvm_ros.perception_node import PerceptionNode

pytestmark = pytest.mark.ros
ROOT = Path(__file__).parents[2]
NAMES = {spec.name for spec in (*PERCEPTION_PARAMETERS, *camera_parameters("<camera>"))}


class Live:
    """An active node of a name that no other test used: the graph forgets a node's name late."""

    used = itertools.count()

    def __init__(self, client, model: Path) -> None:
        self.client, self.name = client, f"perception{next(self.used)}"
        values = {"model": str(model), "engine": "torch", "image_size": [32, 48], "device": "cpu"}
        self.node = PerceptionNode(
            self.name, parameter_overrides=[Parameter(name, value=value) for name, value in values.items()]
        )
        client.executor.add_node(self.node)
        self.node.trigger_configure()
        self.node.trigger_activate()

    def full(self, name: str) -> str:
        """The name that a topic of the tables has in the graph."""
        name = name.replace("<camera>", "camera").replace("~", f"/{self.name}")
        return name if name.startswith("/") else f"/{name}"

    def graph(self, what: str, at_least: int = 1) -> dict[str, list[str]]:
        """What the graph says that the node has, as soon as it is so much."""
        look = getattr(self.client.node, f"get_{what}_names_and_types_by_node")
        return self.client.wait_for(lambda: len(f := dict(look(self.name, "/"))) >= at_least and f, f"{what}s")


@pytest.fixture
def live(client, tiny_checkpoint):
    live = Live(client, tiny_checkpoint)
    yield live
    client.executor.remove_node(live.node)
    live.node.trigger_shutdown()
    live.node.destroy_node()


def test_a_live_node_has_the_topics_of_the_tables_and_no_others(live):
    own = {"/rosout", "/parameter_events", f"/{live.name}/transition_event", "/clock"}
    for what, table in (("publisher", PUBLISHED), ("subscriber", SUBSCRIBED)):
        graph = live.graph(what, at_least=len(table) + 3 * (what == "publisher"))
        found = {name: kinds for name, kinds in graph.items() if name not in own}
        assert found == {live.full(topic.name): [type_name(topic.type)] for topic in table}


def test_a_live_node_has_the_quality_of_service_of_the_tables(live, client):
    for topic in (*PUBLISHED, *SUBSCRIBED):
        which = "publishers" if topic in PUBLISHED else "subscriptions"
        look = partial(getattr(client.node, f"get_{which}_info_by_topic"), live.full(topic.name))
        offers = client.wait_for(partial(_of_node, look, live.name), topic.name)
        got, expected = offers[0].qos_profile, topic.qos
        assert (got.reliability, got.durability) == (expected.reliability, expected.durability), topic.name


def _of_node(look, name: str) -> list:
    return [each for each in look() if each.node_name == name]


def test_a_live_node_has_the_services_of_the_table(live):
    expected = {live.full(f"~/{name}"): [type_name(kind)] for name, (kind, _) in SERVICES.items()}
    assert expected.items() <= live.graph("service", at_least=len(SERVICES) + 11).items()


def test_the_security_policy_allows_all_that_a_live_node_has_and_nothing_else(live):
    root = ElementTree.fromstring((ROOT / "config" / "sros2_policy.xml").read_text(encoding="utf-8"))
    rules = list(root.find(".//profile"))
    allowed = {(verb, live.full(each.text)) for rule in rules for verb in rule.attrib for each in rule}
    graph = {
        "publish": live.graph("publisher", at_least=len(PUBLISHED) + 3),
        "subscribe": live.graph("subscriber", at_least=len(SUBSCRIBED)),
        "reply": live.graph("service", at_least=len(SERVICES) + 11),
    }
    needed = {(verb, name) for verb, names in graph.items() for name in names}
    assert needed <= allowed
    # What depends on a parameter or a package: simulated time, the type description, label_info.
    assert {name.rpartition("/")[2] for _, name in allowed - needed} <= {"clock", "label_info", "get_type_description"}


def test_the_policy_file_is_what_the_command_prints(capsys):
    assert security_policy.main([]) == 0
    assert capsys.readouterr().out == (ROOT / "config" / "sros2_policy.xml").read_text(encoding="utf-8")


def test_the_policy_of_another_robot_has_its_cameras_topics_and_names(capsys):
    words = ["--cameras", "front", "rear", "--topics", "front=/front/image", "--namespace", "/robot1", "--node", "eyes"]
    assert security_policy.main(words) == 0
    root = ElementTree.fromstring(capsys.readouterr().out)
    assert root.find(".//enclave").attrib == {"path": "/robot1/eyes"}
    assert root.find(".//profile").attrib == {"ns": "/robot1", "node": "eyes"}
    topics = {each.text for each in root.iter("topic")}
    assert {"/front/image", "rear/image_raw", "~/front/features", "~/rear/features"} <= topics
    with pytest.raises(SystemExit):
        security_policy.main(["--topics", "side=/side"])


def test_the_document_has_the_tables_as_they_are():
    text = (ROOT / "docs" / "node.md").read_text(encoding="utf-8")
    assert node_reference.written(text) == text, "write them anew: python -m rvm_ros.node_reference docs/node.md"
    with pytest.raises(ValueError, match="got 0 of the marks"):
        node_reference.written("nothing")


def test_each_failure_of_the_document_names_a_test_that_there_is():
    text = (ROOT / "docs" / "node.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", text))
    assert len(named) > 10
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert named <= there


def test_the_document_names_no_parameter_that_there_is_not():
    text = (ROOT / "docs" / "node.md").read_text(encoding="utf-8")
    assert set(re.findall(r"ros2 param set /perception (\S+)", text)) <= NAMES


def test_the_launch_arguments_set_parameters_that_there_are():
    arguments = {"image": "/a", "camera": "", "params_file": "", "autostart": "true"}
    given = node_parameters({**arguments, **dict.fromkeys(NODE_ARGUMENTS, "given")}, None)
    assert {name.replace("camera.", "<camera>.") for name in given} <= NAMES
