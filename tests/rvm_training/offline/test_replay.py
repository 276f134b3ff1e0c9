"""A reference tells the same engine, one that is near, and one that is not."""

import dataclasses

import numpy as np
import pytest
from bags import raw, stamp, write

from rvm_model import load_checkpoint, save_checkpoint
from rvm_model.engines import TorchEngine
from rvm_model.messages.judge import Rules
from rvm_model.weights import WeightsInfo
from rvm_training.__main__ import main
from rvm_training.offline.pipeline import Settings
from rvm_training.offline.recordings import recordings
from rvm_training.offline.replay import KEPT, ReplayError, compare, load, run, save


def replayed(path, engine, like=None, **rules):
    (recording,) = recordings([str(path)])
    return run(recording, engine, Settings(rules=Rules(**rules)), like)


def changed_network(tiny_model, factor):
    """The same network, its weights a little larger: what a bad conversion might do."""
    network = load_checkpoint(tiny_model)
    for parameter in network.parameters():
        parameter.data *= factor
    return network


def changed(tiny_model, factor):
    network = changed_network(tiny_model, factor)
    return TorchEngine(network, WeightsInfo("changed", "sha256:" + "1" * 64, True), size=(32, 48), device="cpu")


def test_the_same_engine_gives_the_same_bits(engine, bag, tmp_path):
    path, reference = bag(), tmp_path / "ref.safetensors"
    save(replayed(path, engine), reference)
    verdict = compare(replayed(path, engine), load(reference))
    assert (verdict.passed, verdict.exact, verdict.why) == (True, True, "the same engine and machine")
    found = [(camera.camera, camera.frames, camera.worst) for camera in verdict.cameras]
    assert found == [("front", 12, 0), ("rear", 6, 0)]


def test_one_other_bit_is_seen_where_the_same_were_expected(engine, bag):
    path = bag()
    reference, made = replayed(path, engine), replayed(path, engine)
    made.cameras["front"].digests[7] = "0" * 64
    verdict = compare(made, reference)
    assert not verdict.passed
    assert verdict.cameras[0].problem == "other bits from frame 7 on, where the same were expected"


@pytest.mark.parametrize(("factor", "passes"), [(1 + 1e-6, True), (1.01, False)])
def test_another_engine_is_judged_by_its_precision(engine, tiny_model, bag, factor, passes):
    path = bag()
    verdict = compare(replayed(path, changed(tiny_model, factor)), replayed(path, engine))
    assert (verdict.passed, verdict.exact, verdict.tolerance) == (passes, False, 1e-4)
    assert verdict.why == "another engine than the reference's"
    assert all(camera.worst > 0 for camera in verdict.cameras)
    if not passes:
        assert "expected at most 1e-04" in verdict.cameras[0].problem
        far = replayed(path, changed(tiny_model, factor))
        assert compare(far, replayed(path, engine), tolerance=0.5).passed


@pytest.mark.parametrize("frame", [0, 2, 5])
def test_features_that_are_no_numbers_do_not_pass(engine, bag, frame):
    path = bag()
    reference, made = replayed(path, engine), replayed(path, engine)
    made.maker = dataclasses.replace(made.maker, runtime="another")
    made.cameras["rear"].kept[frame] = made.cameras["rear"].kept[frame] * np.nan
    verdict = compare(made, reference)
    assert (verdict.passed, verdict.cameras[1].worst_frame) == (False, frame)


def test_an_engine_of_another_size_and_other_rules_are_told(engine, tiny_model, bag):
    path = bag()
    larger = TorchEngine(
        load_checkpoint(tiny_model), WeightsInfo("tiny", engine.info.weights, True), size=(48, 48), device="cpu"
    )
    with pytest.raises(
        ReplayError, match=r"got features \(10, 24\), expected \(7, 24\); the engine is of another size"
    ):
        compare(replayed(path, larger), replayed(path, engine))
    with pytest.raises(ReplayError, match="got .*'max_gap_s': 0.05.*, expected .*'max_gap_s': 1.0"):
        compare(replayed(path, engine, max_gap_s=0.05), replayed(path, engine))


