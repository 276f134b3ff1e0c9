"""Pictures whose pixels have classes: folders of masks, and what COCO, CVAT and Label Studio export."""

from rvm_training.data.labels.found import IGNORE, Labelled, Picture, picture_files
from rvm_training.data.labels.read import EXPECTED, read_labelled

__all__ = ["EXPECTED", "IGNORE", "Labelled", "Picture", "picture_files", "read_labelled"]
