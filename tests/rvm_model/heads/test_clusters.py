"""Clusters that stay with their objects."""

import pytest
import torch

from rvm_model.heads.clusters import RESIZED_AT_ONCE, ClusterConfig, ClusterState, OnlineKMeans, labels_at

H, W, D = 16, 20, 24
PROTOTYPES = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(0))).Q[:5]


def truth(t: int) -> torch.Tensor:
    """True labels [H, W] at time t: two objects move over a background of two halves."""
    labels = torch.zeros(H, W, dtype=torch.long)
    labels[:, W // 2 :] = 1
    x = t % (W - 4)
    labels[2:6, x : x + 4] = 2
    labels[9:13, W - 4 - x : W - x] = 3
    return labels


def frame(labels: torch.Tensor, generator: torch.Generator, noise: float = 0.1) -> torch.Tensor:
    """Features of a frame: each object's prototype, a common offset and noise."""
    return 3.0 + PROTOTYPES[labels] + noise * torch.randn(*labels.shape, D, generator=generator)


def run(frames, config: ClusterConfig) -> tuple[list[torch.Tensor], ClusterState]:
    kmeans, state, labels = OnlineKMeans(config), None, []
    for tokens in frames:
        similarity, state = kmeans(tokens, state)
        labels.append(similarity.argmax(-1))
    return labels, state


def test_objects_keep_their_label_over_hundreds_of_frames():
    generator = torch.Generator().manual_seed(1)
    true = [truth(t) for t in range(300)]
    labels, _ = run((frame(x, generator) for x in true), ClusterConfig(clusters=4))
    mapping = {}
    for label in range(4):
        values, counts = labels[0][true[0] == label].unique(return_counts=True)
        mapping[label] = int(values[counts.argmax()])
    assert sorted(mapping.values()) == [0, 1, 2, 3], "each object has a cluster of its own"
    names = torch.tensor([mapping[label] for label in range(4)])
    consistent = [(labels[t] == names[true[t]]).float().mean().item() for t in range(300)]
    assert min(consistent) > 0.98


def test_a_slow_change_of_appearance_is_followed():
    generator = torch.Generator().manual_seed(2)
    kmeans, state = OnlineKMeans(ClusterConfig(clusters=4)), None
    labels, start = truth(5), None
    agreement = []
    for t in range(300):
        share = t / 300  # Object 2 turns from its own prototype into another one's.
        tokens = frame(labels, generator)
        tokens[labels == 2] += share * (PROTOTYPES[4] - PROTOTYPES[2])
        similarity, state = kmeans(tokens, state)
        found = similarity.argmax(-1)
        start = found[labels == 2].mode().values if start is None else start
        agreement.append((found[labels == 2] == start).float().mean().item())
    assert min(agreement) > 0.95


def test_a_dead_cluster_is_started_anew_on_what_is_represented_worst():
    generator = torch.Generator().manual_seed(3)
    config = ClusterConfig(clusters=4, dead_frames=10)
    old = truth(5)
    gone = old.clone()
    gone[gone == 3] = 0  # Object 3 leaves; later a new one, never seen before, comes.
    come = gone.clone()
    come[0:4, 0:4] = 4
    frames = [frame(old, generator) for _ in range(20)]
    frames += [frame(gone, generator) for _ in range(5)] + [frame(come, generator) for _ in range(40)]
    labels, state = run(frames, config)
    assert state.empty_frames.max() == 0
    fresh = labels[-1][come == 4].mode().values
    assert fresh == labels[0][old == 3].mode().values, "the cluster that died is the one that was used again"
    assert (labels[-1][come == 4] == fresh).all()
    for label in (0, 1, 2):
        assert labels[-1][gone == label].mode().values == labels[0][old == label].mode().values


def test_a_cluster_that_is_empty_for_a_short_time_keeps_its_meaning():
    generator = torch.Generator().manual_seed(4)
    there, away = truth(5), truth(5)
    away[away == 3] = 0
    labels, _ = run(
        [frame(there, generator)] * 5 + [frame(away, generator)] * 30 + [frame(there, generator)] * 5,
        ClusterConfig(clusters=4, dead_frames=50),
    )
    assert torch.equal(labels[0][there == 3], labels[-1][there == 3])


def test_the_seed_decides_and_two_runs_are_equal_to_the_bit():
    tokens = torch.randn(H, W, D, generator=torch.Generator().manual_seed(5))
    runs = [run([tokens] * 3, ClusterConfig(clusters=6, seed=seed))[1].centroids for seed in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_a_start_covers_every_well_separated_object():
    for seed in range(20):
        labels, _ = run(
            [frame(truth(5), torch.Generator().manual_seed(6))],
            ClusterConfig(clusters=4, seed=seed, start_iterations=0),
        )
        assert len(labels[0].unique()) == 4, f"seed {seed}: k-means++ put two centres on one object"


def test_no_momentum_freezes_the_centroids():
    generator = torch.Generator().manual_seed(7)
    frames = [frame(truth(t), generator) for t in range(20)]
    first = run(frames[:1], ClusterConfig(clusters=4, momentum=0))[1]
    last = run(frames, ClusterConfig(clusters=4, momentum=0, dead_frames=1))[1]
    torch.testing.assert_close(last.centroids, first.centroids, atol=1e-6, rtol=0)


def test_more_clusters_than_tokens_and_constant_features_work():
    labels, state = run([torch.ones(2, 2, D)] * 3, ClusterConfig(clusters=9))
    assert state.centroids.shape == (9, D)
    assert state.centroids.isfinite().all()
    assert (labels[-1] == labels[-1][0, 0]).all()


def test_a_bad_frame_leaves_the_state():
    kmeans = OnlineKMeans(ClusterConfig(clusters=4))
    generator = torch.Generator().manual_seed(8)
    _, state = kmeans(frame(truth(0), generator))
    bad = frame(truth(1), generator)
    bad[0, 0, 0] = float("nan")
    similarity, after = kmeans(bad, state)
    assert torch.equal(after.centroids, state.centroids)
    assert similarity.isfinite().all()


def test_labels_follow_the_bilinear_similarity_at_any_size():
    similarity = torch.zeros(2, 2, 3)
    similarity[:, 0, 1] = 1.0  # Cluster 1 left, cluster 2 right: between them the boundary is in the middle.
    similarity[:, 1, 2] = 1.0
    labels = labels_at(similarity, 7, 10)
    assert labels.dtype == torch.uint8
    assert labels.shape == (7, 10)
    assert (labels[:, :5] == 1).all()
    assert (labels[:, 5:] == 2).all()
    random = torch.randn(5, 6, 2 * RESIZED_AT_ONCE + 3, generator=torch.Generator().manual_seed(9))
    image = torch.nn.functional.interpolate(random.permute(2, 0, 1)[None], (33, 41), mode="bilinear")[0]
    assert torch.equal(labels_at(random, 33, 41).long(), image.argmax(0))


def test_many_clusters_leave_room_for_unlabelled():
    assert labels_at(torch.randn(2, 2, 254), 4, 4).dtype == torch.uint8
    assert labels_at(torch.randn(2, 2, 255), 4, 4).dtype == torch.int32


def test_a_width_other_than_the_states_is_refused():
    kmeans = OnlineKMeans()
    _, state = kmeans(torch.randn(4, 4, D))
    with pytest.raises(ValueError, match="got width 8, expected the state's 24"):
        kmeans(torch.randn(4, 4, 8), state)


@pytest.mark.parametrize(
    "change", [{"clusters": 0}, {"clusters": 70_000}, {"momentum": -0.1}, {"dead_frames": 0}, {"dead_share": 1.0}]
)
def test_a_configuration_out_of_range_is_refused(change):
    with pytest.raises(ValueError, match="got"):
        ClusterConfig(**change)


def test_a_black_first_frame_is_recovered_from_at_once():
    generator = torch.Generator().manual_seed(10)
    frames = [torch.ones(H, W, D)] + [frame(truth(5), generator) for _ in range(30)]
    labels, _ = run(frames, ClusterConfig(clusters=4))
    found = [labels[-1][truth(5) == label].mode().values.item() for label in range(4)]
    assert sorted(found) == [0, 1, 2, 3]


def test_the_state_keeps_no_autograd_graph():
    _, state = OnlineKMeans()(torch.randn(4, 4, D).requires_grad_())
    assert not state.centroids.requires_grad
