"""Masks from what people mark: labels, boxes and points."""

import numpy as np
import pytest
import torch

from rvm_model.heads.prompts import mask_from_box, mask_from_points, masks_from_labels
from rvm_model.heads.propagation import LabelPropagation

H, W, D = 12, 16, 24
PROTOTYPES = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(0))).Q


def scene(noise: float = 0.05) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels [H, W] of an L-shaped object (1) and a distant thing of the same look (1 too), and features."""
    labels = torch.zeros(H, W, dtype=torch.long)
    labels[H // 2 :] = 2  # Background of two looks.
    labels[2:9, 3:5] = 1
    labels[7:9, 3:8] = 1
    labels[3:6, 12:15] = 1
    generator = torch.Generator().manual_seed(1)
    return labels, 3 + PROTOTYPES[labels] + noise * torch.randn(H, W, D, generator=generator)


def the_object() -> torch.Tensor:
    labels, _ = scene()
    labels[:, 10:] = 0
    return labels == 1


BOX = (3 / W, 2 / H, 8 / W, 9 / H)
"""(x0, y0, x1, y1) around the L, of whose 35 tokens 20 are the object."""


def test_labels_are_sampled_as_the_evaluation_does():
    labels = np.zeros((8, 12), np.uint8)
    labels[:4, 4:] = 3
    labels[4:, 6:] = 200
    labels[0, 0] = 255
    masks = masks_from_labels(labels, (2, 3))
    assert list(masks) == [3, 200]
    # Of each 4 x 4 patch, bilinear sampling reads the 2 x 2 pixels in the middle.
    assert masks[3].tolist() == [[0, 1, 1], [0, 0, 0]]
    assert masks[200].tolist() == [[0, 0, 0], [0, 0.5, 1]]


def test_labels_of_another_size_are_first_resized_to_the_input():
    labels = np.array([[0, 1, 1, 0, 0]], np.uint16).repeat(4, 0)
    masks = masks_from_labels(labels, (2, 4), size=(4, 8))
    # Nearest: input columns 0..7 are columns 0 0 1 1 2 3 3 4 of the labels.
    assert masks[1].tolist() == [[0, 1, 0.5, 0]] * 2


def test_an_object_between_the_samples_does_not_vanish():
    labels = np.zeros((32, 32), np.uint8)
    labels[0:3, 15:18] = 9  # Misses every middle; 3 of 256 pixels of one patch and 6 of the next.
    mask = masks_from_labels(labels, (2, 2))[9]
    torch.testing.assert_close(mask, torch.tensor([[0.5, 1.0], [0.0, 0.0]]))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((4, 4), np.uint8), "got only background"),
        (np.full((4, 4), 255, np.uint8), "got only background"),
        (np.ones((4, 4), np.int64), "got int64"),
        (np.ones((4, 4, 3), np.uint8), r"got uint8 \(4, 4, 3\)"),
    ],
)
def test_labels_without_an_object_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        masks_from_labels(labels, (2, 2))


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.15])
def test_a_box_gives_its_object_without_the_background(noise):
    _, tokens = scene(noise)
    # The distant thing of the same look is painted over: what is outside of a box counts as background.
    tokens[:6, 10:] = tokens[:6, 9:10]
    mask = mask_from_box(tokens, BOX)
    assert torch.equal(mask > 0.5, the_object())
    assert mask.min() >= 0
    assert mask.max() <= 1


def test_a_box_of_constant_features_is_its_cover():
    mask = mask_from_box(torch.ones(4, 4, D), (0.25, 0.0, 0.625, 0.5))
    expected = torch.tensor([[0, 1, 0.5, 0], [0, 1, 0.5, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    torch.testing.assert_close(mask, expected)


def test_a_box_over_the_whole_image_is_all_of_it():
    assert (mask_from_box(scene()[1], (0, 0, 1, 1)) == 1).all()


@pytest.mark.parametrize("box", [(0.51, 0.51, 0.52, 0.52), (0.49, 0.49, 0.51, 0.51), (0.999, 0, 1, 0.001)])
def test_a_box_smaller_than_a_patch_is_not_empty(box):
    mask = mask_from_box(scene()[1], box)
    assert mask.max() == 1
    assert (mask > 0).sum() <= 4


def test_a_box_of_random_features_is_never_empty():
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        mask = mask_from_box(torch.randn(6, 7, D, generator=generator), (0.2, 0.2, 0.8, 0.7))
        assert mask.max() > 0.5, f"seed {seed}"
        assert mask.isfinite().all()


@pytest.mark.parametrize(
    "box",
    [
        (0.5, 0, 0.5, 1),
        (0.6, 0, 0.5, 1),
        (0, 0.9, 1, 0.1),
        (-0.1, 0, 1, 1),
        (0, 0, 1, 1.1),
        (0, 0, 1),
        (0, float("nan"), 1, 1),
    ],
)
def test_a_box_that_is_none_is_refused(box):
    with pytest.raises(ValueError, match="box: got .* expected"):
        mask_from_box(scene()[1], box)


def test_a_point_gives_the_connected_object():
    mask = mask_from_points(scene()[1], [(3.5 / W, 2.5 / H)])
    assert torch.equal(mask >= 0.5, the_object())
    assert ((mask == 0) | (mask >= 0.5)).all()
    assert mask[2, 3] == 1


def test_two_points_give_two_parts():
    mask = mask_from_points(scene()[1], [(3.5 / W, 2.5 / H), (13.5 / W, 4.5 / H)])
    assert torch.equal(mask > 0, scene()[0] == 1)


def test_a_negative_point_keeps_a_similar_part_out():
    labels, _ = scene()
    labels[7:9, 5:8] = 3  # The foot of the L looks nearly as its stem.
    looks = PROTOTYPES.clone()
    looks[3] = torch.nn.functional.normalize(PROTOTYPES[1] + 0.4 * PROTOTYPES[5], dim=0)
    tokens = 3 + looks[labels]
    stem, foot = (3.5 / W, 2.5 / H), (6.5 / W, 7.5 / H)
    assert mask_from_points(tokens, [stem])[8, 7] > 0.5
    kept = mask_from_points(tokens, [stem], [foot])
    assert kept[7:9, 5:8].max() == 0
    assert (kept[2:9, 3:5] == 1).all()


def test_points_on_constant_features_are_their_own_tokens():
    mask = mask_from_points(torch.ones(4, 4, D), [(0.0, 0.0), (1.0, 1.0)], [(0.5, 0.5)])
    assert mask.sum() == 2
    assert mask[0, 0] == mask[3, 3] == 1


@pytest.mark.parametrize(
    ("positive", "negative", "message"),
    [
        ([], [(0.5, 0.5)], "positive: got no point"),
        ([(1.2, 0.5)], [], r"positive: got point \(1.2, 0.5\)"),
        ([(0.5, float("nan"))], [], "positive: got point"),
        ([(0.5, 0.5, 0.5)], [], "positive: got point"),
        ([(0.5, 0.5)], [(0.5, -0.1)], "negative: got point"),
        ([(0.01, 0.99)], [(0.02, 0.98)], r"negative: got a point on token \(11, 0\)"),
    ],
)
def test_points_that_are_none_or_contradict_are_refused(positive, negative, message):
    with pytest.raises(ValueError, match=message):
        mask_from_points(scene()[1], positive, negative)


@pytest.mark.parametrize("prompt", [lambda x: mask_from_box(x, BOX), lambda x: mask_from_points(x, [(0.5, 0.5)])])
def test_features_that_are_not_finite_are_refused(prompt):
    tokens = scene()[1]
    tokens[3, 3, 3] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        prompt(tokens)


def test_masks_are_deterministic_and_a_propagation_takes_them():
    _, tokens = scene()

    def marked() -> dict[int, torch.Tensor]:
        return {1: mask_from_box(tokens, BOX), 2: mask_from_points(tokens, [(13.5 / W, 4.5 / H)], [(0, 0)])}

    first, second = marked(), marked()
    assert all(torch.equal(first[i], second[i]) for i in first)
    state = LabelPropagation().add(None, tokens, first)
    torch.testing.assert_close(state.reference_labels[0].sum(-1), torch.ones(H, W))
