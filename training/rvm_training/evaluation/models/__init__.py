"""What is evaluated: anything that gives a feature map for every frame of a video."""

from rvm_training.evaluation.models.base import ModelInfo, VideoModel
from rvm_training.evaluation.models.choose import Choice, load_model

__all__ = ["Choice", "ModelInfo", "VideoModel", "load_model"]