def test_a_reference_tells_which_frames_are_compared(engine, frames, tmp_path):
    images = [raw(frames[index % 12], "rgb8", stamp(index)) for index in range(40)]
    once = write(tmp_path / "once", {"/front/image_raw": images})
    twice = write(tmp_path / "twice", {"/front/image_raw": [image for image in images for _ in range(2)]})
    reference = replayed(once, engine)
    made = replayed(twice, engine, reference)
    assert made.cameras["front"].stamps_ns == reference.cameras["front"].stamps_ns, "what comes twice does not count"
    assert compare(made, reference).passed


def test_another_machine_expects_no_bits(engine, bag):
    path = bag()
    reference = replayed(path, engine)
    reference.maker = dataclasses.replace(reference.maker, machine="another")
    verdict = compare(replayed(path, engine), reference)
    assert (verdict.passed, verdict.exact, verdict.why) == (True, False, "another machine than the reference's")


def test_resets_that_differ_are_told(engine, bag):
    path = bag()
    made = replayed(path, engine)
    made.cameras["front"].resets.append(4)
    verdict = compare(made, replayed(path, engine), tolerance=10.0)
    assert verdict.cameras[0].problem == "the state was started anew before frames [4], expected []"


def test_another_recording_is_no_comparison(engine, bag):
    with pytest.raises(ReplayError, match="camera front: got 12 frames, expected 12 .* differ from frame 0 on"):
        compare(replayed(bag("other", first=3), engine), replayed(bag(), engine))
    with pytest.raises(ReplayError, match=r"got cameras \['front'\], expected \['front', 'rear'\]"):
        compare(replayed(bag("half", rear=False), engine), replayed(bag("whole"), engine))


def test_a_long_recording_keeps_some_frames_and_the_last(engine, video):
    made = replayed(video(frames=40), engine)
    kept = sorted(made.cameras["camera"].kept)
    assert len(kept) <= KEPT + 1
    assert kept[-1] == 39


def test_the_command_writes_and_compares(bag, tiny_model, tmp_path, capsys):
    path, reference = str(bag()), str(tmp_path / "ref.safetensors")
    words = ["replay-check", path, "--against", reference, "--model", tiny_model, "--size", "32x48"]
    assert main([*words, "--engine", "torch"]) == 1
    assert "no reference there; make one with --write" in capsys.readouterr().err
    assert main([*words, "--engine", "torch", "--write"]) == 0
    assert "front 12, rear 6 frames" in capsys.readouterr().out
    assert main([*words, "--engine", "torch", "--write"]) == 1
    assert "is there; remove it first" in capsys.readouterr().err
    assert main([*words, "--engine", "torch"]) == 0
    assert capsys.readouterr().out.splitlines()[-4:] == [
        "the same engine and machine: expected the same bits",
        "front: 12 frames, largest relative error 0.00e+00 at frame 0: as expected",
        "rear: 6 frames, largest relative error 0.00e+00 at frame 0: as expected",
        "passed",
    ]
    assert main([*words, "--engine", "openvino"]) == 0
    told = capsys.readouterr().out
    assert "another engine and another runtime than the reference's: expected relative errors of at most 1e-04" in told
    save_checkpoint(changed_network(tiny_model, 1.05), tmp_path / "bad.safetensors")
    words[words.index(tiny_model)] = str(tmp_path / "bad.safetensors")
    assert main([*words, "--engine", "torch"]) == 1
    assert capsys.readouterr().out.endswith("FAILED\n")


def test_what_is_no_reference_is_told(tmp_path):
    (tmp_path / "ref.safetensors").write_bytes(b"nothing")
    with pytest.raises(ReplayError, match="is no reference of `rvm replay-check --write`"):
        load(tmp_path / "ref.safetensors")
