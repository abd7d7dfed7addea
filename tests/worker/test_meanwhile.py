"""Work that is repeated in a thread: as often as it wants, and never behind the block's back."""

from __future__ import annotations

import threading

from worker.meanwhile import meanwhile


def test_it_is_done_again_until_the_block_is_left() -> None:
    thrice, counted = threading.Event(), list[int]()

    def work() -> bool:
        counted.append(1)
        if len(counted) >= 3:
            thrice.set()
        return True

    with meanwhile(work, 0.001, "counting"):
        assert thrice.wait(10)

    assert "counting" not in {thread.name for thread in threading.enumerate()}


def test_it_can_end_by_itself() -> None:
    counted = list[int]()

    def work() -> bool:
        counted.append(1)
        return False

    with meanwhile(work, 0.001, "once"):
        for thread in threading.enumerate():  # it may have ended already
            if thread.name == "once":
                thread.join(10)

    assert counted == [1]


def test_a_block_that_ends_at_once_does_not_wait_for_the_first_time() -> None:
    with meanwhile(lambda: True, 3600.0, "patient"):
        pass

    assert "patient" not in {thread.name for thread in threading.enumerate()}
