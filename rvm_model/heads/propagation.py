"""Label propagation: objects marked on one frame are found again on the next ones by their features, without training.

The protocol of the authors' evaluation (DAVIS, JHMDB, VIP). Every token looks for the `top_k` tokens most similar to it
in a reference frame, whose labels were given, and in the last `context` frames, whose labels were propagated; there
only within `radius` patches. The softmax of those similarities weighs their labels. `propagate_labels` runs it on a
clip; `LabelPropagation`, of which it is made, takes one frame at a time.

Departs from the protocol where that ends, with objects that are added while others are followed. Each `add` makes a
reference frame of its own, kept until its last object is removed or marked anew. A reference says nothing of objects
that were marked on another frame: on it they count as unknown, not as background. Else the references of two objects
would contradict each other for ever, and an object that was added would sink to a half. Where a token is its object,
though, it is known to be none of the others. A score is the mean of the labels that are known. The queue restarts with
copies of the marked frame, as the protocol's does on its first: there the new objects have their masks, and the others
what was propagated to them.

Shape legend: h w patch rows and columns, N = h w, D feature width, C = 1 + objects (column 0 is background),
R reference frames, Q = context, k = top_k.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from rvm_model.heads.nearest import nearest
from rvm_model.heads.tokens import as_matrix, check_width

LARGEST_ID = 254
"""Object ids are 1..254: in a mono8 label image, 0 is background and 255 is unlabelled."""


@dataclass(frozen=True)
class PropagationConfig:
    """How far a token looks for its label; the defaults are a robot's, `propagate_labels` has the protocol's."""

    context: int = 6
    """Last frames that are searched, Q. Time and memory grow with it."""
    temperature: float = 0.7
    """Divides the cosine similarities before the softmax."""
    top_k: int = 7
    """Most similar tokens that give a token its label; all, where there are fewer."""
    references: int = 12
    """Most marked frames that are kept, R. Objects that are marked together share one."""
    radius: float = 10
    """Distance in patches that the last frames are searched within (strictly less); references are searched whole."""

    def __post_init__(self) -> None:
        """Refuse values that find nothing."""
        for name in ("context", "top_k", "references"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected at least 1")
        for name in ("temperature", "radius"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected more than 0")


@dataclass(frozen=True)
class PropagationState:
    """Objects of one camera, in about h w D 4 (Q + R) bytes.

    At 30 x 40 x 384 with one reference that is 39 MB with a context of 20, and 13 MB with one of 6.
    """

    ids: tuple[int, ...]
    """Object of every column of the labels and scores after column 0."""
    reference_ids: tuple[tuple[int, ...], ...]
    """Objects that were marked on each reference frame."""
    reference_features: Tensor
    """Unit vectors [R, h, w, D]."""
    reference_labels: Tensor
    """Soft labels [R, h, w, C]; 0 for objects that were marked on another frame."""
    reference_known: Tensor
    """How far each of these labels is known, 0..1 [R, h, w, C]."""
    queue_features: Tensor
    """Unit vectors of the last frames [Q, h, w, D], the oldest first."""
    queue_labels: Tensor
    """Soft labels of the last frames [Q, h, w, C]."""

    @property
    def complete(self) -> bool:
        """Whether every reference frame has labels of every object, as in the protocol."""
        return all(len(marked) == len(self.ids) for marked in self.reference_ids)


class LabelPropagation:
    """Follows marked objects, one camera's state at a time."""

    def __init__(self, config: PropagationConfig | None = None) -> None:
        self.config = config or PropagationConfig()

    @torch.no_grad()
    def __call__(self, tokens: Tensor, state: PropagationState) -> tuple[Tensor, PropagationState]:
        """Find the objects on one frame.

        Args:
            tokens: features [h, w, D], floating point, on the state's device; not normalised.
            state: from `add`, or from the last frame.

        Returns:
            (scores float32 [h, w, C] of background and `state.ids`, each in 0..1 and together one; state for the next
            frame). A frame with a value that is not finite leaves the state as it was.

        Raises:
            ValueError: not [h, w, D], or a grid or width other than the state's.
        """
        unit_hwD, finite = _unit(tokens)
        _check_fit(unit_hwD, state)
        scores = self._scores(unit_hwD, state)
        return scores, dataclasses.replace(
            state,
            queue_features=_pushed(state.queue_features, unit_hwD, finite),
            queue_labels=_pushed(state.queue_labels, scores, finite),
        )

    @torch.no_grad()
    def add(self, state: PropagationState | None, tokens: Tensor, masks: Mapping[int, Tensor]) -> PropagationState:
        """Mark objects on a frame. An id that is followed already is marked anew; all others go on.

        Waits for the device, to check what was given.

        Args:
            state: from the last frame; None where nothing is followed.
            tokens: the frame's features [h, w, D], floating point; not normalised.
            masks: id (1..254) to soft mask [h, w] in 0..1, see `rvm_model.heads.prompts`. Masks that together exceed
                one in a token are scaled down there; what they leave goes to the others and to background.

        Returns:
            State for the same frame or the next; new ids come after those that were there.

        Raises:
            ValueError: no mask, an id out of range, a mask that is empty, out of 0..1 or of another size, or tokens
                that are not finite or do not fit the state.
        """
        unit_hwD, finite = _unit(tokens)
        if not finite:
            raise ValueError(
                "tokens: got values that are not finite, expected a sound frame; mark the objects on another"
            )
        _check_masks(masks, unit_hwD)
        marked = torch.stack([mask.to(unit_hwD) for mask in masks.values()], dim=-1)
        marked = marked / marked.sum(-1, keepdim=True).clamp(min=1)
        left = (1 - marked.sum(-1, keepdim=True)).clamp(min=0)
        new = tuple(masks)
        references = [_Reference(new, unit_hwD, torch.cat((left, marked), -1))]
        ids = new
        others: tuple[int, ...] = ()
        if state is not None:
            _check_fit(unit_hwD, state)
            others = tuple(each for each in state.ids if each not in masks)
            ids = (*state.ids, *(each for each in new if each not in state.ids))
            references = [*_references(state, others), *references]
            if len(references) > self.config.references:
                raise ValueError(
                    f"masks: got objects on a frame beside {len(references) - 1} others that have some, expected at "
                    f"most {self.config.references} frames; mark objects together by a mask, or remove some"
                )
            left = left * _columns(self._scores(unit_hwD, state), state.ids, others)
        labels = _columns(torch.cat((torch.zeros_like(marked[..., :1]), marked), -1), new, ids)
        labels = labels + _columns(left, others, ids)
        context = self.config.context
        return _state(ids, references, unit_hwD.expand(context, -1, -1, -1), labels.expand(context, -1, -1, -1))

    @staticmethod
    def remove(state: PropagationState, object_id: int) -> PropagationState | None:
        """Follow an object no more; what was its own becomes background. None when it was the last one.

        Raises:
            ValueError: the state has no such object.
        """
        if object_id not in state.ids:
            raise ValueError(f"object: got id {object_id}, expected one of {list(state.ids)}")
        kept = tuple(each for each in state.ids if each != object_id)
        if not kept:
            return None
        labels = _columns(state.queue_labels, state.ids, kept)
        return _state(kept, _references(state, kept), state.queue_features, labels)

    def _scores(self, unit_hwD: Tensor, state: PropagationState) -> Tensor:
        config = self.config
        query_hwD = unit_hwD / config.temperature
        best = [
            nearest(query_hwD, state.reference_features, config.top_k),
            nearest(query_hwD, state.queue_features, config.top_k, config.radius),
        ]
        offset = state.reference_features[..., 0].numel()
        values_Nk = torch.cat([values for values, _ in best], 1)
        places_Nk = torch.cat((best[0][1], best[1][1] + offset), 1)
        values_Nk, chosen_Nk = values_Nk.topk(min(config.top_k, values_Nk.shape[1]))
        places_Nk, weights_Nk = places_Nk.gather(1, chosen_Nk), values_Nk.softmax(1)
        scores_NC = _weighted(weights_Nk, places_Nk, (state.reference_labels, state.queue_labels))
        if not state.complete:
            known_NC = _weighted(weights_Nk, places_Nk, (state.reference_known, torch.ones_like(state.queue_labels)))
            objects = scores_NC[:, 1:] / known_NC[:, 1:].clamp(min=1e-12)
            objects = objects / objects.sum(1, keepdim=True).clamp(min=1)
            scores_NC = torch.cat(((1 - objects.sum(1, keepdim=True)).clamp(min=0), objects), 1)
        return scores_NC.reshape(*unit_hwD.shape[:2], -1)


