"""Pacing: long work is heard of at a bounded rate, and its result is not lost on the way."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from types import SimpleNamespace

import pytest

from tests.worker.conftest import run_to_end
from worker.training import pacing
from worker.training.events import Event, Working
from worker.training.pacing import REPORT_SECONDS, paced

START = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that goes only when the work says so."""
    hands = SimpleNamespace(now=START)
    monkeypatch.setattr(pacing, "time", SimpleNamespace(monotonic=lambda: hands.now))
    return hands


def work(clock: SimpleNamespace, steps: int, seconds: float) -> Generator[int, None, str]:
    for done in range(1, steps + 1):
        clock.now += seconds
        yield done
    return "result"


def tell(done: int) -> Event:
    return Working(stage="evaluate", done=done, total=100)


def counts(events: Sequence[Working]) -> list[int]:
    return [event.done for event in events]


def test_the_result_of_the_work_is_handed_on(clock: SimpleNamespace) -> None:
    assert run_to_end(paced(work(clock, 0, 0.0), tell)) == ([], "result")


def test_quick_work_says_nothing(clock: SimpleNamespace) -> None:
    assert run_to_end(paced(work(clock, 100, REPORT_SECONDS / 200), tell)) == ([], "result")


def test_many_quick_steps_are_told_of_at_a_bounded_rate(clock: SimpleNamespace) -> None:
    events, _ = run_to_end(paced(work(clock, 100, REPORT_SECONDS / 8), tell))

    assert counts(events) == list(range(8, 100, 8))


def test_every_slow_step_is_told_of(clock: SimpleNamespace) -> None:
    events, _ = run_to_end(paced(work(clock, 3, 3 * REPORT_SECONDS), tell))

    assert counts(events) == [1, 2, 3]


def test_an_error_of_the_work_comes_through(clock: SimpleNamespace) -> None:
    def broken() -> Generator[int, None, None]:
        clock.now += REPORT_SECONDS
        yield 1
        raise ValueError("broken")

    told = paced(broken(), tell)

    assert next(told) == tell(1)
    with pytest.raises(ValueError, match="broken"):
        next(told)
