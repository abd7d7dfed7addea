"""The circuit breaker: one caller at a time finds out whether what failed works again."""

from __future__ import annotations

import time

import pytest

from models_store.breaker import CircuitBreaker


class FrozenClock:
    """Stands still until a test moves it on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def frozen_clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    clock = FrozenClock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def test_what_works_may_be_tried_by_everybody() -> None:
    breaker = CircuitBreaker(3600)
    breaker.succeeded()

    assert [breaker.allows() for _ in range(3)] == [True, True, True]


def test_after_a_failure_nobody_tries_for_a_while() -> None:
    breaker = CircuitBreaker(3600)
    breaker.failed()

    assert [breaker.allows() for _ in range(2)] == [False, False]


def test_then_one_tries_for_all(frozen_clock: FrozenClock) -> None:
    breaker = CircuitBreaker(10)
    breaker.failed()
    frozen_clock.now += 11

    assert [breaker.allows() for _ in range(3)] == [True, False, False]

    breaker.succeeded()
    assert [breaker.allows() for _ in range(3)] == [True, True, True]


def test_one_that_tried_and_never_told_is_followed_by_another(frozen_clock: FrozenClock) -> None:
    breaker = CircuitBreaker(10)
    breaker.failed()

    for _ in range(2):
        frozen_clock.now += 11
        assert [breaker.allows() for _ in range(2)] == [True, False]
