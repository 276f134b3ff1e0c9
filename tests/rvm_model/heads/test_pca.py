"""PCA pictures that hold still."""

import itertools

import pytest
import torch

from rvm_model.heads.pca import PCAConfig, PCAState, StreamingPCA

H, W, D = 12, 16, 32


def scene(seed: int = 0, rank: int = 6) -> torch.Tensor:
    """A feature map whose variance lies in a few directions, falling from one to the next."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(D, D, generator=generator)).Q[:, :rank]
    strength = 4.0 * 0.6 ** torch.arange(rank)
    return (torch.randn(H * W, rank, generator=generator) * strength @ basis.T).reshape(H, W, D)


def noisy(tokens: torch.Tensor, generator: torch.Generator, share: float = 0.05) -> torch.Tensor:
    return tokens + share * torch.randn(tokens.shape, generator=generator)


def run(frames: list[torch.Tensor], config: PCAConfig | None = None) -> tuple[list[torch.Tensor], PCAState]:
    pca, state, pictures = StreamingPCA(config), None, []
    for frame in frames:
        rgb, state = pca(frame, state)
        pictures.append(rgb)
    return pictures, state


def correlation(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Per-channel correlation of two pictures."""
    a, b = (x.float().flatten(0, 1) - x.float().mean((0, 1)) for x in (a, b))
    return (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0))


def test_a_static_noisy_scene_does_not_flicker():
    generator = torch.Generator().manual_seed(1)
    pictures, _ = run([noisy(scene(), generator) for _ in range(60)])
    changes = [(a.float() - b.float()).abs().mean() for a, b in itertools.pairwise(pictures)]
    # Noise of 0.05 against a spread of 1.4 and more: about two grey levels of 255 is the noise itself.
    assert max(changes) < 4
    assert correlation(pictures[1], pictures[-1]).min() > 0.99


def test_colours_never_flip_while_the_features_turn_slowly():
    # A rotation by 0.4 degrees a frame in two planes that hold the main directions: a whole turn in 900 frames.
    tokens = scene().flatten(0, 1)
    angle = torch.deg2rad(torch.tensor(0.4))
    turn = torch.eye(D)
    basis = torch.linalg.eigh(tokens.T @ tokens).eigenvectors.flip(1)
    for i, j in ((0, 3), (1, 20)):
        turn[i, i] = turn[j, j] = angle.cos()
        turn[i, j], turn[j, i] = -angle.sin(), angle.sin()
    turn = basis @ turn @ basis.T
    frames = []
    for _ in range(400):
        frames.append(tokens.reshape(H, W, D))
        tokens = tokens @ turn.T
    pictures, _ = run(frames)
    worst = min(correlation(a, b).min() for a, b in itertools.pairwise(pictures))
    assert worst > 0.98


def test_a_shift_common_to_all_tokens_changes_no_colour():
    pictures, _ = run([scene(), scene() + 5 * torch.ones(D)])
    assert (pictures[0].int() - pictures[1].int()).abs().max() <= 1


def test_directions_converge_to_the_exact_principal_components():
    generator = torch.Generator().manual_seed(2)
    _, state = run([noisy(scene(seed=3), generator) for _ in range(100)])
    tokens = scene(seed=3).flatten(0, 1)
    centred = tokens - tokens.mean(0)
    exact = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -3:]
    # Cosines of the angles between the two subspaces.
    assert torch.linalg.svdvals(exact.T @ state.axes).min() > 0.995


def test_a_new_scene_is_taken_up():
    generator = torch.Generator().manual_seed(4)
    frames = [noisy(scene(0), generator) for _ in range(30)] + [noisy(scene(5), generator) for _ in range(200)]
    _, state = run(frames)
    tokens = scene(5).flatten(0, 1)
    centred = tokens - tokens.mean(0)
    exact = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -3:]
    assert torch.linalg.svdvals(exact.T @ state.axes).min() > 0.99


