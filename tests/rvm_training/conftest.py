"""Videos whose frames tell their own number, bags of noise, and a tiny engine for both."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from bags import png, raw, stamp, write

from rvm_model import RVMConfig, save_checkpoint
from rvm_model.engines import TorchEngine
from rvm_model.weights import WeightsInfo, seeded

VideoWriter = Callable[..., Path]
SIZE = 32, 48
NETWORK = RVMConfig(
    dim=24,
    encoder_depth=2,
    encoder_heads=3,
    encoder_mlp_dim=40,
    core_depth=2,
    core_heads=4,
    core_mlp_dim=56,
    base_grid=(2, 3),
    decoder=None,
)


def numbered_frame(index: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A grey frame whose level is its number, with a white corner so that it is not plain."""
    frame = np.full((height, width, 3), index, np.uint8)
    frame[:8, :8] = 255
    return frame


def write_video(
    path: Path, frames: int = 80, *, fps: int = 25, gop: int = 250, b_frames: int = 0, codec: str = "libx264",
    times: list[int] | None = None, container_options: dict[str, str] | None = None,
) -> Path:  # fmt: skip
    """Write numbered frames, losslessly but for a codec given; `times` gives their times in frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=container_options or {}) as container:
        options = {"g": str(gop), "bf": str(b_frames), "sc_threshold": "0"}
        if codec == "libx264":
            # Lossless in RGB: no chroma subsampling and no rounding between colour spaces.
            codec, options["crf"], pixels = "libx264rgb", "0", "rgb24"
        else:
            pixels = "bgr0" if codec == "ffv1" else "yuv420p"
        stream = container.add_stream(codec, rate=Fraction(fps), options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        stream.codec_context.time_base = Fraction(1, fps)
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(numbered_frame(index), format="rgb24")
            frame.pts = times[index] if times else index
            frame.time_base = Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def video(tmp_path) -> VideoWriter:
    """Writer of numbered videos below the test's folder."""
    return lambda name="video.mp4", *args, **options: write_video(tmp_path / name, *args, **options)


@pytest.fixture(scope="session")
def numbers() -> Callable[[np.ndarray], list[int]]:
    """Reader of the numbers that decoded frames tell."""
    return lambda frames: [round(float(np.median(frame))) for frame in frames]


@pytest.fixture(scope="session")
def engine():
    return TorchEngine(seeded(NETWORK, 0), WeightsInfo("tiny", "sha256:" + "0" * 64, True), size=SIZE, device="cpu")


@pytest.fixture(scope="session")
def frames():
    """Noise, 12 frames of 40x60."""
    return np.random.default_rng(0).integers(0, 256, (12, 40, 60, 3), np.uint8)


@pytest.fixture
def bag(tmp_path, frames):
    """Function writing a bag of a front camera at 10 Hz, from a frame on, and a rear one of every second frame."""

    def make(name="run", first=0, rear=True):
        front = {"/front/image_raw": [raw(frame, "rgb8", stamp(first + i)) for i, frame in enumerate(frames)]}
        seen = {"/rear/image_raw/compressed": [png(frame, stamp(2 * i + 1)) for i, frame in enumerate(frames[::2])]}
        return write(tmp_path / name, front | (seen if rear else {}))

    return make


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> str:
    """The tiny engine's weights as a checkpoint."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(seeded(NETWORK, 0), path)
    return str(path)
