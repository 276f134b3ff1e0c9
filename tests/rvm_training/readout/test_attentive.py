"""The attentive readout's arithmetic, against the layers written out; and what it refuses."""

import math

import numpy as np
import pytest
import torch

from rvm_training.readout.attentive import AttentiveConfig, AttentiveReadout, fourier

CONFIG = AttentiveConfig(dim=6, outputs=5, frames=4, width=8, heads=2, queries=3)


@pytest.fixture
def readout():
    torch.manual_seed(0)
    return AttentiveReadout(CONFIG)


def test_outputs_are_those_of_the_authors_readout(root):
    with np.load(root / "tests" / "golden" / "attention_readout.npz") as file:
        theirs = {name: torch.from_numpy(file[name]) for name in file.files}

    def linear(name):
        bias = theirs[f"{name}.bias"].flatten()
        return {"weight": theirs[f"{name}.kernel"].reshape(-1, len(bias)).T, "bias": bias}

    def norm(name):
        return {"weight": theirs[f"{name}.scale"], "bias": theirs[f"{name}.bias"]}

    layers = {
        "norm": norm("LayerNorm_0"), "key": linear("key_embedding"), "value": linear("value_embedding"),
        "attended": linear("Dense_0"), "mlp_norm": norm("LayerNorm_1"), "mlp.0": linear("MLP_0.Dense_0"),
        "mlp.2": linear("MLP_0.Dense_1"), "out": linear("Dense_1"),
    }  # fmt: skip
    weights = {f"{layer}.{name}": tensor for layer, both in layers.items() for name, tensor in both.items()}
    weights["query"] = theirs["query"].flatten(1)
    weights["time_code"] = theirs["temporal_posenc.embeddings"].reshape(3, 1, 12)
    readout = AttentiveReadout(AttentiveConfig(dim=12, outputs=7, frames=3, width=16, heads=4, queries=4))
    readout.load_state_dict(weights)
    torch.testing.assert_close(readout(theirs["x"]), theirs["out"], rtol=0, atol=2e-6)


def test_queries_attend_to_all_frames_and_patches_once(readout):
    features = torch.randn(2, 4, 7, 6)
    clip = 1
    x = torch.nn.functional.layer_norm(features[clip], (6,), readout.norm.weight, readout.norm.bias, 1e-6)
    x = (x + readout.time_code).reshape(28, 6)
    keys, values = readout.key(x), readout.value(x)
    attended = torch.empty(3, 8)
    for head in (slice(0, 4), slice(4, 8)):
        weights = torch.softmax(readout.query[:, head] @ keys[:, head].T / math.sqrt(4), -1)
        attended[:, head] = weights @ values[:, head]
    token = readout.query + readout.attended(attended)
    token = token + readout.mlp(readout.mlp_norm(token))
    torch.testing.assert_close(readout(features)[clip], readout.out(token))


def test_time_matters_and_the_order_of_patches_does_not(readout):
    features = torch.randn(1, 4, 7, 6)
    torch.nn.init.normal_(readout.time_code)
    outputs = readout(features)
    torch.testing.assert_close(readout(features[:, :, torch.randperm(7)]), outputs)
    assert not torch.allclose(readout(features.flip(1)), outputs, atol=1e-4)


def test_queries_may_come_with_the_clip():
    readout = AttentiveReadout(AttentiveConfig(dim=6, outputs=5, frames=4, width=8, heads=2, queries=0, query_dim=3))
    features, queries = torch.randn(2, 4, 7, 6), torch.randn(2, 9, 3)
    outputs = readout(features, queries)
    assert outputs.shape == (2, 9, 5)
    # Queries do not see each other.
    torch.testing.assert_close(readout(features, queries[:, 4:5]), outputs[:, 4:5])
    with pytest.raises(ValueError, match=r"queries: got None, expected \[2, Q, 3\]"):
        readout(features)


def test_what_does_not_fit_is_refused(readout):
    with pytest.raises(ValueError, match=r"got \(1, 5, 7, 6\), expected \[B, up to 4, N, 6\]"):
        readout(torch.zeros(1, 5, 7, 6))
    with pytest.raises(ValueError, match="expected None: this readout has learned ones"):
        readout(torch.zeros(1, 4, 7, 6), torch.zeros(1, 1, 3))
    with pytest.raises(ValueError, match="expected a multiple of the 3 heads"):
        AttentiveConfig(dim=6, outputs=1, width=8, heads=3)
    with pytest.raises(ValueError, match="expected one of the two"):
        AttentiveConfig(dim=6, outputs=1, queries=1, query_dim=2)


def test_fourier_features_double_their_frequency():
    coded = fourier(torch.tensor([[0.25]]), bands=3)
    angles = [math.pi / 4, math.pi / 2, math.pi]
    expected = [0.25, *(math.sin(each) for each in angles), *(math.cos(each) for each in angles)]
    torch.testing.assert_close(coded, torch.tensor([expected]))
