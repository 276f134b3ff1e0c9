"""The authors' network is built from the definitions of their notebook, and from nothing else in it.

The notebook here is a stand-in with the same names: theirs is not part of this project.
"""

import json

import pytest
import torch

from rvm_model import RVMConfig
from rvm_training.benchmark.authors import authors_step

DEFINITIONS = """
SIZES = {'S': 1}

def shifted(x):
  return x + SIZES['S']

class Anything(nn.Module):
  def __init__(self, *args, **kwargs):
    super().__init__()
    self.got = kwargs

class PatchEmbedding(Anything): pass
class Tokenizer(Anything): pass
class Transformer(Anything): pass
class CrossAttentionTransformer(Anything): pass
class RandomStateInit(Anything): pass
class GatedTransformerCore(Anything): pass

class VideoSiamMAE(nn.Module):
  def __init__(self, tokenizer, encoder, rnn_core, latent_emb_dim):
    super().__init__()
    self.numbers = [encoder.got['num_layers'], rnn_core.got['transformer'].got['mlp_dim'], latent_emb_dim]

  def forward(self, frame, state):
    return shifted(frame.mean() * sum(self.numbers) + state), None

model = VideoSiamMAE(1, 2, 3, 4).cuda()
raise RuntimeError('what follows the definitions is not run')
"""
CONFIG = RVMConfig(
    dim=24, encoder_depth=2, encoder_heads=3, encoder_mlp_dim=40, core_heads=4, core_mlp_dim=56, decoder=None
)


def notebook(tmp_path, *cells):
    path = tmp_path / "notebook.ipynb"
    path.write_text(json.dumps({"cells": [{"source": [cell]} for cell in ("import jax", *cells)]}))
    return path


def test_definitions_are_run_with_the_configs_sizes_and_pixels_in_unit_range(tmp_path):
    pytest.importorskip("einops")
    step = authors_step(notebook(tmp_path, DEFINITIONS), CONFIG, torch.device("cpu"))
    frames, state = torch.full((1, 2, 2, 3), 255, dtype=torch.uint8), torch.zeros(1, 5, 24)
    assert torch.equal(step(frames, state), torch.full((1, 5, 24), 2.0 + 56 + 24 + 1))


def test_a_file_that_is_not_the_notebook_is_told(tmp_path):
    with pytest.raises(ValueError, match="no cell has 'class GatedTransformerCore'"):
        authors_step(notebook(tmp_path), CONFIG, torch.device("cpu"))
    (tmp_path / "text").write_text("no json")
    with pytest.raises(ValueError, match="is no notebook"):
        authors_step(tmp_path / "text", CONFIG, torch.device("cpu"))


def test_einops_which_the_notebook_needs_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "einops", None)
    with pytest.raises(ValueError, match="needs einops; pip install einops"):
        authors_step(notebook(tmp_path, DEFINITIONS), CONFIG, torch.device("cpu"))
