"""`rvm weights`, as a user types it."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch

from rvm_model import RVM, DecoderConfig, RVMConfig, load_checkpoint, save_checkpoint
from rvm_model.checkpoint import flax_arrays
from rvm_model.weights import BUNDLED, RELEASED, file_sha256
from rvm_training.__main__ import main

CONFIG = RVMConfig(
    dim=24,
    encoder_depth=1,
    encoder_heads=3,
    encoder_mlp_dim=40,
    core_depth=1,
    core_heads=4,
    core_mlp_dim=56,
    decoder=DecoderConfig(depth=1, dim=16, heads=2, mlp_dim=24),
)


@pytest.fixture
def model() -> RVM:
    torch.manual_seed(0)
    return RVM(CONFIG)


@pytest.fixture
def released(model, tmp_path):
    path = tmp_path / "released.npz"
    np.savez(path, **flax_arrays(model))
    return path


def test_convert_to_safetensors_and_back_gives_the_same_arrays(released, tmp_path, capsys):
    assert main(["weights", "convert", str(released), str(tmp_path / "m.safetensors")]) == 0
    assert main(["weights", "convert", str(tmp_path / "m.safetensors"), str(tmp_path / "back.npz")]) == 0
    with np.load(released) as before, np.load(tmp_path / "back.npz") as after:
        assert sorted(before.files) == sorted(after.files)
        for name in before.files:
            np.testing.assert_array_equal(after[name], before[name])
    assert file_sha256(tmp_path / "back.npz") in capsys.readouterr().out


def test_convert_for_a_robot_drops_the_decoder_and_halves_the_type(released, tmp_path, model):
    out = tmp_path / "robot.safetensors"
    assert main(["weights", "convert", str(released), str(out), "--no-decoder", "--dtype", "float16"]) == 0
    loaded = load_checkpoint(out)
    assert loaded.decoder is None
    assert torch.equal(loaded.cls_token, model.cls_token.half().float())
    assert out.stat().st_size < 0.4 * released.stat().st_size


def test_convert_keeps_the_given_base_grid(released, tmp_path):
    out = tmp_path / "m.safetensors"
    assert main(["weights", "convert", str(released), str(out), "--base-grid", "6", "8"]) == 0
    assert load_checkpoint(out).config.base_grid == (6, 8)


def test_convert_refuses_half_precision_for_the_released_format(released, tmp_path, capsys):
    assert main(["weights", "convert", str(released), str(tmp_path / "x.npz"), "--dtype", "float16"]) == 1
    assert "--dtype: got float16 for .npz, expected float32" in capsys.readouterr().err


def test_a_code_of_axes_is_not_written_where_it_would_be_lost(tmp_path, capsys):
    sizes = replace(CONFIG, position="axes")
    save_checkpoint(RVM(sizes), tmp_path / "axes.safetensors")
    assert main(["weights", "convert", str(tmp_path / "axes.safetensors"), str(tmp_path / "x.npz")]) == 1
    assert "position code is one of axes, which a .npz does not hold" in capsys.readouterr().err


def test_a_decoder_that_saw_the_last_frame_alone_is_not_written_where_that_would_be_lost(tmp_path, capsys):
    source, out = tmp_path / "last.safetensors", tmp_path / "x.npz"
    save_checkpoint(RVM(replace(CONFIG, decoder=replace(CONFIG.decoder, sees="last"))), source)
    assert main(["weights", "convert", str(source), str(out)]) == 1
    assert "its decoder sees the last source frame alone, which a .npz does not hold" in capsys.readouterr().err
    assert main(["weights", "convert", str(source), str(out), "--no-decoder"]) == 0


def test_show_prints_sizes_parameters_and_hash(released, capsys, model):
    assert main(["weights", "show", str(released)]) == 0
    text = capsys.readouterr().out
    assert file_sha256(released) in text
    assert "encoder_heads     3" in text
    assert f"{sum(p.numel() for p in model.core.parameters()):,}" in text
    assert f"{sum(p.numel() for p in model.parameters()):,}" in text


def test_show_knows_a_released_size(tmp_path, capsys):
    from dataclasses import replace

    from rvm_model import PRESETS

    model = RVM(replace(PRESETS["rvm_small16_256"], decoder=None))
    save_checkpoint(model, tmp_path / "s.safetensors", dtype=torch.float16)
    assert main(["weights", "show", str(tmp_path / "s.safetensors")]) == 0
    assert "preset      rvm_small16_256" in capsys.readouterr().out


def test_download_fetches_into_the_cache_and_list_shows_it(released, tmp_path, monkeypatch, capsys):
    served = tmp_path / "served"
    served.mkdir()
    released.rename(served / RELEASED["rvm_small16_256"])
    monkeypatch.setenv("RVM_CACHE", str(tmp_path / "cache"))
    handler = partial(QuietHandler, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}"
            assert main(["weights", "download", "small", "--url", url]) == 0
            assert main(["weights", "download", "base", "--url", url]) == 1
        finally:
            server.shutdown()
            thread.join()
    path = tmp_path / "cache" / RELEASED["rvm_small16_256"]
    captured = capsys.readouterr()
    assert f"{path.stat().st_size} bytes, sha256 {file_sha256(path)}" in captured.out
    assert "the server answered 404" in captured.err
    assert main(["weights", "list"]) == 0
    listed = capsys.readouterr().out
    assert str(path) in listed
    assert str(BUNDLED["rvm_nano"]) in listed
    assert "rvm weights download base" in listed


def test_a_bad_download_is_moved_aside_so_that_the_command_can_be_run_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RVM_CACHE", str(tmp_path))
    path = tmp_path / RELEASED["rvm_small16_256"]
    path.write_text("<html>please log in</html>")
    assert main(["weights", "download", "small", "--url", "http://127.0.0.1:9"]) == 1
    assert "was moved to" in capsys.readouterr().err
    assert not path.exists()


def test_show_knows_the_bundled_model(capsys):
    assert main(["weights", "show", "rvm_nano"]) == 0
    shown = capsys.readouterr().out
    assert "preset      rvm_nano" in shown
    assert "run_grid          (30, 40)" in shown


def test_show_takes_the_name_of_a_downloaded_model(released, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RVM_CACHE", str(tmp_path))
    released.rename(tmp_path / RELEASED["rvm_base16_256"])
    assert main(["weights", "show", "rvm_base16_256"]) == 0
    assert "encoder_heads     3" in capsys.readouterr().out
    assert main(["weights", "show", "rvm_small16_256"]) == 1
    assert "rvm weights download small" in capsys.readouterr().err


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args) -> None:
        pass
