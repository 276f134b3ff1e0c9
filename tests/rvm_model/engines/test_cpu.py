"""8-bit engines are refused where a CPU would overflow."""

import pytest

from rvm_model.engines import EngineError, cpu


@pytest.mark.parametrize("flags", [{"avx2", "avx_vnni"}, {"avx512f", "avx512_vnni"}, {"amx_int8"}, set()])
def test_cpus_with_dot_products_and_unknown_ones_are_taken(monkeypatch, tmp_path, flags):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(cpu, "cpu_flags", lambda: flags)
    cpu.check_int8(tmp_path)


def test_an_older_cpu_is_refused_with_a_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(cpu, "cpu_flags", lambda: {"sse4_2", "avx2", "avx512f"})
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with pytest.raises(EngineError, match="need a CPU with VNNI or AMX.*Export with --precision fp32"):
        cpu.check_int8(tmp_path)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    cpu.check_int8(tmp_path)
