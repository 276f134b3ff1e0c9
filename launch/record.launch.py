"""Record the cameras of a perception node that runs, and what it says of them, into MCAP bags.

An argument that is left empty leaves the value to the recorder, whose defaults stand in rvm_ros/parameters.py. With
`recorder:=rosbag2`, `ros2 bag record` writes the same topics instead: all of them whole, from the start on.
"""

from datetime import datetime

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from rvm_ros.environment import ros_environment
from rvm_ros.launch_parameters import recorder_parameters, rosbag2_command

ARGUMENTS = [
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of both nodes"),
    DeclareLaunchArgument("perception", default_value="perception", description="Name of the perception node"),
    DeclareLaunchArgument("folder", default_value="", description="Folder in which each recording becomes a bag"),
    DeclareLaunchArgument(
        "features", default_value="", description="How features are stored: float32, float16, int8 or pca"
    ),
    DeclareLaunchArgument("every_n", default_value="", description="Record every n-th frame of each camera"),
    DeclareLaunchArgument(
        "record", default_value="true", choices=["true", "false"], description="false waits for ~/record"
    ),
    DeclareLaunchArgument("keep_s", default_value="", description="Seconds before ~/record that are recorded, too"),
    DeclareLaunchArgument("buffer_mb", default_value="", description="Megabytes of memory that they may take"),
    DeclareLaunchArgument(
        "recorder",
        default_value="feature_recorder",
        choices=["feature_recorder", "rosbag2"],
        description="What writes the bags",
    ),
    DeclareLaunchArgument(
        "images",
        default_value=".*/(image_raw|image_raw/compressed|camera_info)",
        description="With rosbag2, which does not ask the node: the cameras' topics, as a regular expression",
    ),
]


def start_recorder(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Build the recorder from the arguments' values."""
    given = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS}
    if given["recorder"] == "rosbag2":
        return [ExecuteProcess(cmd=rosbag2_command(given, datetime.now()), output="screen")]
    chosen = recorder_parameters(given)
    parameters = {
        name: ParameterValue(value, value_type=str) if isinstance(value, str) else value
        for name, value in chosen.items()
    }
    return [
        Node(
            package="rvm_ros",
            executable="feature_recorder",
            name="feature_recorder",
            namespace=given["namespace"],
            parameters=[parameters],
            output="screen",
            emulate_tty=True,
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Arguments, environment, recorder."""
    environment = [SetEnvironmentVariable(name, value) for name, value in ros_environment().items()]
    return LaunchDescription([*ARGUMENTS, *environment, OpaqueFunction(function=start_recorder)])