@torch.no_grad()
def propagate_labels(
    features: Tensor,
    first_labels: Tensor,
    *,
    context: int = 20,
    temperature: float = 0.7,
    top_k: int = 7,
    radius: float = 20,
) -> Tensor:
    """Propagate the first frame's labels through a clip, as the authors' evaluation does.

    Args:
        features: [T, h, w, D], floating point; normalised here.
        first_labels: soft labels [h, w, C] of the first frame, in 0..1; they need not sum to one.
        context: last frames that are searched.
        temperature: divides the cosine similarities.
        top_k: most similar tokens that give a token its label.
        radius: distance in patches that the last frames are searched within (strictly less).

    Returns:
        Scores float32 [T, h, w, C]; also the first frame's are propagated, from itself.

    Raises:
        ValueError: shapes that do not fit, or a setting out of range.
    """
    if features.ndim != 4 or 0 in features.shape or first_labels.shape[:-1] != features.shape[1:3]:
        raise ValueError(
            f"features, first_labels: got {tuple(features.shape)} and {tuple(first_labels.shape)}, "
            "expected [T, h, w, D] and [h, w, C]"
        )
    propagation = LabelPropagation(PropagationConfig(context, temperature, top_k, radius=radius))
    unit_hwD, _ = _unit(features[0])
    labels, ids = first_labels.to(unit_hwD), tuple(range(1, first_labels.shape[-1]))
    queue = unit_hwD.expand(context, -1, -1, -1), labels.expand(context, -1, -1, -1)
    state = _state(ids, [_Reference(ids, unit_hwD, labels)], *queue)
    scores = []
    for tokens in features:
        frame_scores, state = propagation(tokens, state)
        scores.append(frame_scores)
    return torch.stack(scores)


