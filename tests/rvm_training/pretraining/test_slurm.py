"""The batch script runs the training, and queues itself again after a signal: SLURM's own programs are stood in for."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rvm_training.pretraining.run_folder import complete

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "training" / "slurm" / "pretrain.sbatch"
# As srun: one process per task with SLURM's variables; signals go to all their processes; the highest status counts.
SRUN = """#!/usr/bin/env python3
import os, signal, subprocess, sys
assert sys.argv[1:3] == ["--cpus-per-task=3", "--kill-on-bad-exit=1"], sys.argv
tasks = [
    subprocess.Popen(
        sys.argv[3:], env=os.environ | {"SLURM_PROCID": i, "SLURM_LOCALID": i, "SLURM_NODEID": "0"}, process_group=0
    )
    for i in map(str, range(int(os.environ["SLURM_NTASKS"])))
]
signal.signal(signal.SIGUSR1, lambda number, _: [os.killpg(task.pid, number) for task in tasks])
open("srun.pid", "w").write(str(os.getpid()))
sys.exit(max(task.wait() for task in tasks))
"""


@pytest.fixture
def job(tmp_path, tiny_words):
    """Starter of the batch script as a job of two tasks in the test's folder."""
    programs = {"srun": SRUN, "scontrol": '#!/usr/bin/env bash\necho "$@" >> scontrol.log\n'}
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHON": sys.executable,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'training'}", "SLURM_JOB_ID": "4711", "SLURM_JOB_NAME": "rvm",
        "SLURM_NNODES": "1", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_CPUS_PER_TASK": "3",
        "SLURM_NODELIST": "localhost",
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text("")
    started = []

    def start(*words: str) -> subprocess.Popen:
        command = ["bash", str(SCRIPT), "config.yaml", *tiny_words, *words]
        # A session of its own, so that all its processes can be ended together.
        options = {"cwd": tmp_path, "env": environment, "text": True, "start_new_session": True}
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_without_a_configuration_the_script_says_how_it_is_used():
    result = subprocess.run(["bash", str(SCRIPT)], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "usage: sbatch" in result.stderr


@pytest.mark.slow
def test_a_preempted_job_saves_a_checkpoint_and_is_queued_again(job, tmp_path):
    never = "100000"
    words = [f"optimizer.steps={never}", f"log.checkpoint_every={never}", f"log.validate_every={never}"]
    process = job("name=job", "machine.workers=1", *words)
    metrics = tmp_path / "job" / "metrics" / "version_0" / "metrics.csv"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text().count("\n") > 2):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(int((tmp_path / "srun.pid").read_text()), signal.SIGUSR1)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 75, output
    assert (tmp_path / "scontrol.log").read_text() == "requeue 4711\n"
    assert len(complete(tmp_path / "job" / "checkpoints")) == 1


@pytest.mark.slow
def test_a_job_that_finishes_is_not_queued_again(job, tmp_path):
    process = job("name=job", "machine.stop_at_step=2")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert not (tmp_path / "scontrol.log").exists()
