"""A thread that draws the newest."""

import threading

import pytest

from rvm_ros.renderer import Renderer

TIMEOUT_S = 10.0


class Drawing:
    """Draws only as far as it is let."""

    def __init__(self) -> None:
        self.started = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        self.drawn: list[int] = []

    def __call__(self, job: int) -> None:
        self.started.release()
        assert self.may_end.acquire(timeout=TIMEOUT_S)
        self.drawn.append(job)


@pytest.fixture
def drawing():
    return Drawing()


@pytest.fixture
def start(drawing):
    started = []

    def make(*, every: bool) -> Renderer[int]:
        renderer = Renderer("test", drawing, every=every)
        renderer.start()
        started.append(renderer)
        return renderer

    yield make
    for renderer in started:
        renderer.close()
        drawing.may_end.release(100)
        renderer.join()


def test_the_newest_job_replaces_one_that_was_not_begun(start, drawing):
    renderer = start(every=False)
    assert renderer.put(1) is None
    assert drawing.started.acquire(timeout=TIMEOUT_S)
    assert [renderer.put(job) for job in (2, 3, 4)] == [None, 2, 3]
    drawing.may_end.release(2)
    renderer.finish()
    assert drawing.drawn == [1, 4]


def test_where_every_job_counts_the_giver_waits_for_room(start, drawing):
    renderer = start(every=True)
    renderer.put(1)
    assert drawing.started.acquire(timeout=TIMEOUT_S)
    renderer.put(2)
    giver = threading.Thread(target=renderer.put, args=(3,))
    giver.start()
    giver.join(0.2)
    assert giver.is_alive(), "the second still waits"
    drawing.may_end.release(3)
    giver.join(TIMEOUT_S)
    assert not giver.is_alive()
    renderer.finish()
    assert drawing.drawn == [1, 2, 3]


def test_a_giver_that_waits_is_let_go_when_all_ends(start, drawing):
    renderer = start(every=True)
    for job in (1, 2):
        renderer.put(job)
    giver = threading.Thread(target=renderer.put, args=(3,))
    giver.start()
    renderer.close()
    giver.join(TIMEOUT_S)
    assert not giver.is_alive()


def test_joining_waits_for_the_job_that_is_being_done_and_no_other(start, drawing):
    renderer = start(every=False)
    renderer.put(1)
    assert drawing.started.acquire(timeout=TIMEOUT_S)
    renderer.put(2)
    renderer.close()
    drawing.may_end.release(2)
    renderer.join()
    assert drawing.drawn == [1]
