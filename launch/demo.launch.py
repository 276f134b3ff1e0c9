"""Play a video through the perception node, and watch it in RViz when asked.

Takes the arguments of perception.launch.py too: model, engine, device, params_file, namespace, ...
"""

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from rvm_ros.environment import ros_environment

SHARE = FindPackageShare("rvm_ros")
CAMERA = "camera"  # what config/perception.rviz shows

ARGUMENTS = [
    DeclareLaunchArgument("video", description="Video file, folder of images, or camera device to play"),
    DeclareLaunchArgument("rate", default_value="", description="Frames per second; empty for the video's own rate"),
    DeclareLaunchArgument(
        "loop", default_value="true", choices=["true", "false"], description="Play again from the start at the end"
    ),
    DeclareLaunchArgument(
        "rviz", default_value="false", choices=["true", "false"], description="Show camera, PCA and overlay in RViz"
    ),
]


def start_player(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Build the player from the arguments' values.

    Raises:
        ValueError: the rate is no number.
    """
    given = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS}
    parameters = {}
    parameters["source"] = ParameterValue(given["video"], value_type=str)
    parameters["loop"] = given["loop"] == "true"
    if given["rate"]:
        parameters["rate"] = float(given["rate"])
    return [
        Node(
            package="rvm_ros",
            executable="video_player_node",
            name="video_player",
            namespace=LaunchConfiguration("namespace"),
            parameters=[parameters],
            remappings=[("image_raw", f"{CAMERA}/image_raw")],
            output="screen",
            emulate_tty=True,
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """RViz comes first, so that where it is missing nothing has been started; then perception, then the player.

    The player's namespace is an argument that perception.launch.py declares.
    """
    environment = [SetEnvironmentVariable(name, value) for name, value in ros_environment().items()]
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", PathJoinSubstitution([SHARE, "config", "perception.rviz"])],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    perception = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "perception.launch.py"])),
        launch_arguments={"camera": CAMERA}.items(),
    )
    player = OpaqueFunction(function=start_player)
    return LaunchDescription([*ARGUMENTS, *environment, rviz, perception, player])