def test_the_picture_uses_the_range_and_the_spread_sets_it():
    tokens = torch.zeros(1, 4, 3)
    tokens[0, :, 0] = torch.tensor([-1.0, 1.0, -1.0, 1.0])  # Standard deviation 1 along one axis, 0 along others.
    rgb, _ = StreamingPCA(PCAConfig(range_sigmas=2.0))(tokens)
    # +-1 sigma of +-2 sigmas is a quarter and three quarters of the range; without spread a channel is mid-grey.
    assert sorted(rgb[0, :, 0].tolist()) == [64, 64, 191, 191]
    assert (rgb[..., 1:] == 128).all()


def test_two_runs_are_equal_to_the_bit():
    generator = torch.Generator().manual_seed(6)
    frames = [noisy(scene(), generator) for _ in range(10)]
    a, _ = run(frames)
    b, _ = run(frames)
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_no_momentum_freezes_the_axes():
    _, first = run([scene(0)], PCAConfig(momentum=0))
    _, last = run([scene(0), scene(1), scene(2)], PCAConfig(momentum=0))
    torch.testing.assert_close(last.axes, first.axes, atol=1e-5, rtol=0)
    torch.testing.assert_close(last.spread, first.spread)


def test_a_bad_token_leaves_the_state_and_is_drawn_grey():
    pca = StreamingPCA()
    _, state = pca(scene())
    bad = scene()
    bad[3, 4] = float("nan")
    bad[5, 6, 0] = float("inf")
    rgb, after = pca(bad, state)
    assert torch.equal(after.axes, state.axes)
    assert (rgb[3, 4].int() - 128).abs().max() <= 1
    assert correlation(rgb, pca(scene(), state)[0]).min() > 0.99


def test_constant_features_give_a_grey_picture_and_recover():
    pictures, _ = run([torch.ones(H, W, D)] * 3 + [scene()] * 100)
    assert (pictures[0] == 128).all()
    assert pictures[-1].float().std() > 30


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features_are_drawn_alike(dtype):
    exact, half = StreamingPCA()(scene())[0], StreamingPCA()(scene().to(dtype))[0]
    assert correlation(exact, half).min() > 0.999


def test_the_grid_may_change_and_the_width_may_not():
    pca = StreamingPCA()
    _, state = pca(scene())
    assert pca(scene()[:5, :7], state)[0].shape == (5, 7, 3)
    with pytest.raises(ValueError, match="got width 8, expected the state's 32"):
        pca(torch.zeros(4, 4, 8), state)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 2), (0, 4, 8)])
def test_what_is_no_feature_map_is_refused(shape):
    with pytest.raises(ValueError, match="tokens: got"):
        StreamingPCA()(torch.zeros(shape))


@pytest.mark.parametrize("change", [{"momentum": 1.5}, {"components": 2}, {"range_sigmas": 0}])
def test_a_configuration_out_of_range_is_refused(change):
    with pytest.raises(ValueError, match="got"):
        PCAConfig(**change)


def test_a_covered_lens_does_not_turn_the_colours():
    generator = torch.Generator().manual_seed(7)
    before = [noisy(scene(), generator) for _ in range(30)]
    covered = [torch.ones(H, W, D) for _ in range(60)]
    pictures, _ = run([*before, *covered, noisy(scene(), generator)])
    assert correlation(pictures[29], pictures[-1]).min() > 0.99


def test_a_channel_without_spread_does_not_show_rounding_errors():
    flat = scene(rank=2)
    pictures, _ = run([flat + 1e-5 * torch.randn(H, W, D, generator=torch.Generator().manual_seed(8))] * 3)
    assert (pictures[-1][..., 2].int() - 128).abs().max() <= 8


def test_huge_values_are_treated_as_bad_instead_of_failing():
    pca = StreamingPCA()
    _, state = pca(scene())
    rgb, after = pca(scene() * 1e25, state)
    assert torch.equal(after.axes, state.axes)
    assert (rgb.int() - 128).abs().max() <= 1


def test_the_state_keeps_no_autograd_graph():
    _, state = StreamingPCA()(scene().requires_grad_())
    assert not state.axes.requires_grad
