"""What the page says follows from the figures."""

import dataclasses

import pytest

from rvm_model.config import RVMConfig
from rvm_training.benchmark.engines import AUTHORS, EAGER, StepTiming
from rvm_training.benchmark.report import Network, Report, markdown
from rvm_training.benchmark.roofline import Machine, step_bytes, step_flops
from rvm_training.benchmark.shares import STEP
from rvm_training.benchmark.start_up import PARTS, StartUp
from rvm_training.benchmark.stream import Steadiness
from rvm_training.benchmark.timing import Timing

CONFIG = RVMConfig(dim=24, encoder_depth=1, encoder_heads=3, encoder_mlp_dim=8, core_heads=4, core_mlp_dim=8)


def lasting(*ms: float) -> Timing:
    return Timing.of([each / 1e3 for each in ms])


@pytest.fixture
def report() -> Report:
    def row(name, *ms, error=None, load_s=None):
        return StepTiming("net", name, 32, 48, 1, lasting(*ms), error, load_s)

    start = dict(zip(PARTS, map(lasting, (1200, 600, 1800)), strict=True))
    return Report(
        command="rvm bench",
        device="cpu",
        rounds=3,
        steps=[row(AUTHORS, 10, 20, 30), row(EAGER, 8, 8, 8), row("onnx fp32", 5, 5, 15, error=1.5e-7, load_s=0.4)],
        starts={"the default": StartUp("openvino fp32", start)},
        starts_size=(32, 48),
        shares={"torch": {STEP: lasting(50), "resize": lasting(2), "all": lasting(5)}},
        shares_size=(32, 48),
        camera=(720, 1280),
        stream=Steadiness(lasting(10, 10, 10), lasting(11, 10, 9), (10.0,) * 40, -0.25),
        stream_engine="onnx fp32 at 32x48",
        window={1: lasting(30), 4: lasting(200), 16: lasting(1600)},
        window_size=(32, 48),
        machine=Machine(1e9, 1e12),
        networks={"net": Network(CONFIG, "sha256:0123456789abcdef", True)},
        network_step=lasting(40),
    )


def test_ratios_are_medians_of_rounds(report):
    (row,) = (line for line in markdown(report).splitlines() if line.startswith("| onnx fp32"))
    # 10/5, 20/5, 30/15 and 8/5, 8/5, 8/15
    assert "| 5.0 | 5.0 to 13.0 | 2.00 (2.00 to 3.60) | 1.60 (0.75 to 1.60) | 1.5e-07 | 0.4 s |" in row


def test_without_the_authors_network_there_is_one_ratio(report):
    text = markdown(dataclasses.replace(report, steps=report.steps[1:]))
    assert "authors" not in text
    lines = text.splitlines()
    (start,) = (at for at, line in enumerate(lines) if "as fast as plain torch" in line)
    heading, rule, eager, onnx, roofline = lines[start : start + 5]
    assert onnx == "| onnx fp32 | 5.0 | 5.0 to 13.0 | 1.60 (0.75 to 1.60) | 1.5e-07 | 0.4 s |"
    assert {line.count("|") for line in (heading, rule, eager, onnx, roofline)} == {7}


def test_the_roofline_is_the_slower_of_arithmetic_and_memory(report):
    flops, moved = step_flops(CONFIG, (32, 48), 1), step_bytes(CONFIG, (32, 48), 1)
    for machine, ms in ((Machine(flops * 10, 1e15), 100.0), (Machine(1e18, moved * 5), 200.0)):
        text = markdown(dataclasses.replace(report, machine=machine))
        (row,) = (line for line in text.splitlines() if "roofline of float32, by" in line)
        assert f"| {ms:.1f} | | {20 / ms:.2f} | {8 / ms:.2f} |" in row


def test_shares_are_of_the_step(report):
    text = markdown(report)
    assert "| resize | 2.0 ms (4 %) |" in text
    assert "| all | 5.0 ms (10 %) |" in text
    assert "One camera of 720x1280, engine of 32x48" in text


def test_the_stream_is_told_by_its_pairs_and_memory_by_its_sign(report):
    text = markdown(report)
    assert "a camera's step after 40 frames takes 1.000 times as long" in text
    assert "eight of ten pairs are within 0.92 to 1.08" in text
    assert "the memory of the process changed by -0.2 MB" in text
    unknown = dataclasses.replace(report, stream=dataclasses.replace(report.stream, grown_mb=None))
    assert "the memory of the process was not measured" in markdown(unknown)


def test_each_chunk_is_on_the_side_that_its_cost_a_frame_puts_it(report):
    text = markdown(report)
    assert "| 4 | 200.0 ms | 50.0 ms | 200.0 ms |" in text
    assert "Chunks of 1 cost less a frame than that. Chunks of 4, 16 cost more." in text
    cheap = dataclasses.replace(report, network_step=lasting(1000))
    assert "Chunks of 1, 4, 16 cost less a frame than that." in markdown(cheap)
    assert "cost more" not in markdown(cheap)


def test_starts_and_networks_are_listed(report):
    text = markdown(report)
    assert "| the default | openvino fp32 | 1.2 s | 0.6 s | 1.8 s |" in text
    assert "| 24 | 1 blocks | 4 blocks | 16 px | sha256:0123456789ab |" in text
    untrained = {"net": Network(CONFIG, "untrained:net:0", False)}
    assert "| 16 px | untrained |" in markdown(dataclasses.replace(report, networks=untrained))
    assert "## Start-up" not in markdown(dataclasses.replace(report, starts={}))
