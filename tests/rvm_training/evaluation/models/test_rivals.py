"""Other encoders, with tiny random weights: their own features, in their own places, at any size."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from rvm_training.evaluation.models import Choice, load_model
from rvm_training.evaluation.models.rivals import TimmImages

transformers = pytest.importorskip("transformers")

SMALL = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "patch_size": 8,
    "image_size": 32,
}  # fmt: skip
CONFIGS = {
    "dinov2": ("Dinov2Config", {**SMALL, "patch_size": 14, "image_size": 56}),
    "dinov2_with_registers": ("Dinov2WithRegistersConfig", {**SMALL, "num_register_tokens": 3}),
    "dinov3_vit": ("DINOv3ViTConfig", {**SMALL, "num_register_tokens": 2}),
    "vit": ("ViTConfig", SMALL),
    "vit_mae": ("ViTMAEConfig", SMALL),
    "videomae": ("VideoMAEConfig", {**SMALL, "num_frames": 4, "use_mean_pooling": False}),
    "vjepa2": (
        "VJEPA2Config",
        {
            "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "crop_size": 32, "patch_size": 8,
            "frames_per_clip": 4, "pred_hidden_size": 12, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1,
        },
    ),
}  # fmt: skip
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]
CLIPS = ("videomae", "vjepa2")


@pytest.fixture(scope="module", params=CONFIGS)
def rival(request, tmp_path_factory):
    """Kind, folder with weights, the network itself, and a size that it was not trained on."""
    name, values = CONFIGS[request.param]
    torch.manual_seed(0)
    network = transformers.AutoModel.from_config(getattr(transformers, name)(**values)).eval()
    folder = tmp_path_factory.mktemp("rivals") / request.param
    network.save_pretrained(folder)
    settings = {"image_mean": MEAN, "image_std": STD}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    patch = values["patch_size"]
    return SimpleNamespace(kind=request.param, folder=folder, network=network, size=(3 * patch, 5 * patch), patch=patch)


def noise(frames, size):
    return np.random.default_rng(0).integers(0, 256, (frames, *size, 3), np.uint8)


def load(rival, size):
    return load_model(Choice(str(rival.folder), device="cpu"), size)


def test_a_patch_that_changes_shows_in_its_own_place_and_time(rival):
    model = load(rival, rival.size)
    frames = noise(8, rival.size)
    changed = frames.copy()
    row, column, time = 1, 3, 5
    patch = np.s_[row * rival.patch : (row + 1) * rival.patch, column * rival.patch : (column + 1) * rival.patch]
    changed[time][patch] = 255 - changed[time][patch]
    moved = (model.features(changed) - model.features(frames)).norm(dim=-1)
    assert moved.shape == (8, 3, 5)
    place = np.unravel_index(int(moved.flatten(1).sum(0).argmax()), (3, 5))
    assert place == (row, column)
    if rival.kind in CLIPS:
        assert moved.flatten(1).sum(1).argmax() in (4, 5)  # A map is of two frames.
    else:
        assert moved[:time].max() == moved[time + 1 :].max() == 0


def test_at_the_size_of_its_training_features_are_the_networks_own(rival):
    side = 4 * rival.patch
    frames = noise(4, (side, side))
    pixels = ((torch.from_numpy(frames) / 255 - torch.tensor(MEAN)) / torch.tensor(STD)).movedim(-1, 1)
    with torch.no_grad():
        if rival.kind == "vit_mae":
            rival.network.config.mask_ratio = 0.0
            expected = rival.network(pixels, noise=torch.arange(16.0).expand(4, -1)).last_hidden_state
        elif rival.kind in CLIPS:
            # VideoMAE was made for windows of 4 frames; V-JEPA 2 gets 16, the rest of them grey.
            window = pixels if rival.kind == "videomae" else torch.cat([pixels, torch.zeros(12, *pixels.shape[1:])])
            words = {"skip_predictor": True} if rival.kind == "vjepa2" else {}
            expected = rival.network(window[None], **words).last_hidden_state
        else:
            expected = rival.network(pixels).last_hidden_state
    features = load(rival, (side, side)).features(frames)
    assert features.shape == (4, 4, 4, 24)
    if rival.kind in CLIPS:
        maps = expected[0].unflatten(0, (-1, 4, 4))
        # Between two maps lie two frames, at a quarter and three quarters of the way.
        torch.testing.assert_close(features[0], maps[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(features[1], 0.75 * maps[0] + 0.25 * maps[1], rtol=0, atol=1e-5)
    else:
        torch.testing.assert_close(features.flatten(1, 2), expected[:, -16:], rtol=0, atol=1e-5)


def test_what_is_left_of_a_patch_is_not_seen(rival):
    height, width = rival.size
    frames = noise(4, (height + 3, width + 5))
    model = load(rival, (height + 3, width + 5))
    expected = load(rival, rival.size).features(frames[:, :height, :width])
    torch.testing.assert_close(model.features(frames), expected)


def test_the_result_says_what_it_is(rival):
    info = load(rival, rival.size).info
    assert info.name == rival.kind
    assert info.kind == ("clips" if rival.kind in CLIPS else "frame by frame")
    assert info.weights.startswith("sha256:")
    assert (info.patch_size, info.trained, info.runs_on) == (rival.patch, True, "transformers on cpu")


def test_a_model_of_another_kind_is_refused(tmp_path):
    transformers.BertConfig(hidden_size=12, num_attention_heads=2).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is of type 'bert', expected one of dinov2"):
        load_model(Choice(str(tmp_path), device="cpu"), (32, 32))


def test_weights_whose_normalisation_nothing_tells_are_refused(tmp_path):
    transformers.ViTModel(transformers.ViTConfig(**SMALL)).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{}")
    with pytest.raises(ValueError, match="has none of preprocessor_config.json, .* with image_mean and image_std"):
        load_model(Choice(str(tmp_path), device="cpu"), (32, 32))


def test_tokens_before_the_patches_are_left_out():
    class Timm(nn.Module):
        """Tokens as timm gives them: two of the image, then its patches."""

        def forward_features(self, pixels):
            patches = torch.nn.functional.avg_pool2d(pixels, 8).flatten(2).mT
            return torch.cat([torch.full_like(patches[:, :2], 9.0), patches], 1)

    info = load_model(Choice("pixels:8", device="cpu"), (16, 24)).info
    model = TimmImages(Timm(), info, (16, 24), mean=[0, 0, 0], std=[1, 1, 1], device=torch.device("cpu"))
    frames = noise(2, (16, 24))
    expected = torch.from_numpy(frames[1, 8:, 8:16] / 255.0).float().mean((0, 1))
    torch.testing.assert_close(model.features(frames)[1, 1, 1], expected)
