"""Labels that follow their objects: equal to the authors' protocol, and on from there with several objects."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from rvm_model.heads.nearest import nearest
from rvm_model.heads.propagation import (
    LabelPropagation,
    PropagationConfig,
    PropagationState,
    confidence,
    propagate_labels,
)

H, W, D = 8, 10, 24
PROTOTYPES = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(0))).Q


def reference(features, first_labels, config):
    """The protocol with every similarity written out in float64: one [N, (1 + Q) N] matrix for each later frame."""
    clip, height, width, _ = features.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack((y, x), -1).flatten(0, 1).double()
    far = torch.cdist(places, places) >= config.radius
    unit = functional.normalize(features.double(), dim=-1).flatten(1, 2)
    first = (unit[0], first_labels.double().flatten(0, 1))
    queue, scores = [first] * config.context, []
    for t in range(1, clip):
        dots = [unit[t] @ first[0].T] + [(unit[t] @ keys.T).masked_fill(far, -torch.inf) for keys, _ in queue]
        values, order = torch.cat(dots, 1).topk(config.top_k)
        weights = (values / config.temperature).softmax(1)
        labels = torch.cat([first[1]] + [labels for _, labels in queue])[order]
        scores.append((weights[..., None] * labels).sum(1))
        queue = [*queue[1:], (unit[t], scores[-1])]
    return torch.stack(scores).unflatten(1, (height, width)).float()


def truth(t: int = 0) -> torch.Tensor:
    """True labels [H, W]: object 1 moves to the right, object 2 stands, background of two looks (0 and 3)."""
    labels = torch.zeros(H, W, dtype=torch.long)
    labels[H // 2 :] = 3
    labels[1:3, t % (W - 2) : t % (W - 2) + 3] = 1
    labels[5:7, 6:9] = 2
    return labels


def frame(labels: torch.Tensor, seed: int = 0, noise: float = 0.05) -> torch.Tensor:
    """Features of labels, each with its prototype; not of unit length."""
    generator = torch.Generator().manual_seed(seed)
    return 3 * PROTOTYPES[labels] + noise * torch.randn(*labels.shape, D, generator=generator)


def mask(label: int, t: int = 0) -> torch.Tensor:
    return (truth(t) == label).float()


def follow(propagation: LabelPropagation, state: PropagationState, times: range) -> tuple[torch.Tensor, ...]:
    """Scores of the last frame, and the state after it."""
    for t in times:
        scores, state = propagation(frame(truth(t), seed=t), state)
    return scores, state


def same(a: PropagationState, b: PropagationState) -> bool:
    pairs = [(getattr(a, field.name), getattr(b, field.name)) for field in dataclasses.fields(a)]
    return all(torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in pairs)


@pytest.mark.parametrize(
    ("case", "tolerance"),
    # The last is made of ties: copies of one token in the queue, of which only some are among the k. Which, and so the
    # labels, is the order of a sort; the authors' own differs from a stable one by as much.
    [("", 1e-6), ("_sharp", 2e-6), ("_official", 1e-6), ("_ties", 0.03)],
)
def test_a_clip_equals_the_authors_evaluation(root, case, tolerance, record_property):
    with np.load(root / "tests" / "golden" / f"label_propagation{case}.npz", allow_pickle=False) as arrays:
        meta = json.loads(str(arrays["meta"]))
        features, first, preds, everywhere = (
            torch.from_numpy(arrays[name]) for name in ("feats", "heatmap", "preds_stable_topk", "preds_unrestricted")
        )
    settings = {"context": meta["n_context"], "temperature": meta["temperature"], "top_k": meta["topk"]}
    scores = propagate_labels(features, first, radius=meta["radius"], **settings)
    record_property("error", (scores - preds).abs().max().item())
    torch.testing.assert_close(scores, preds, atol=tolerance, rtol=0)
    unrestricted = propagate_labels(features, first, radius=float("inf"), **settings)
    torch.testing.assert_close(unrestricted, everywhere, atol=tolerance, rtol=0)


@pytest.mark.parametrize(
    ("grid", "objects", "context", "top_k", "radius"),
    [
        ((7, 5), 2, 3, 5, 3),
        ((5, 9), 1, 1, 4, 2),
        ((9, 6), 4, 4, 7, 100),  # The radius exceeds the image.
        ((6, 11), 1, 2, 9, 1),  # Only the same place, fewer than k of it.
        ((4, 4), 1, 1, 32, 2.5),  # As many as there are.
        ((41, 13), 3, 2, 7, 4.3),  # Several bands, the last one cut.
        ((3, 300), 1, 1, 7, 6),  # A row is more than a band.
    ],
)
def test_the_bands_equal_the_whole_matrix(grid, objects, context, top_k, radius):
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(5, *grid, 16, generator=generator)
    labels = torch.rand(*grid, 1 + objects, generator=generator).softmax(-1)
    config = PropagationConfig(context=context, temperature=0.2, top_k=top_k, radius=radius)
    propagation = LabelPropagation(config)
    state = propagation.add(None, features[0], {i: labels[..., i] for i in range(1, 1 + objects)})
    for tokens, expected in zip(features[1:], reference(features, labels, config), strict=True):
        scores, state = propagation(tokens, state)
        torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)


def test_a_top_k_beyond_all_tokens_takes_them_all():
    features, labels = torch.ones(1, 2, 2, 3), torch.tensor([1.0, 0.0, 0.0, 1.0]).reshape(2, 2, 1)
    # Every token is equally similar, in the first frame and in its one copy.
    scores = propagate_labels(features, labels, context=1, top_k=100, radius=9)
    torch.testing.assert_close(scores, torch.full((1, 2, 2, 1), 0.5))


def test_nearest_keys_are_those_of_an_exhaustive_search():
    generator = torch.Generator().manual_seed(2)
    query, keys = torch.randn(20, 17, 6, generator=generator), torch.randn(3, 20, 17, 6, generator=generator)
    values, places = nearest(query, keys, 5, radius=4)
    y, x = torch.meshgrid(torch.arange(20), torch.arange(17), indexing="ij")
    y, x = y.flatten(), x.flatten()
    near = ((y[:, None] - y) ** 2 + (x[:, None] - x) ** 2 < 16).repeat(1, 3)
    dots = (query.flatten(0, 1) @ keys.flatten(0, 2).T).masked_fill(~near, -torch.inf)
    expected = dots.topk(5)
    torch.testing.assert_close(values, expected.values)
    assert torch.equal(places, expected.indices)


def test_frame_by_frame_with_one_prompt_is_the_protocol():
    clip = torch.stack([frame(truth(t), seed=t) for t in range(9)])
    propagation = LabelPropagation(PropagationConfig(context=3, top_k=5, radius=4))
    state = propagation.add(None, clip[0], {7: mask(1), 4: 0.6 * mask(2)})
    assert state.ids == (7, 4)
    scores = []
    for tokens in clip:
        each, state = propagation(tokens, state)
        scores.append(each)
    first = torch.stack((1 - mask(1) - 0.6 * mask(2), mask(1), 0.6 * mask(2)), -1)
    assert torch.equal(torch.stack(scores), propagate_labels(clip, first, context=3, top_k=5, radius=4))


def test_objects_are_followed_over_many_frames():
    propagation = LabelPropagation(PropagationConfig(context=4, radius=4))
    state = propagation.add(None, frame(truth()), {1: mask(1), 2: mask(2)})
    for t in range(60):
        scores, state = propagation(frame(truth(t), seed=t), state)
        assert torch.equal(scores.argmax(-1), truth(t) % 3), f"frame {t}"
        torch.testing.assert_close(scores.sum(-1), torch.ones(H, W))


def test_an_object_that_is_added_later_stays_and_the_first_goes_on():
    propagation = LabelPropagation(PropagationConfig(context=4, radius=4))
    state = propagation.add(None, frame(truth()), {1: mask(1)})
    _, state = follow(propagation, state, range(1, 10))
    state = propagation.add(state, frame(truth(10)), {2: mask(2, 10)})
    assert state.ids == (1, 2)
    assert state.reference_ids == ((1,), (2,))
    for t in range(11, 90):
        scores, state = propagation(frame(truth(t), seed=t), state)
        # The first reference has object 2 as background, and is as similar: the two must not share the score.
        right = scores.gather(-1, (truth(t) % 3)[..., None])
        assert right.min() > 0.9, f"frame {t}: {right.min()}"


def test_an_added_object_is_found_again_after_it_was_hidden_for_longer_than_the_queue():
    propagation = LabelPropagation(PropagationConfig(context=3, radius=3))
    state = propagation.add(None, frame(truth()), {1: mask(1)})
    state = propagation.add(state, frame(truth()), {2: mask(2)})
    hidden = truth()
    hidden[hidden == 2] = 3
    for t in range(10):
        scores, state = propagation(frame(hidden, seed=t), state)
    assert scores[..., 2].max() < 0.3
    back = hidden.clone()
    back[6:8, 0:3] = 2  # Elsewhere, farther than the radius.
    for t in range(3):
        scores, state = propagation(frame(back, seed=t), state)
    assert (scores.argmax(-1)[back == 2] == 2).all()
    assert (scores.argmax(-1)[back == 1] == 1).all()


def test_a_mask_takes_its_tokens_from_an_earlier_object():
    propagation = LabelPropagation(PropagationConfig(context=3))
    both = mask(1) + mask(2)  # Object 1 was marked too large; then the part of it is marked as object 2.
    state = propagation.add(None, frame(truth()), {1: both})
    state = propagation.add(state, frame(truth()), {2: mask(2)})
    torch.testing.assert_close(state.queue_labels[-1, 6, 7], torch.tensor([0.0, 0.0, 1.0]))
    torch.testing.assert_close(state.reference_known[1, 6, 7], torch.ones(3))
    assert state.reference_known[1, 1, 1].tolist() == [0, 0, 1]


def test_an_object_marked_anew_forgets_its_old_reference():
    propagation = LabelPropagation(PropagationConfig(context=3))
    state = propagation.add(None, frame(truth()), {1: mask(1), 2: mask(3)})  # Object 2 on the wrong thing,
    state = propagation.add(state, frame(truth()), {2: mask(2)})  # and corrected.
    assert state.ids == (1, 2)
    assert state.reference_ids == ((1,), (2,))
    assert state.reference_labels[0, ..., 2].max() == 0
    scores, state = follow(propagation, state, range(30))
    assert torch.equal(scores.argmax(-1), truth(29) % 3)
    again = propagation.add(state, frame(truth(29)), {2: mask(2, 29), 1: mask(1, 29)})
    assert again.reference_ids == ((2, 1),)
    assert again.complete


def test_a_removed_object_becomes_background_and_the_last_leaves_nothing():
    propagation = LabelPropagation(PropagationConfig(context=3))
    state = propagation.add(None, frame(truth()), {1: mask(1)})
    state = propagation.add(state, frame(truth()), {2: mask(2)})
    _, state = follow(propagation, state, range(1, 5))
    state = propagation.remove(state, 1)
    assert state.ids == (2,)
    assert state.reference_features.shape[0] == 1
    assert state.complete
    scores, state = follow(propagation, state, range(5, 15))
    assert torch.equal(scores.argmax(-1), mask(2).long())
    torch.testing.assert_close(scores.sum(-1), torch.ones(H, W))
    assert propagation.remove(state, 2) is None


def test_the_number_of_references_is_bounded_by_the_objects():
    propagation = LabelPropagation(PropagationConfig(context=2))
    state = None
    for t in range(12):
        state = propagation.add(state, frame(truth(t), seed=t), {1 + t % 3: mask(1 + t % 2, t)})
    assert len(state.reference_ids) == 3
    assert state.queue_features.shape == (2, H, W, D)


@pytest.mark.parametrize("bad_value", [float("nan"), float("inf"), 1e30])
def test_a_bad_frame_leaves_the_state_and_has_finite_scores(bad_value):
    propagation = LabelPropagation(PropagationConfig(context=3))
    state = propagation.add(None, frame(truth()), {1: mask(1)})
    _, state = follow(propagation, state, range(1, 6))
    bad = frame(truth(6))
    bad[0, 0, 0] = bad_value
    scores, after = propagation(bad, state)
    assert same(after, state)
    assert scores.isfinite().all()
    assert (scores.argmax(-1)[mask(1, 6) == 1] == 1).all()


def test_a_state_is_not_changed_by_what_follows():
    propagation = LabelPropagation(PropagationConfig(context=3))
    state = propagation.add(None, frame(truth()), {1: mask(1)})
    _, state = follow(propagation, state, range(1, 3))
    first = propagation(frame(truth(3)), state)
    follow(propagation, first[1], range(4, 9))
    propagation.add(first[1], frame(truth(4)), {2: mask(2)})
    second = propagation(frame(truth(3)), state)
    assert torch.equal(first[0], second[0])
    assert same(first[1], second[1])


def test_the_state_keeps_no_autograd_graph_and_float32_of_half_features():
    propagation = LabelPropagation(PropagationConfig(context=2))
    state = propagation.add(None, frame(truth()).half().requires_grad_(), {1: mask(1)})
    scores, state = propagation(frame(truth()).half().requires_grad_(), state)
    assert scores.dtype == state.queue_features.dtype == torch.float32
    assert not state.queue_features.requires_grad


def test_masks_that_overlap_share_their_tokens():
    state = LabelPropagation().add(None, frame(truth()), {1: torch.ones(H, W), 2: mask(2)})
    torch.testing.assert_close(state.reference_labels[0, 6, 7], torch.tensor([0.0, 0.5, 0.5]))
    torch.testing.assert_close(state.reference_labels[0].sum(-1), torch.ones(H, W))


def test_confidence_is_the_share_of_the_winner():
    scores = torch.tensor([[[0.2, 0.7, 0.1], [0.5, 0.5, 0.0]]])
    torch.testing.assert_close(confidence(scores), torch.tensor([[0.7, 0.5]]))


def test_another_grid_or_width_is_refused():
    propagation = LabelPropagation()
    state = propagation.add(None, frame(truth()), {1: mask(1)})
    with pytest.raises(ValueError, match=r"got a grid of \(8, 9\), expected the state's \(8, 10\)"):
        propagation(frame(truth())[:, :9], state)
    with pytest.raises(ValueError, match="got width 8, expected the state's 24"):
        propagation(frame(truth())[..., :8], state)
    with pytest.raises(ValueError, match="got a grid of"):
        propagation.add(state, frame(truth())[:4], {1: mask(1)[:4]})


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({}, "got none"),
        ({0: mask(1)}, r"got id 0, expected 1\.\.254"),
        ({255: mask(1)}, "got id 255"),
        ({1: mask(1)[:4]}, r"got \(4, 10\), expected the tokens' grid \(8, 10\)"),
        ({1: 0 * mask(1)}, "object 1: got values from 0 to 0"),
        ({1: 2 * mask(1)}, "object 1: got values from 0 to 2"),
        ({1: mask(1) / 0}, "object 1: got values from nan to nan"),
    ],
)
def test_masks_that_mark_nothing_are_refused(masks, message):
    with pytest.raises(ValueError, match=message):
        LabelPropagation().add(None, frame(truth()), masks)


def test_a_bad_frame_is_refused_to_mark_on_and_an_unknown_object_to_remove():
    propagation = LabelPropagation()
    with pytest.raises(ValueError, match="not finite"):
        propagation.add(None, frame(truth()) / 0, {1: mask(1)})
    state = propagation.add(None, frame(truth()), {1: mask(1)})
    with pytest.raises(ValueError, match=r"got id 3, expected one of \[1\]"):
        propagation.remove(state, 3)


@pytest.mark.parametrize(
    "change",
    [{"context": 0}, {"top_k": 0}, {"temperature": 0}, {"radius": 0}, {"radius": float("nan")}],
)
def test_a_configuration_out_of_range_is_refused(change):
    with pytest.raises(ValueError, match="got"):
        PropagationConfig(**change)


@pytest.mark.parametrize(("features", "labels"), [((2, 4, 5), (4, 5, 2)), ((2, 4, 5, 3), (5, 4, 2))])
def test_a_clip_that_does_not_fit_its_labels_is_refused(features, labels):
    with pytest.raises(ValueError, match="features, first_labels: got"):
        propagate_labels(torch.zeros(features), torch.zeros(labels))


def test_more_frames_with_marks_than_are_kept_are_refused_and_those_that_are_there_go_on():
    propagation = LabelPropagation(PropagationConfig(context=1, references=2))
    tokens = torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(4, 5)
    mask[0, 0] = 1.0
    state = propagation.add(None, tokens, {1: mask, 2: mask.flip(0)})
    state = propagation.add(state, tokens, {3: mask.flip(1)})
    with pytest.raises(ValueError, match="beside 2 others that have some, expected at most 2 frames"):
        propagation.add(state, tokens, {4: mask.flip(0, 1)})
    assert propagation.add(state, tokens, {1: mask, 2: mask.flip(0)}).ids == (1, 2, 3), (
        "their first frame is not needed"
    )