def confidence(scores: Tensor) -> Tensor:
    """How sure every token's label is: the share of the scores that the winner has, 1/C..1.

    Args:
        scores: [..., C] from `LabelPropagation`.

    Returns:
        float32 [...].
    """
    return scores.amax(-1) / scores.sum(-1).clamp(min=1e-12)


def _weighted(weights_Nk: Tensor, places_Nk: Tensor, maps: tuple[Tensor, Tensor]) -> Tensor:
    """Mean [N, C] of what the maps [frames, h, w, C], one after the other, hold at these places."""
    rows_MC = torch.cat([each.flatten(0, 2) for each in maps])
    picked_NkC = rows_MC.index_select(0, places_Nk.flatten()).unflatten(0, places_Nk.shape)
    return torch.einsum("nk,nkc->nc", weights_Nk, picked_NkC)


@dataclass(frozen=True)
class _Reference:
    """A marked frame: its objects, unit features [h, w, D], and labels of background and those objects [h, w, .]."""

    marked: tuple[int, ...]
    features: Tensor
    labels: Tensor


def _references(state: PropagationState, kept: Sequence[int]) -> list[_Reference]:
    """The state's references, of which each keeps only these objects; one that has none of them is dropped."""
    references = []
    for marked, features, labels in zip(
        state.reference_ids, state.reference_features, state.reference_labels, strict=True
    ):
        still = tuple(each for each in marked if each in kept)
        if still:
            references.append(_Reference(still, features, _columns(labels, state.ids, still)))
    return references


def _state(
    ids: tuple[int, ...], references: list[_Reference], queue_features: Tensor, queue_labels: Tensor
) -> PropagationState:
    known = []
    for each in references:
        mass = each.labels[..., 1:].sum(-1)
        known.append(torch.stack([mass, *(torch.ones_like(mass) if i in each.marked else mass for i in ids)], -1))
    return PropagationState(
        ids=ids,
        reference_ids=tuple(each.marked for each in references),
        reference_features=torch.stack([each.features for each in references]),
        reference_labels=torch.stack([_columns(each.labels, each.marked, ids) for each in references]),
        reference_known=torch.stack(known),
        queue_features=queue_features,
        queue_labels=queue_labels,
    )


def _columns(labels: Tensor, ids: Sequence[int], wanted: Sequence[int]) -> Tensor:
    """Labels [..., 1 + objects] with the columns wanted: new ones are 0, those left out become background."""
    columns = dict(zip(ids, labels[..., 1:].unbind(-1), strict=True))
    background = sum((columns[each] for each in ids if each not in wanted), start=labels[..., 0])
    return torch.stack([background, *(columns.get(each, torch.zeros_like(background)) for each in wanted)], -1)


def _pushed(queue: Tensor, newest: Tensor, finite: Tensor) -> Tensor:
    """The queue without its oldest entry and with the newest; as it was where the scalar `finite` is false."""
    pushed = torch.empty_like(queue, memory_format=torch.contiguous_format)
    torch.where(finite, queue[1:], queue[:-1], out=pushed[:-1])
    torch.where(finite, newest, queue[-1], out=pushed[-1])
    return pushed


def _unit(tokens: Tensor) -> tuple[Tensor, Tensor]:
    rows, finite = as_matrix(tokens)
    return functional.normalize(rows, dim=1).reshape(tokens.shape), finite


def _check_fit(unit_hwD: Tensor, state: PropagationState) -> None:
    grid, expected = tuple(unit_hwD.shape[:2]), tuple(state.queue_features.shape[1:3])
    if grid != expected:
        raise ValueError(
            f"tokens: got a grid of {grid}, expected the state's {expected}; mark the objects anew after a change"
        )
    check_width(unit_hwD.flatten(0, 1), state.queue_features)


def _check_masks(masks: Mapping[int, Tensor], unit_hwD: Tensor) -> None:
    if not masks:
        raise ValueError("masks: got none, expected at least one object")
    grid = tuple(unit_hwD.shape[:2])
    for object_id, mask in masks.items():
        if not 1 <= object_id <= LARGEST_ID:
            raise ValueError(f"masks: got id {object_id}, expected 1..{LARGEST_ID}")
        if tuple(mask.shape) != grid:
            raise ValueError(f"masks: object {object_id}: got {tuple(mask.shape)}, expected the tokens' grid {grid}")
        least, most = mask.min().item(), mask.max().item()
        # Compared so that NaN fails; an interpolation may exceed 1 by its rounding.
        if not (least >= 0 and 0 < most <= 1 + 1e-5):
            raise ValueError(
                f"masks: object {object_id}: got values from {least:.3g} to {most:.3g}, "
                "expected 0..1 and more than 0 somewhere"
            )
