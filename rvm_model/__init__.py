"""RVM for PyTorch: the network, its weights, the engines that run it and the heads that read its features.

Needs neither ROS nor Lightning. Start with `load_checkpoint` and `RVM.step`.
"""

from rvm_model.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from rvm_model.config import PRESETS, DecoderConfig, RVMConfig, preset
from rvm_model.rvm import RVM, Reconstruction

__all__ = [
    "PRESETS",
    "RVM",
    "CheckpointError",
    "DecoderConfig",
    "RVMConfig",
    "Reconstruction",
    "load_checkpoint",
    "preset",
    "save_checkpoint",
]
