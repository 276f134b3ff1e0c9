"""Package description for pip and colcon alike: three Python packages and the files that ROS 2 looks for.

`share/` and `lib/rvm_ros/` come from `data_files`. Executables are the wrappers in scripts/ and not console scripts,
because `ros2 run` and `ros2 launch` look in lib/<package>, and pip puts console scripts in bin/.
"""

from glob import glob

from setuptools import Distribution, find_packages, setup

PACKAGE = "rvm_ros"

# What a machine with ROS 2 has from its distribution (package.xml, rosdep): for machines without.
ROS = [
    "ros-kilted-rclpy>=9.1",
    "ros-kilted-rmw-fastrtps-cpp>=9.3",
    "ros-kilted-std-msgs>=5.5",
    "ros-kilted-sensor-msgs>=5.5",
    "ros-kilted-std-srvs>=5.5",
    "ros-kilted-diagnostic-msgs>=5.5",
    "ros-kilted-lifecycle-msgs>=2.3",
    "ros-kilted-rcl-interfaces>=2.3",
]
# Reading, writing and drawing on frames: nodes and training alike. OpenCV takes most damaged JPEGs for pictures, which
# would stay in a camera's state; simplejpeg refuses them, from 1.7.6 on.
VIDEO = ["av>=14.1", "opencv-python-headless>=4.8", "simplejpeg>=1.7.6"]
# Bags without ROS: rosbags reads and writes them, mcap finishes files whose writer was killed.
BAGS = ["mcap>=1.2", "rosbags>=0.11", "zstandard>=0.21"]
# What else runs exported engines; the default engine of a CPU needs none of it.
ENGINES = ["onnxruntime>=1.18"]
# What the default engine of a CPU is made with and runs on; where there is no wheel of it, torch runs the network.
DEFAULT_ENGINE = ["onnx>=1.16", "openvino>=2024.6; platform_machine in 'x86_64 AMD64 aarch64 arm64'"]
# Pretraining, evaluation and export.
TRAIN = [
    *VIDEO,
    *BAGS,
    *ENGINES,
    "av>=17",  # 17 tells where a video's keyframes are
    "fsspec>=2023.5",  # videos and shards in object stores
    "lightning>=2.6",  # 2.6 loads checkpoints without unpickling (weights_only)
    "matplotlib>=3.8",
    "pillow>=10",  # frames of datasets are resized as in the reference, by its Lanczos
    "pyarrow>=15",
    "pycocotools>=2.0.8",  # 2.0.8 is the first for NumPy 2
    "pydantic>=2.7",
    "scikit-image>=0.22",
    "scipy>=1.11",  # poses of JHMDB are MATLAB files
    "tensorboard>=2.16",
    "torchmetrics>=1.4",
]
# Other encoders to compare with. timm is used as well where it is installed: it needs a torchvision that fits torch.
RIVALS = ["transformers>=5"]
TEST = ["pytest>=8", "setuptools>=70.1"]  # 70.1 builds wheels by itself: test_packaging.py builds one offline


class DistributionWithData(Distribution):
    """For `pip install -e .`: setuptools asks for `has_data` there, which it calls `has_data_files` everywhere else.

    Without an answer it installs no data files, and the ament index would not find the package.
    """

    def has_data(self) -> bool:
        """Whether there are data files."""
        return bool(self.data_files)


setup(
    name=PACKAGE,
    distclass=DistributionWithData,
    version="0.1.0",
    license="Apache-2.0",
    maintainer="rvm maintainers",
    python_requires=">=3.10",
    packages=[
        *find_packages(include=["rvm_model", "rvm_model.*", "rvm_ros", "rvm_ros.*"]),
        *find_packages("training", include=["rvm_training", "rvm_training.*"]),
    ],
    # `training` would collide with other packages of that name in a ROS overlay.
    package_dir={"rvm_training": "training/rvm_training"},
    package_data={
        "rvm_model": ["py.typed", "weights/rvm_nano.*"],
        "rvm_ros": ["py.typed"],
        "rvm_training": ["py.typed", "report/page.*"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", sorted(glob("launch/*.launch.py"))),
        (f"share/{PACKAGE}/config", sorted(glob("config/*.*"))),
        (f"lib/{PACKAGE}", sorted(glob("scripts/*"))),
    ],
    entry_points={"console_scripts": ["rvm = rvm_training.__main__:main"]},
    install_requires=[
        "filelock>=3.12",  # two nodes that start at once build one engine
        "numpy>=1.26",
        "pyyaml>=6",
        "safetensors>=0.4.3",
        "torch>=2.4",
        "tqdm>=4.66",
        *DEFAULT_ENGINE,
    ],
    extras_require={
        "ros": [*ROS, *VIDEO, *BAGS],
        "engines": ENGINES,
        "train": TRAIN,
        "rivals": RIVALS,
        "test": TEST,  # the name `colcon test` looks for
        "dev": [
            *TEST,
            *RIVALS,
            "einops>=0.7",
            "pytest-xdist>=3.7",  # 3.7 can leave the order of the files as it is
            "selenium>=4.15",  # the page of `rvm report` in Chromium, where that is installed
            "ruff>=0.14",
            "mypy>=1.18",
            "types-PyYAML>=6.0.12",
            "types-tqdm>=4.67",
        ],
    },
    zip_safe=False,
)
