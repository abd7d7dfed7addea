"""Micro-batching: similar lengths together, within the budget, and one bad text fails alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest

from api.batching import ClosedError, Logits, MicroBatcher, NotFiniteError, Throughput
from models_store.tasks import Encoded


def text(length: int, token: int = 1) -> Encoded:
    return Encoded([token] * length, [0] * length, truncated=False)


class Model:
    """Answers with the length of each text, and remembers the batches it was given. Can be held at its first batch."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.began, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def infer(self, batch: Sequence[Encoded]) -> list[Logits]:
        self.batches.append([len(encoded) for encoded in batch])
        self.began.set()
        assert self.go_on.wait(20)
        if any(encoded.input_ids[0] == 13 for encoded in batch):
            raise ValueError("unlucky")
        return [np.array([np.nan if encoded.input_ids[0] == 0 else len(encoded)]) for encoded in batch]


@pytest.fixture
def model() -> Model:
    return Model()


@contextmanager
def batcher(model: Model, *, runners: int = 1, batch_tokens: int = 512) -> Iterator[MicroBatcher]:
    running = MicroBatcher(model.infer, runners=runners, batch_tokens=batch_tokens, throughput=Throughput())
    yield running
    model.go_on.set()
    running.close()


def batches_of(model: Model, lengths: Sequence[int], *, batch_tokens: int = 512) -> list[list[int]]:
    """The batches that texts form which arrive while the one runner is busy with a text of length 1."""
    model.go_on.clear()
    with batcher(model, batch_tokens=batch_tokens) as running:
        busy = running.submit([text(1)])
        assert model.began.wait(20)
        waiting = running.submit([text(length) for length in lengths])
        model.go_on.set()
        answers = [int(future.result(20)[0]) for future in busy + waiting]
    assert answers == [1, *lengths]  # each its own answer, whatever the batches
    return model.batches[1:]


def test_a_text_alone_does_not_wait_for_others(model: Model) -> None:
    with batcher(model) as running:
        (future,) = running.submit([text(5)])
        assert future.result(20) == 5
    assert model.batches == [[5]]


def test_what_waits_meanwhile_runs_together(model: Model) -> None:
    assert batches_of(model, [10, 10, 10, 10]) == [[10, 10, 10, 10]]


def test_texts_of_similar_length_run_together(model: Model) -> None:
    assert batches_of(model, [10, 80, 11, 84, 12]) == [[10, 11, 12], [80, 84]]


def test_a_batch_does_not_creep_from_short_to_long(model: Model) -> None:
    # Each is within a quarter of its neighbour, but not of the shortest.
    assert batches_of(model, [10, 12, 15, 18]) == [[10, 12], [15, 18]]


def test_the_oldest_goes_first_even_when_it_is_odd(model: Model) -> None:
    assert batches_of(model, [100, 10, 10, 10]) == [[100], [10, 10, 10]]


def test_the_budget_counts_padded_tokens(model: Model) -> None:
    assert batches_of(model, [20] * 7, batch_tokens=60) == [[20, 20, 20], [20, 20, 20], [20]]
    for batch in model.batches:
        assert max(batch) * len(batch) <= 60


def test_a_text_longer_than_the_budget_runs_alone(model: Model) -> None:
    assert batches_of(model, [90, 90], batch_tokens=60) == [[90], [90]]


def test_a_batch_has_an_upper_size(model: Model) -> None:
    assert [len(batch) for batch in batches_of(model, [1] * 100, batch_tokens=10_000)] == [64, 36]


def test_one_bad_text_fails_alone(model: Model) -> None:
    model.go_on.clear()
    with batcher(model) as running:
        running.submit([text(1)])
        assert model.began.wait(20)
        good, bad, other = running.submit([text(5), text(5, token=13), text(5)])
        model.go_on.set()

        assert good.result(20) == 5
        assert other.result(20) == 5
        with pytest.raises(ValueError, match="unlucky"):
            bad.result(20)
    assert model.batches[1] == [5, 5, 5]


def test_an_answer_that_is_no_number_is_refused(model: Model) -> None:
    with batcher(model) as running:
        bad, good = running.submit([text(5, token=0), text(5)])
        with pytest.raises(NotFiniteError):
            bad.result(20)
        assert good.result(20) == 5


def test_the_runner_lives_on_after_an_error(model: Model) -> None:
    with batcher(model) as running:
        (bad,) = running.submit([text(5, token=13)])
        assert isinstance(bad.exception(20), ValueError)
        (good,) = running.submit([text(5)])
        assert good.result(20) == 5


def test_closing_finishes_what_waits(model: Model) -> None:
    model.go_on.clear()
    running = MicroBatcher(model.infer, runners=1, batch_tokens=512, throughput=Throughput())
    futures = running.submit([text(1), text(50), text(200)])
    assert model.began.wait(20)
    closing = threading.Thread(target=running.close)
    closing.start()
    model.go_on.set()
    closing.join(20)

    assert not closing.is_alive()
    assert [int(future.result(0)[0]) for future in futures] == [1, 50, 200]


def test_a_closed_batcher_takes_nothing(model: Model) -> None:
    running = MicroBatcher(model.infer, runners=2, batch_tokens=512, throughput=Throughput())
    running.close()

    with pytest.raises(ClosedError):
        running.submit([text(1)])
    assert model.batches == []


def test_closing_twice_is_harmless(model: Model) -> None:
    running = MicroBatcher(model.infer, runners=2, batch_tokens=512, throughput=Throughput())
    running.close()
    running.close()


def test_a_text_that_nobody_waits_for_any_more_is_not_run(model: Model) -> None:
    model.go_on.clear()
    with batcher(model) as running:
        running.submit([text(1)])
        assert model.began.wait(20)
        gone, kept = running.submit([text(50), text(7)])
        assert gone.cancel()
        model.go_on.set()
        assert kept.result(20) == 7
    assert model.batches == [[1], [7]]


def test_a_batch_that_was_given_up_whole_stops_nothing(model: Model) -> None:
    model.go_on.clear()
    with batcher(model, batch_tokens=1) as running:  # each alone, so that many empty batches follow each other
        running.submit([text(1)])
        assert model.began.wait(20)
        gone = running.submit([text(9)] * 2000)
        assert all(future.cancel() for future in gone)
        (kept,) = running.submit([text(7)])
        model.go_on.set()
        assert kept.result(20) == 7
    assert model.batches == [[1], [7]]


def test_runners_work_side_by_side(model: Model) -> None:
    together = threading.Barrier(2)

    def meet(batch: Sequence[Encoded]) -> list[Logits]:
        together.wait(20)  # passes only when two batches run at the same time
        return [np.array([1.0]) for _ in batch]

    running = MicroBatcher(meet, runners=2, batch_tokens=1, throughput=Throughput())
    futures = running.submit([text(1), text(1)])
    assert [future.result(20) for future in futures] == [1.0, 1.0]
    running.close()


def test_no_texts_are_no_work(model: Model) -> None:
    with batcher(model) as running:
        assert running.submit([]) == []
    assert model.batches == []
