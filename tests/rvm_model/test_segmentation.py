"""What the values of a segmentation are."""

import torch

from rvm_model.heads.clusters import labels_at
from rvm_model.segmentation import Label, LabelTable, values_of


def test_labels_of_pixels_carry_the_ids():
    scores = torch.zeros(1, 3, 3)
    scores[0, 0, 1] = scores[0, 1, 0] = scores[0, 2, 2] = 1.0
    table = LabelTable("propagation", tuple(Label(each, str(each), (0, 0, 0)) for each in (0, 254, 1)), 255)
    labels = values_of(table, labels_at(scores, 2, 9))
    assert labels.dtype == torch.uint8
    assert labels.tolist() == [[254] * 3 + [0] * 3 + [1] * 3] * 2
