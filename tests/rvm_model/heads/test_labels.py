"""Labels of every pixel, at the cost of the boundaries."""

import tracemalloc
import warnings

import numpy as np
import pytest
import torch
from torch.nn import functional

from rvm_model.heads import labels as labels_module
from rvm_model.heads.clusters import labels_at, labels_by_resizing

ROUNDING = 1e-5
"""Difference of two scores, themselves about 1, that their rounding may turn."""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def resized(scores: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Scores [K, H, W] of every pixel, in double precision."""
    return functional.interpolate(scores.double().permute(2, 0, 1)[None], size=size, mode="bilinear")[0]


def smooth(h: int, w: int, labels: int) -> torch.Tensor:
    few = torch.randn(1, labels, 4, 5, generator=seeded(labels))
    return functional.interpolate(few, size=(h, w), mode="bicubic")[0].permute(1, 2, 0)


def check_winners(found: torch.Tensor, scores: torch.Tensor) -> None:
    """Every label's score is the largest of its pixel, but for rounding; where it clearly is, the label is that one."""
    exact = resized(scores, tuple(found.shape))
    chosen = exact.gather(0, found.long()[None])[0]
    assert (exact.amax(0) - chosen).max() < ROUNDING
    if len(exact) > 1:
        best, second = exact.topk(2, dim=0).values
        clear = best - second > ROUNDING
        assert clear.float().mean() > 0.99
        assert torch.equal(found[clear].long(), exact.argmax(0)[clear])


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (6, 9), (64, 80), (67, 101)])
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (5, 1), (4, 5), (13, 11)])
@pytest.mark.parametrize("labels", [1, 2, 6, 40])
def test_the_largest_resized_score_wins_at_any_size(labels, shape, size):
    scores = torch.randn(*shape, labels, generator=seeded(labels))
    found = labels_at(scores, *size)
    assert found.shape == size
    assert found.is_contiguous()
    check_winners(found, scores)
    check_winners(labels_by_resizing(scores, *size), scores)


@pytest.mark.parametrize("labels", [6, 20])
def test_smooth_scores_give_the_labels_of_the_resized_scores(labels):
    scores = smooth(16, 20, labels)
    found = labels_at(scores, 240, 323)
    check_winners(found, scores)
    assert len(found.unique()) > 3, "the test is about more than one label"


def test_a_label_may_win_between_tokens_where_it_wins_at_none():
    # Between opposite corners the third label is the best of all, and it is at no token.
    scores = torch.tensor([[[1.0, 0.0, 0.8], [0.0, 1.0, 0.8]]])
    assert labels_at(scores, 1, 16).tolist() == [[0] * 6 + [2] * 4 + [1] * 6]


@pytest.mark.parametrize("labels", [3, 300])
def test_of_equal_scores_the_first_wins(labels):
    # Small whole numbers at an enlargement of a power of two: interpolation is exact, and ties are ties.
    scores = torch.randint(0, 3, (6, 7, labels), generator=seeded()).float()
    exact = resized(scores, (48, 56))
    tied = (exact == exact.amax(0)).sum(0) > 1
    assert tied.float().mean() > 0.02
    assert torch.equal(labels_at(scores, 48, 56).long(), exact.argmax(0))
    assert torch.equal(labels_by_resizing(scores, 48, 56).long(), exact.argmax(0))
    assert (labels_at(torch.zeros(6, 7, labels), 48, 56) == 0).all()


def test_few_cells_at_a_time_change_nothing(monkeypatch):
    scores = torch.randn(9, 8, 12, generator=seeded())
    expected = labels_at(scores, 100, 90)
    monkeypatch.setattr(labels_module, "VALUES_AT_ONCE", 1)
    assert torch.equal(labels_at(scores, 100, 90), expected)


def test_a_thousand_labels_are_told_apart():
    scores = smooth(8, 9, 1000)
    found = labels_at(scores, 50, 60)
    assert found.dtype == torch.int32
    check_winners(found, scores)
    assert found.max() > 255


def test_scores_that_are_not_finite_fail_nothing_and_stay_where_they_are():
    scores = torch.randn(6, 8, 5, generator=seeded())
    expected = labels_at(scores, 60, 80)
    scores[2, 3, 1], scores[2, 3, 2], scores[2, 3, 3] = float("nan"), float("inf"), -float("inf")
    found = labels_at(scores, 60, 80)
    assert found.max() < 5
    near = torch.zeros(60, 80, dtype=torch.bool)
    near[15:35, 25:45] = True  # Up to the centres of the tokens around.
    assert torch.equal(found[~near], expected[~near])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_scores_of_which_few_are_finite_fail_nothing(bad):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert labels_at(torch.tensor([[[bad, 1.0], [0.0, 5.0]]]), 4, 8).max() < 2
        assert labels_at(torch.full((2, 3, 4), bad), 4, 8).max() < 4


def test_the_memory_for_many_labels_is_a_few_times_that_of_their_scores():
    scores = np.random.default_rng(0).standard_normal((50, 50, 1000), np.float32)
    tracemalloc.start()
    labels_module.labels_by_cells(scores, 50, 50)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * scores.nbytes


def test_half_precision_and_a_gradient_are_taken():
    scores = torch.randn(6, 8, 5, generator=seeded())
    bf16 = scores.bfloat16()
    assert torch.equal(labels_at(bf16, 30, 40), labels_at(bf16.float(), 30, 40))
    assert torch.equal(labels_at(scores.clone().requires_grad_(), 30, 40), labels_at(scores, 30, 40))


def test_the_scores_are_left_as_they_were():
    scores = torch.randn(6, 8, 5, generator=seeded())
    kept = scores.clone()
    labels_at(scores, 30, 40)
    assert torch.equal(scores, kept)


def test_types_leave_room_for_unlabelled_on_every_device():
    for device in ("cpu", "meta"):
        for labels, dtype in ((254, torch.uint8), (255, torch.int32)):
            found = labels_at(torch.randn(2, 3, labels, device=device), 7, 9)
            assert (found.shape, found.dtype, found.device.type) == ((7, 9), dtype, device)


def test_arrays_are_taken_without_torch():
    scores = np.zeros((2, 2, 3), np.float32)
    scores[:, 0, 1] = scores[:, 1, 2] = 1
    found = labels_module.labels_by_cells(scores, 2, 4)
    np.testing.assert_array_equal(found, [[1, 1, 2, 2], [1, 1, 2, 2]])
    assert found.dtype == np.uint8


@pytest.mark.gpu
def test_a_gpu_gives_the_same_labels():
    scores = smooth(16, 20, 20)
    check_winners(labels_at(scores.cuda(), 240, 323).cpu(), scores)
