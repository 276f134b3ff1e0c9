"""Launch files and configuration: read as they stand, and launched for real where launch_ros is installed."""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml

from rvm_ros.launch_parameters import node_parameters, recorder_parameters

ROOT = Path(__file__).resolve().parents[1]
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.py"))
PROFILE = ROOT / "config" / "fastdds_shm.xml"
DDS = {"dds": "http://www.eprosima.com"}
MIB = 2**20


def calls(path: Path, name: str) -> list[ast.Call]:
    """Every call of a class or function in a file, by the name that it has there."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((entry.value for entry in call.keywords if entry.arg == name), None)


def literal(expression: ast.expr | None) -> object:
    assert isinstance(expression, ast.Constant), expression
    return expression.value


def argument_names(path: Path) -> list[object]:
    return [literal(call.args[0]) for call in calls(path, "DeclareLaunchArgument")]


@pytest.fixture
def parameters():
    """The nodes' parameters; they can only be read where ROS 2 is."""
    pytest.importorskip("rclpy")
    return importlib.import_module("rvm_ros.parameters")


def test_the_launch_files_are_there():
    assert [path.name for path in LAUNCH_FILES] == ["demo.launch.py", "perception.launch.py", "record.launch.py"]


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_launch_file_compiles_and_describes_every_argument(path):
    compile(path.read_text(encoding="utf-8"), str(path), "exec")
    arguments = calls(path, "DeclareLaunchArgument")
    assert arguments
    for argument in arguments:
        assert len(str(literal(keyword(argument, "description")))) > 10, ast.unparse(argument)


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_launch_file_imports_only_what_our_packages_have(path):
    pytest.importorskip("ament_index_python")
    ours = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("rvm_")
    ]
    assert ours
    for node in ours:
        module = importlib.import_module(node.module)
        assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_launch_file_starts_executables_that_are_installed(path):
    installed = {script.name for script in (ROOT / "scripts").iterdir()}
    nodes = calls(path, "Node") + calls(path, "LifecycleNode")
    ours = [node for node in nodes if literal(keyword(node, "package")) == "rvm_ros"]
    assert ours
    assert {literal(keyword(node, "executable")) for node in ours} <= installed


def test_launch_arguments_that_set_a_parameter_are_empty_by_default():
    """An argument's default would be a second one beside the node's."""
    path = ROOT / "launch" / "perception.launch.py"
    with_default = {
        literal(call.args[0])
        for call in calls(path, "DeclareLaunchArgument")
        if not isinstance(keyword(call, "default_value"), ast.Constant) or literal(keyword(call, "default_value"))
    }
    # autostart differs from the node's default: that is what the launch file is for.
    assert with_default == {"params_file", "autostart", "log_level"}


def parameters_set_by(path: Path) -> set[str]:
    """The names in statements `parameters[name] = ...`; of f-strings the constant end."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.ctx, ast.Store)
            and ast.unparse(node.value) == "parameters"
        ):
            key = node.slice.values[-1] if isinstance(node.slice, ast.JoinedStr) else node.slice
            names.add(str(literal(key)))
    return names


def test_launch_files_set_only_parameters_that_their_node_has(parameters):
    perception = {spec.name for spec in parameters.PERCEPTION_PARAMETERS}
    player = {spec.name for spec in parameters.PLAYER_PARAMETERS}
    of_a_camera = {spec.name for spec in parameters.camera_parameters("front")}
    arguments = dict.fromkeys(argument_names(ROOT / "launch" / "perception.launch.py"), "given")
    set_for_perception = set(node_parameters({**arguments, "camera": "front"}, None))
    set_for_player = parameters_set_by(ROOT / "launch" / "demo.launch.py")
    assert set_for_perception >= {"model", "front.topic"}
    assert set_for_perception <= perception | of_a_camera
    arguments = dict.fromkeys(argument_names(ROOT / "launch" / "record.launch.py"), "1")
    assert set(recorder_parameters(arguments)) <= {spec.name for spec in parameters.RECORDER_PARAMETERS}
    assert "source" in set_for_player
    assert set_for_player <= player


def test_launch_files_set_the_environment_that_large_images_need(monkeypatch):
    pytest.importorskip("ament_index_python")
    from rvm_ros.environment import ros_environment

    assert all(calls(path, "ros_environment") for path in LAUNCH_FILES)
    for name in ("FASTDDS_DEFAULT_PROFILES_FILE", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    environment = ros_environment()
    assert Path(environment["FASTDDS_DEFAULT_PROFILES_FILE"]).read_bytes() == PROFILE.read_bytes()
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["GOMP_SPINCOUNT"] == "0"
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", "/etc/mine.xml")
    assert "FASTDDS_DEFAULT_PROFILES_FILE" not in ros_environment()


def uncommented(path: Path) -> str:
    """The YAML that a file shows as examples, commented out with `#` and without a space."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(line[1:] for line in lines if re.match(r"#(\S|  )", line))


def test_parameter_file_changes_nothing_as_it_stands():
    assert yaml.safe_load((ROOT / "config" / "perception.yaml").read_text(encoding="utf-8")) is None


def test_parameter_file_shows_every_parameter_with_a_value_that_the_node_takes(parameters):
    example = yaml.safe_load(uncommented(ROOT / "config" / "perception.yaml"))
    assert list(example) == ["/**/perception"]
    values = example["/**/perception"]["ros__parameters"]
    del values["qos_overrides"]
    specs = {spec.name: spec for spec in parameters.PERCEPTION_PARAMETERS}
    for camera in values["cameras"]:
        specs.update({spec.name: spec for spec in parameters.camera_parameters(camera)})
    assert values.keys() <= specs.keys()
    # The launch file sets autostart; each parameter of a camera is shown for one of them.
    missing = specs.keys() - values.keys() - {"autostart"}
    shown = {name.partition(".")[2] for name in values if "." in name}
    assert all(name.partition(".")[2] in shown for name in missing), missing
    for name, value in values.items():
        wanted = list if isinstance(specs[name].default, tuple) else type(specs[name].default)
        assert isinstance(value, wanted), name
        assert not specs[name].problem(value)


