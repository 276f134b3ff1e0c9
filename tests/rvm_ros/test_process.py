"""A node's process ends in order on a signal, at any moment; only what hangs is ended at once."""

import signal
import subprocess
import sys
import textwrap
import time

import pytest

pytest.importorskip("rclpy")

from rvm_ros.process import GRACE_S

pytestmark = pytest.mark.ros

SCRIPT = """
import sys, time
from rclpy.node import Node
from rclpy.task import Future
from rvm_ros import process

def say(word):
    print(word, flush=True)

def make():
    {make}
    return Node("tried")

def begin(node):
    say("begins")
    {begin}
    say("spins")
    done = Future()
    {done}
    return done

def end(node):
    say("ends")
    {end}

sys.exit(process.run("tried", make, begin, end))
"""


@pytest.fixture
def start():
    """Function that starts a process with what it does at each point, and returns it once it has said a word."""
    processes = []

    def run(until, make="pass", begin="pass", done="pass", end="pass"):
        script = textwrap.dedent(SCRIPT).format(make=make, begin=begin, done=done, end=end)
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        processes.append(process)
        said = []
        while until and (not said or said[-1] != until):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            said.append(line.strip())
        return process

    yield run
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def ended(process):
    """Exit status, and what it said since."""
    out, error = process.communicate(timeout=30)
    return process.returncode, out.split(), error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_spinning_node_in_order(start, number):
    process = start("spins")
    process.send_signal(number)
    assert ended(process) == (0, ["ends"], "")


def test_a_second_signal_changes_nothing(start):
    process = start("spins", end="time.sleep(0.5); say('ended')")
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    assert ended(process) == (0, ["ends", "ended"], "")


def test_a_signal_in_a_short_start_is_heard_after_it(start):
    process = start("begins", begin="time.sleep(0.5)")
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (0, ["spins", "ends"], "")


def test_a_long_start_is_left(start):
    process = start("begins", begin="time.sleep(60)")
    process.send_signal(signal.SIGTERM)
    before = time.monotonic()
    status, said, error = ended(process)
    assert (status, said) == (0, [])
    assert "ended 2 s after the signal, for it was still starting" in error
    assert time.monotonic() - before >= GRACE_S - 0.1


def test_what_hangs_at_the_end_is_told_and_left(start):
    process = start("spins", end="time.sleep(60)")
    process.send_signal(signal.SIGINT)
    status, said, error = ended(process)
    assert (status, said) == (1, ["ends"])
    assert "it was busy all the while" in error


@pytest.mark.parametrize("status", [0, 3])
def test_a_node_that_is_done_gives_its_status(start, status):
    process = start(None, done=f"node.create_timer(0.1, lambda: done.set_result({status}))")
    assert ended(process) == (status, ["begins", "spins", "ends"], "")


def test_a_node_that_cannot_be_made_says_why(start):
    process = start(None, make="raise ValueError('cameras: got none')")
    status, said, error = ended(process)
    assert (status, said) == (1, [])
    assert "not started: cameras: got none" in error
    assert "Traceback" not in error
