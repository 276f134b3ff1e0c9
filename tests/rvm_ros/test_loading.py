"""From parameters to engines: cameras of one size share one."""

import pytest
import torch

from rvm_model import RVM, RVMConfig, save_checkpoint

pytest.importorskip("rclpy")
from rvm_ros.loading import load
from rvm_ros.parameters import PERCEPTION_PARAMETERS, camera_parameters

pytestmark = pytest.mark.ros
CAMERAS = ("front", "rear")


@pytest.fixture
def loaded(tmp_path):
    """Function loading a network that was trained at 32x48, with parameters in place of the defaults."""
    config = RVMConfig(
        dim=24, encoder_depth=1, encoder_heads=3, encoder_mlp_dim=32, core_depth=1, core_heads=3, core_mlp_dim=32,
        patch_size=8, base_grid=(4, 6), decoder=None,
    )  # fmt: skip
    save_checkpoint(RVM(config), tmp_path / "tiny.safetensors")

    def start(**changed):
        specs = [*PERCEPTION_PARAMETERS, *(spec for camera in CAMERAS for spec in camera_parameters(camera))]
        values = {spec.name: spec.default for spec in specs}
        own = {"model": str(tmp_path / "tiny.safetensors"), "engine": "torch", "device": "cpu", "threads": 1}
        return load(CAMERAS, values | own | changed, tell=lambda _: None)

    threads = torch.get_num_threads()
    yield start
    torch.set_num_threads(threads)


def sizes(found):
    return [(info.height, info.width) for info in map(found.info, CAMERAS)]


def test_without_a_size_frames_have_that_of_the_networks_training(loaded):
    assert sizes(loaded()) == [(32, 48), (32, 48)]
    assert sizes(loaded(image_size=(16, 24))) == [(16, 24), (16, 24)]
    assert sizes(loaded(image_size=(16, 24), **{"rear.image_size": (64, 64)})) == [(16, 24), (64, 64)]


def test_cameras_of_one_size_share_an_engine_whoever_asked_for_it(loaded):
    found = loaded(**{"rear.image_size": (32, 48)})
    assert found.perceptions["front"] is found.perceptions["rear"]


@pytest.mark.parametrize("name", ["image_size", "rear.image_size"])
def test_half_a_size_is_refused_by_name(loaded, name):
    with pytest.raises(ValueError, match=rf"^{name}: got \[0, 48\], expected height and width"):
        loaded(**{name: (0, 48)})
