"""Every ROS parameter of every node: name, default, meaning, limits. The only place where a ROS default stands.

`config/*.yaml` and `launch/` only repeat what they change.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from rvm_model.camera_heads import HeadsConfig
from rvm_model.heads.clusters import ClusterConfig
from rvm_model.heads.propagation import PropagationConfig
from rvm_model.messages.images import MAX_PIXELS
from rvm_model.messages.judge import ON_GAP, Rules
from rvm_model.messages.recoding import CODINGS
from rvm_model.segmentation import SOURCES
from rvm_model.weights import DEFAULT_MODEL
from rvm_ros.camera_stream import StreamSettings
from rvm_ros.interfaces import TRANSPORTS
from rvm_ros.launch_parameters import OUTPUTS
from rvm_ros.parameter_spec import ParameterSpec, When
from rvm_ros.recorder.sources import RECORDABLE
from rvm_ros.worker import WorkerSettings

PROCESSING = ("newest", "every")
"""Which frames are taken."""

PERCEPTION_PARAMETERS: tuple[ParameterSpec, ...] = (
    ParameterSpec(
        "cameras",
        ("camera",),
        "Names of the cameras; each gets its own state and its topics ~/<name>/...",
        when=When.START,
    ),
    ParameterSpec(
        "model",
        DEFAULT_MODEL,
        "Weights: rvm_nano, which is bundled; a .npz or .safetensors file; the name of a downloaded released model; or "
        "untrained:PRESET[:SEED]",
        when=When.RELOAD,
    ),
    ParameterSpec(
        "engine",
        "",
        "Folder that `rvm export` wrote: its weights and size count then, not model and image_size. Or torch; openvino "
        "or onnx, built from the model on first use and kept; tensorrt. Empty: torch on CUDA, the fastest on a CPU",
        when=When.RELOAD,
    ),
    ParameterSpec(
        "carry_state",
        True,
        "Where an engine is loaded anew: go on with the states if it has the same weights and input size. Else, and "
        "for any other engine, the states start anew",
        when=When.LIVE,
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
        (0, 0),
        "Height and width of the engine's input in pixels, multiples of the network's patch; 0, 0 takes the size that "
        "the weights are made for, which is that of their training where they do not say",
        0,
        4096,
        length=2,
    ),
    ParameterSpec("threads", 0, "CPU threads of the engine; 0 takes one for each physical core", 0, 1024),
    ParameterSpec(
        "processing",
        "newest",
        "newest: of each camera the newest frame, others are dropped; what a robot wants. every: each frame in order, "
        "for bags that are replayed; cameras are then subscribed reliable",
        choices=PROCESSING,
    ),
    ParameterSpec(
        "queue_length", 100, "With processing every: frames of a camera that wait; more drop the oldest", 1, 10_000
    ),
    ParameterSpec(
        "max_gap",
        Rules().max_gap_s,
        "Seconds between two stamps above which a pause is a gap",
        0.001,
        3600.0,
        when=When.LIVE,
    ),
    ParameterSpec(
        "on_gap",
        Rules().on_gap,
        "What a gap does to a camera's state: reset starts it anew, continue leaves it, decay lets it fade by half for "
        "each decay_half_life",
        choices=ON_GAP,
        when=When.LIVE,
    ),
    ParameterSpec(
        "decay_half_life",
        WorkerSettings().decay_half_life_s,
        "Seconds of a gap after which half of a state is left, with on_gap decay",
        0.001,
        3600.0,
        when=When.LIVE,
    ),
    ParameterSpec(
        "max_age",
        StreamSettings().max_age_s,
        "Seconds between stamp and arrival above which a frame is left out; 0 takes all",
        0.0,
        3600.0,
        when=When.LIVE,
    ),
    ParameterSpec("max_pixels", MAX_PIXELS, "Images with more pixels are refused before they are decoded", 1, 10**9),
    ParameterSpec(
        "segmentation",
        SOURCES[0],
        "Where the labels come from. clusters: online k-means; propagation: objects that are marked on "
        "~/<camera>/prompt_mask or ~/<camera>/prompt, and followed; readout: classes of a trained head",
        choices=SOURCES,
        when=When.LIVE,
    ),
    ParameterSpec("readout", "", "File of the trained head for the segmentation readout, as `rvm readout` writes it"),
    ParameterSpec(
        "propagation_context",
        PropagationConfig().context,
        "Last frames in which objects are looked for; time and memory grow with them",
        1,
        100,
    ),
    ParameterSpec(
        "propagation_radius",
        float(PropagationConfig().radius),
        "Patches within which objects are looked for in the last frames",
        0.5,
        1000.0,
    ),
    ParameterSpec(
        "prompt_history",
        HeadsConfig().prompt_history,
        "Frames that are kept with the segmentation propagation, so that a prompt finds the one that it was made on",
        1,
        1000,
    ),
    ParameterSpec("clusters", ClusterConfig().clusters, "Number of clusters of the segmentation", 2, 1000),
    ParameterSpec("cluster_seed", ClusterConfig().seed, "Seed of the clusters' start", 0, 2**31 - 1),
    ParameterSpec(
        "overlay_alpha",
        HeadsConfig().overlay_alpha,
        "Share of the label's colour in the overlay",
        0.0,
        1.0,
        when=When.LIVE,
    ),
    ParameterSpec(
        "picture_height",
        HeadsConfig().picture_height,
        "Most rows of the pictures for people, pca and overlay; 0 gives them the camera's size",
        0,
        10_000,
        when=When.LIVE,
    ),
    ParameterSpec(
        "state_file",
        "",
        "File that ~/save_state writes and ~/load_state reads; empty refuses both",
        when=When.START,
    ),
    ParameterSpec(
        "stale_after",
        2.0,
        "Seconds without an image, or a processed one, that diagnostics tell of",
        0.1,
        3600.0,
        when=When.LIVE,
    ),
    ParameterSpec(
        "warn_latency",
        1.0,
        "Seconds of latency, 95th percentile, from which diagnostics warn",
        0.001,
        3600.0,
        when=When.LIVE,
    ),
    ParameterSpec(
        "error_latency",
        10.0,
        "Seconds of latency, 95th percentile, from which they are an error",
        0.001,
        3600.0,
        when=When.LIVE,
    ),
    ParameterSpec(
        "warn_resets",
        6,
        "Resets of a camera's state within a minute from which diagnostics warn",
        1,
        3600,
        when=When.LIVE,
    ),
    ParameterSpec(
        "autostart", False, "Configure and activate at the start, without a lifecycle manager", when=When.START
    ),
)
"""Parameters of `perception_node`."""

PLAYER_PARAMETERS: tuple[ParameterSpec, ...] = (
    ParameterSpec("source", "", "Video file, folder of images, or camera device (/dev/videoN or N)", when=When.START),
    ParameterSpec(
        "topic", "image_raw", "Topic of the images; compressed ones go to <topic>/compressed", when=When.START
    ),
    ParameterSpec(
        "transport",
        "raw",
        "raw: sensor_msgs/Image, compressed: CompressedImage (jpeg)",
        choices=("raw", "compressed"),
        when=When.START,
    ),
    ParameterSpec("rate", 0.0, "Frames per second; 0 plays at the video's own rate", 0.0, 1000.0, when=When.START),
    ParameterSpec("loop", False, "Start again at the end instead of ending", when=When.START),
    ParameterSpec("frame_id", "camera", "frame_id of the images' headers", when=When.START),
    ParameterSpec(
        "wait_for_subscribers", 0, "Publish nothing until so many subscriptions match", 0, 1000, when=When.START
    ),
    ParameterSpec(
        "folder_rate",
        30.0,
        "Frames per second that the images of a folder were taken at",
        0.001,
        1000.0,
        when=When.START,
    ),
)
"""Parameters of `video_player_node`."""


_RECORDER = (
    ParameterSpec(
        "perception", "perception", "Name of the perception node that is recorded, from this node's namespace"
    ),
    ParameterSpec("folder", "bags", "Folder in which each recording becomes a bag, named by its prefix and its start"),
    ParameterSpec("prefix", "rvm", "What the bags' names begin with"),
    ParameterSpec("record", True, "Record from the start on; else when ~/record is asked to"),
    ParameterSpec(
        "outputs",
        ("image", "camera_info", *OUTPUTS),
        f"What is recorded of each camera: some of {', '.join(RECORDABLE)}",
    ),
    ParameterSpec(
        "features",
        CODINGS[0],
        "How features are stored: float32 exactly; float16 and int8 in 1/2 and 1/4 of the bytes; pca as `components` "
        "numbers a token. What each loses is in the bag, on the topic <features>/coding",
        choices=CODINGS,
    ),
    ParameterSpec("components", 32, "Numbers a token, with features: pca", 1, 4096),
    ParameterSpec("every_n", 1, "Record every n-th frame of each camera, with all that belongs to it", 1, 100_000),
    ParameterSpec(
        "keep_s",
        0.0,
        "Seconds before ~/record is asked to start that are recorded, too; they are kept in memory",
        0.0,
        3600.0,
    ),
    ParameterSpec(
        "buffer_mb",
        256,
        "Megabytes of memory for what is kept, which may be less than keep_s then, and for what waits to be written; "
        "as much again is in the hands of what writes",
        1,
        65536,
    ),
    ParameterSpec("split_mb", 2048, "Megabytes after which a bag goes on in another file; 0 for no limit", 0, 10**6),
    ParameterSpec("split_s", 0.0, "Seconds after which it does; 0 for no limit", 0.0, 1e6),
    ParameterSpec("compress", True, "Compress the bags with zstd"),
)
RECORDER_PARAMETERS: tuple[ParameterSpec, ...] = tuple(replace(spec, when=When.START) for spec in _RECORDER)
"""Parameters of `feature_recorder`."""


def camera_parameters(camera: str) -> tuple[ParameterSpec, ...]:
    """Parameters of one camera of `perception_node`."""
    return (
        ParameterSpec(f"{camera}.topic", f"{camera}/image_raw", f"Base topic of camera {camera}'s images"),
        ParameterSpec(
            f"{camera}.transport",
            "raw",
            "raw: sensor_msgs/Image on the topic, compressed: CompressedImage on <topic>/compressed",
            choices=tuple(TRANSPORTS),
        ),
        ParameterSpec(
            f"{camera}.image_size",
            (0, 0),
            "Height and width of the engine's input for this camera; 0, 0 takes image_size. Cameras of one size go "
            "through the engine together; an exported engine has one size for all",
            0,
            4096,
            length=2,
        ),
        ParameterSpec(
            f"{camera}.max_rate",
            StreamSettings().max_rate_hz,
            "Frames per second, by their stamps, that are taken at most; 0 takes all",
            0.0,
            1000.0,
            when=When.LIVE,
        ),
        ParameterSpec(
            f"{camera}.frame_id",
            StreamSettings().frame_id,
            "The only frame_id that is taken from this topic; empty takes any",
            when=When.LIVE,
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
