"""Threads and answers that take their time."""

import threading
from concurrent.futures import Future

import pytest
import torch

pytest.importorskip("rclpy")

from rvm_ros.deferred import in_thread, result, settle, torch_thread

TIMEOUT_S = 10.0


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_first_product_of_a_thread_has_the_bits_of_any_other(one_thread):
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(7, 1536, generator=generator), torch.randn(1536, 384, generator=generator)
    expected, got = left @ right, []
    thread = torch_thread("test", lambda factor: got.append(left @ factor), right)
    thread.start()
    thread.join(TIMEOUT_S)
    assert torch.equal(got[0], expected)


def test_what_a_thread_gives_or_raises_comes_through_its_future():
    assert in_thread("test", lambda: threading.current_thread().name).result(TIMEOUT_S) == "test"
    with pytest.raises(ZeroDivisionError):
        in_thread("test", lambda: 1 / 0).result(TIMEOUT_S)


def test_what_was_cancelled_is_not_done():
    future: Future[object] = Future()
    future.cancel()
    settle(lambda: pytest.fail("it was done"), future)


def test_who_waits_in_an_executor_is_resumed_until_the_result_is_there():
    future: Future[int] = Future()
    woken: list[int] = []
    waiting = result(future, lambda: woken.append(1))
    assert waiting.send(None) is None
    assert waiting.send(None) is None
    future.set_result(7)
    assert woken == [1]
    with pytest.raises(StopIteration) as ended:
        waiting.send(None)
    assert ended.value.value == 7


def test_who_waits_for_what_was_cancelled_is_told_that_the_node_was_deactivated():
    future: Future[int] = Future()
    future.cancel()
    with pytest.raises(RuntimeError, match="the node was deactivated meanwhile"):
        result(future, lambda: None).send(None)
