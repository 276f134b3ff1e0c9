"""One slot per camera, newest wins."""

import threading

from rvm_ros.mailbox import Mailbox


def test_the_newest_item_wins_and_the_older_is_reported_dropped():
    mailbox = Mailbox[int]()
    assert mailbox.put("front", 1) is False
    assert mailbox.put("front", 2) is True
    assert mailbox.put("rear", 3) is False
    assert mailbox.take() == {"front": 2, "rear": 3}


def test_what_stands_for_two_items_can_be_chosen():
    mailbox = Mailbox[int](lambda old, new: old + new)
    for item in (1, 2, 4):
        mailbox.put("front", item)
    mailbox.put("rear", 5)
    assert mailbox.take() == {"front": 7, "rear": 5}


def test_taking_waits_for_an_item():
    mailbox = Mailbox[int]()
    taken = []
    thread = threading.Thread(target=lambda: taken.append(mailbox.take()))
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    mailbox.put("front", 7)
    thread.join(timeout=5)
    assert taken == [{"front": 7}]


def test_closing_wakes_the_taker_with_nothing():
    mailbox = Mailbox[int]()
    taken = []
    thread = threading.Thread(target=lambda: taken.append(mailbox.take()))
    thread.start()
    mailbox.close()
    thread.join(timeout=5)
    assert taken == [{}]
    mailbox.put("front", 1)
    assert mailbox.take() == {}