def dds_number(xml: ElementTree.Element, transport: str, name: str) -> int:
    for descriptor in xml.iterfind(".//dds:transport_descriptor", DDS):
        if descriptor.findtext("dds:type", namespaces=DDS) == transport:
            return int(descriptor.findtext(f"dds:{name}", default="0", namespaces=DDS))
    raise AssertionError(f"no transport {transport}")


def test_shared_memory_profile_holds_two_messages_of_1080p():
    xml = ElementTree.parse(PROFILE).getroot()
    message_bytes = dds_number(xml, "SHM", "maxMessageSize")
    assert message_bytes == 8 * MIB
    assert message_bytes > 1920 * 1080 * 3
    assert dds_number(xml, "SHM", "segment_size") >= 2 * message_bytes


def test_shared_memory_profile_keeps_udp_for_other_machines():
    xml = ElementTree.parse(PROFILE).getroot()
    types = {
        descriptor.findtext("dds:transport_id", namespaces=DDS): descriptor.findtext("dds:type", namespaces=DDS)
        for descriptor in xml.iterfind(".//dds:transport_descriptor", DDS)
    }
    used = [element.text for element in xml.iterfind(".//dds:participant//dds:userTransports/dds:transport_id", DDS)]
    assert [types[name] for name in used] == ["SHM", "UDPv4"]


@pytest.mark.ros
def test_fast_dds_takes_the_profile_without_complaint(tmp_path):
    pytest.importorskip("rclpy")
    program = "import rclpy; rclpy.init(); rclpy.create_node('reader').destroy_node(); rclpy.shutdown()"
    broken = tmp_path / "broken.xml"
    broken.write_text(PROFILE.read_text(encoding="utf-8").replace("segment_size>", "segment_sizes>"))

    def complaint(profile: Path) -> str:
        environment = {
            **os.environ,
            "FASTDDS_DEFAULT_PROFILES_FILE": str(profile),
            "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp",
        }
        run = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        return run.stdout + run.stderr

    assert complaint(PROFILE) == ""
    assert "segment_sizes" in complaint(broken)


def shown_by_rviz() -> list[str]:
    config = yaml.safe_load((ROOT / "config" / "perception.rviz").read_text(encoding="utf-8"))
    return [display["Topic"]["Value"] for display in config["Visualization Manager"]["Displays"]]


def shown_by_foxglove() -> list[str]:
    layout = json.loads((ROOT / "config" / "foxglove.json").read_text(encoding="utf-8"))
    panels = layout["configById"]
    placed = set(re.findall(r'"(\w+!\w+)"', json.dumps(layout["layout"])))
    assert placed == panels.keys()
    return [panel["imageMode"]["imageTopic"] for name, panel in panels.items() if name.startswith("Image!")]


@pytest.mark.parametrize("shown", [shown_by_rviz, shown_by_foxglove])
def test_layout_shows_camera_and_pictures(shown):
    pictures = [f"/perception/camera/{name}" for name in ("pca", "overlay", "segmentation")]
    assert shown() == ["/camera/image_raw", *pictures]


@pytest.mark.parametrize("shown", [shown_by_rviz, shown_by_foxglove])
def test_layout_shows_the_pictures_that_a_recorder_takes_by_itself(shown, parameters):
    recorded = next(spec.default for spec in parameters.RECORDER_PARAMETERS if spec.name == "outputs")
    assert "/camera/image_raw" in shown()
    assert "/perception/camera/segmentation" in shown()
    assert {"image", "segmentation"} <= set(recorded)


def test_layouts_name_topics_that_the_node_publishes(parameters):
    ports = importlib.import_module("rvm_ros.camera_port")
    cameras = next(spec.default for spec in parameters.PERCEPTION_PARAMETERS if spec.name == "cameras")
    published = {f"/perception/{camera}/{output}" for camera in cameras for output in ports.IMAGE_OUTPUTS}
    read = {spec.default for camera in cameras for spec in parameters.camera_parameters(camera)}
    assert cameras == ("camera",)
    assert set(shown_by_rviz()) <= published | {f"/{topic}" for topic in read}


@pytest.mark.ros
@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_launch_file_gives_a_description(path):
    pytest.importorskip("launch_ros")
    from launch.actions import DeclareLaunchArgument

    spec = importlib.util.spec_from_file_location(path.name.replace(".", "_"), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    entities = module.generate_launch_description().entities
    declared = [entity.name for entity in entities if isinstance(entity, DeclareLaunchArgument)]
    assert declared == argument_names(path)


@pytest.mark.ros
def test_the_nodes_parameters_come_from_file_and_arguments(tmp_path):
    pytest.importorskip("launch_ros")
    from launch import LaunchContext

    path = ROOT / "launch" / "perception.launch.py"
    spec = importlib.util.spec_from_file_location("perception_launch", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "p.yaml").write_text("/**:\n  ros__parameters:\n    cameras: [front, rear]\n")
    context = LaunchContext()
    context.launch_configurations.update(dict.fromkeys(argument_names(path), ""))
    context.launch_configurations.update(params_file=str(tmp_path / "p.yaml"), model="7")
    assert len(module.start_node(context)) == 1
    context.launch_configurations["image"] = "/front"
    with pytest.raises(ValueError, match="set the topics in that file"):
        module.start_node(context)
