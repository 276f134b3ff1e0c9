"""The node's benchmark, measured with a tiny network; and what it makes of its command line."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("rclpy")

from rvm_model import preset
from rvm_ros.bench.__main__ import _cases, _parser
from rvm_ros.bench.network import SHALLOW
from rvm_ros.bench.node import clock_ticks
from rvm_ros.latency import STAGES


@pytest.mark.ros
@pytest.mark.slow
def test_every_phase_measures_what_it_says(tiny_checkpoint, tmp_path):
    network = ["--model", tiny_checkpoint, "--engine", "torch", "--size", "32", "48"]
    measuring = ["--rate", "30", "--seconds", "1", "--rounds", "1", "--outputs", "features", "none", "--out", tmp_path]
    command = [sys.executable, "-m", "rvm_ros.bench", *map(str, network + measuring)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr
    content = json.loads((tmp_path / "node_benchmarks.json").read_text())
    (result,) = content["results"]
    (measured,) = result["rounds"]
    assert result["feature_map"] == [2, 3, 24]
    for output, phase in measured["node"].items():
        assert phase["sent"] == 30, output
        # The first second of frames is counted by the node, too; how many are lost depends on who else is running.
        assert 0 < phase["counts"]["processed"] <= phase["counts"]["received"] <= 60
        assert phase["cpu_ms"] > 0
        stages = phase["stages_p50_ms"]
        assert max(stages[stage] for stage in STAGES) <= stages["latency"]
    assert measured["node"]["none"]["latency"] is None
    latency, relay = measured["node"]["features"]["latency"], measured["relay"]
    for durations in (latency, relay):
        assert 0 < durations["count"] <= 30
        assert 0 < durations["p50"] <= durations["p95"] <= durations["p99"] <= durations["max"] < 10_000
    assert measured["node"]["features"]["stages_p50_ms"]["engine"] < latency["p50"]
    assert measured["paced"]["step"]["count"] == measured["back_to_back"]["step"]["count"] == 30
    assert "ROS and the rest" in ended.stdout
    assert "ROS and the rest" in (tmp_path / "node_benchmarks.md").read_text()


def test_by_itself_it_measures_a_shallow_network_at_30_hz_and_one_of_the_small_models_size_at_5(monkeypatch, tmp_path):
    monkeypatch.setenv("RVM_CACHE", str(tmp_path))
    shallow, small = _cases(_parser().parse_args([]))
    assert (shallow.rate_hz, small.rate_hz, small.model) == (30.0, 5.0, "untrained:rvm_small16_256")
    assert shallow.model.is_file()
    content = shallow.model.read_bytes()
    (again,) = _cases(_parser().parse_args(["--rate", "10"]))
    assert again.rate_hz == 10.0
    assert again.model.read_bytes() == content  # Or the engine of the cache would not be found again.


def test_a_model_that_is_given_is_measured_alone():
    (case,) = _cases(_parser().parse_args(["--model", "/weights/a.npz", "--size", "64", "96", "--rate", "15"]))
    assert case.parameters == {"model": "/weights/a.npz", "engine": "", "image_size": [64, 96]}
    assert (case.name, case.rate_hz) == ("a.npz at 15 Hz", 15.0)


def test_the_shallow_networks_features_are_as_large_as_the_small_models():
    small = preset("rvm_small16_256")
    assert SHALLOW.dim == small.dim
    assert SHALLOW.grid(256, 256) == small.grid(256, 256)


def test_processor_time_is_found_behind_a_name_with_parentheses():
    stat = "77 (a) (b c) S 1 77 77 0 -1 4194304 100 0 3 0 250 31 7 8 20 0 9 0 12345 1000 200"
    assert clock_ticks(stat) == 281
