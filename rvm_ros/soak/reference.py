"""What the features of good frames must be: the same network, run in the soak's own process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from rvm_model import RVMConfig, save_checkpoint
from rvm_model.engines import CameraStates, choose_engine
from rvm_model.messages.images import RgbArray
from rvm_model.preprocess import preprocess
from rvm_model.weights import seeded

SIZE = 32, 48
"""Height and width of the engine's input."""
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
"""So small that the messages cost more than the engine: they are what is tried."""
RELATIVE, ABSOLUTE = 1e-4, 1e-5
"""How far from the reference features may be: a batch of two cameras is summed in another order than one."""


def write_network(path: Path, seed: int) -> None:
    """Write an untrained network of NETWORK's sizes as a checkpoint."""
    save_checkpoint(seeded(NETWORK, seed), path)


class Reference:
    """The engine and a state for each camera."""

    def __init__(self, engine: str, model: Path) -> None:
        """Load the engine; the first time, build it.

        Args:
            engine: as the node's parameter.
            model: the checkpoint.
        """
        self._engine = choose_engine(engine, model=str(model), size=SIZE, device="cpu", threads=1, tell=lambda _: None)
        self._states = CameraStates(self._engine)
        self.worst = 0.0
        """Largest difference so far, absolute."""

    def step(self, camera: str, image: RgbArray, *, reset: bool) -> npt.NDArray[np.float32]:
        """Take in a frame; returns its features [h, w, D]."""
        if reset:
            self._states.reset(camera)
        info = self._engine.info
        features = self._states.step([camera], preprocess([image], SIZE, info.device))[0, 1:]
        return features.reshape(*info.grid, info.dim).numpy().copy()

    def agrees(self, got: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> bool:
        """Whether features are what they must be."""
        if got.shape != expected.shape:
            return False
        self.worst = max(self.worst, float(np.abs(got - expected).max()))
        return bool(np.allclose(got, expected, rtol=RELATIVE, atol=ABSOLUTE))
