"""Start the perception node, configured and active.

An argument that is left empty leaves the value to the parameter file, and what is not there to the node, whose
defaults stand in rvm_ros/parameters.py. More than one camera: list them in a parameter file of your own.
"""

from pathlib import Path

import yaml
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from rvm_ros.environment import ros_environment
from rvm_ros.launch_parameters import node_parameters

ARGUMENTS = [
    DeclareLaunchArgument(
        "params_file",
        default_value=PathJoinSubstitution([FindPackageShare("rvm_ros"), "config", "perception.yaml"]),
        description="YAML file with the node's parameters",
    ),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node and its camera topics"),
    DeclareLaunchArgument("image", default_value="", description="Topic of the images, where there is one camera"),
    DeclareLaunchArgument("camera", default_value="", description="Name of that camera, in the output topics"),
    DeclareLaunchArgument("model", default_value="", description="Weights: a preset's name or a path"),
    DeclareLaunchArgument(
        "engine", default_value="", description="torch, openvino, onnx, tensorrt or a folder of `rvm export`"
    ),
    DeclareLaunchArgument("device", default_value="", description="Where the model runs: auto, cpu, cuda, cuda:1, xpu"),
    DeclareLaunchArgument("segmentation", default_value="", description="clusters, propagation or readout"),
    DeclareLaunchArgument(
        "readout", default_value="", description="File of a trained head, for the segmentation readout"
    ),
    DeclareLaunchArgument(
        "autostart",
        default_value="true",
        choices=["true", "false"],
        description="Configure and activate the node; false leaves that to you or to a lifecycle manager",
    ),
    DeclareLaunchArgument(
        "log_level", default_value="info", description="Least level logged: debug, info, warn, error or fatal"
    ),
]


def text(value: str) -> ParameterValue:
    """A text as a parameter; left to itself, launch_ros would make a number of a model called `7`."""
    return ParameterValue(value, value_type=str)


def start_node(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Build the node from the arguments' values."""
    given = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS}
    path = Path(given["params_file"])
    in_file = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    chosen = node_parameters(given, in_file)
    parameters = {name: text(value) if isinstance(value, str) else value for name, value in chosen.items()}
    return [
        LifecycleNode(
            package="rvm_ros",
            executable="perception_node",
            name="perception",
            namespace=given["namespace"],
            parameters=[given["params_file"], parameters],
            ros_arguments=["--log-level", given["log_level"]],
            output="screen",
            emulate_tty=True,
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Arguments, environment, node."""
    environment = [SetEnvironmentVariable(name, value) for name, value in ros_environment().items()]
    return LaunchDescription([*ARGUMENTS, *environment, OpaqueFunction(function=start_node)])
