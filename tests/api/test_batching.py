"""Micro-batching: similar lengths together, within the budget; one bad text fails alone, and so does a lost runner."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest

from api.batching import MicroBatcher
from api.calls import ClosedError, Logits, NotFiniteError, RunnerLostError
from api.engines import Engines
from api.throughput import Throughput
from models_store.errors import OverloadedError
from models_store.execution import Interrupt
from models_store.tasks import Encoded
from tests.api.engines import FIGURES, Asked, FunctionEngine, ask, start, text
from tests.fixtures.servers import wait_for


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
        # As in 8 bits, where one scale serves the whole batch, what is no number spreads.
        spoilt = any(encoded.input_ids[0] == 0 for encoded in batch)
        return [np.array([np.nan if spoilt else len(encoded)]) for encoded in batch]


@pytest.fixture
def model() -> Model:
    return Model()


@contextmanager
def batcher(model: Model, *, runners: int = 1, batch_tokens: int = 512) -> Iterator[MicroBatcher]:
    running = start(model.infer, runners=runners, batch_tokens=batch_tokens)
    yield running
    model.go_on.set()
    running.close()


def hold(model: Model, running: MicroBatcher) -> Asked:
    """Keep the one runner busy with a text of length 1 until ``model.go_on`` is set."""
    model.go_on.clear()
    busy = ask(running, [text(1)])
    assert model.began.wait(20)
    return busy


def batches_of(model: Model, lengths: Sequence[int], *, batch_tokens: int = 512) -> list[list[int]]:
    """The batches that texts form which arrive while the one runner is busy."""
    with batcher(model, batch_tokens=batch_tokens) as running:
        busy = hold(model, running)
        waiting = ask(running, [text(length) for length in lengths])
        model.go_on.set()
        assert busy.values() == [1]
        assert waiting.values() == list(lengths)  # each its own answer, whatever the batches
    return model.batches[1:]


# ---- batches --------------------------------------------------------------------------------------------------------


def test_a_text_alone_does_not_wait_for_others(model: Model) -> None:
    with batcher(model) as running:
        assert ask(running, [text(5)]).values() == [5]
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


def test_no_texts_are_no_work(model: Model) -> None:
    with batcher(model) as running:
        assert ask(running, []).values() == []
    assert model.batches == []


def test_a_single_text_does_not_wait_for_the_many_of_another_call(model: Model) -> None:
    slow = Throughput()
    slow.learn(1, 1.0, runners=1)  # a second a token: the last of the many is due in minutes
    running = MicroBatcher(Engines(FunctionEngine(model.infer), None, 1, batch_tokens=10, throughput=slow), FIGURES)
    hold(model, running)
    many = ask(running, [text(10)] * 20, seconds=math.inf)
    single = ask(running, [text(7)], seconds=math.inf)
    model.go_on.set()

    assert single.values() + many.values() == [7] + [10] * 20
    assert model.batches[1:4] == [[10], [7], [10]]
    running.close()


# ---- runners --------------------------------------------------------------------------------------------------------


def test_runners_share_the_texts_of_a_call() -> None:
    together = threading.Barrier(2)

    def meet(batch: Sequence[Encoded]) -> list[Logits]:
        together.wait(20)  # passes only when two batches run at the same time
        return [np.array([len(batch)]) for _ in batch]

    running = start(meet, runners=2)
    wait_for(lambda: running.idle == 2, what="both runners waiting for work")
    assert ask(running, [text(1)] * 6).values() == [3] * 6
    running.close()


def test_the_wide_engine_runs_what_comes_alone_and_the_narrow_one_what_comes_meanwhile() -> None:
    began, go_on = threading.Event(), threading.Event()

    def wide(batch: Sequence[Encoded]) -> list[Logits]:
        began.set()
        assert go_on.wait(20)
        return [np.array([2]) for _ in batch]

    running = start(lambda batch: [np.array([1]) for _ in batch], wide=wide, runners=2)
    wait_for(lambda: running.idle == 2, what="both runners waiting for work")
    alone = ask(running, [text(5)])
    assert began.wait(20)
    meanwhile = ask(running, [text(5)])
    assert meanwhile.values() == [1]
    go_on.set()
    assert alone.values() == [2]
    running.close()


def test_a_runner_that_dies_is_replaced_and_its_text_fails() -> None:
    def deadly(batch: Sequence[Encoded]) -> list[Logits]:
        if batch[0].input_ids[0] == 13:
            raise SystemExit
        return [np.array([1]) for _ in batch]

    running = start(deadly)
    (lost,) = ask(running, [text(1, token=13)]).values()
    assert isinstance(lost, RunnerLostError)
    wait_for(lambda: not running.healthy(60), what="the death being noticed")
    waiting = ask(running, [text(1)])

    assert running.tend(60) == 1

    assert waiting.values() == [1]
    assert running.healthy(60)
    assert running.tend(60) == 0
    running.close()


def test_a_runner_that_hangs_is_replaced_and_its_text_fails() -> None:
    began, go_on = threading.Event(), threading.Event()
    interrupts: list[Interrupt] = []

    class Hanging:
        def infer(self, batch: Sequence[Encoded], interrupt: Interrupt) -> list[Logits]:
            if batch[0].input_ids[0] == 13:
                interrupts.append(interrupt)
                began.set()
                assert go_on.wait(20)
            return [np.array([1]) for _ in batch]

    running = MicroBatcher(Engines(Hanging(), None, 1), FIGURES)
    stuck = ask(running, [text(1, token=13)])
    assert began.wait(20)
    waiting = ask(running, [text(1)])
    assert running.healthy(60)
    assert not running.healthy(0)

    assert running.tend(0) == 1

    assert isinstance(stuck.values()[0], RunnerLostError)
    assert waiting.values() == [1]
    assert interrupts[0].is_set()
    go_on.set()  # what it says now is of no interest
    running.close()
    assert isinstance(stuck.values()[0], RunnerLostError)


# ---- failures -------------------------------------------------------------------------------------------------------


def test_one_bad_text_fails_alone(model: Model) -> None:
    with batcher(model) as running:
        hold(model, running)
        waiting = ask(running, [text(5), text(5, token=13), text(5)])
        other = ask(running, [text(5)])
        model.go_on.set()

        good, bad, too = waiting.values()
        assert (good, too, *other.values()) == (5, 5, 5)
        assert isinstance(bad, ValueError)
    assert model.batches[1] == [5, 5, 5, 5]


def test_an_answer_that_is_no_number_fails_alone(model: Model) -> None:
    with batcher(model) as running:
        hold(model, running)
        waiting = ask(running, [text(5, token=0), text(5)])
        model.go_on.set()

        bad, good = waiting.values()
        assert isinstance(bad, NotFiniteError)
        assert good == 5
    assert model.batches[1] == [5, 5]


def test_a_model_that_gives_too_few_answers_gives_none() -> None:
    running = start(lambda _: [])
    (outcome,) = ask(running, [text(5)]).values()
    assert isinstance(outcome, Exception)
    running.close()


def test_the_runner_lives_on_after_an_error(model: Model) -> None:
    with batcher(model) as running:
        (bad,) = ask(running, [text(5, token=13)]).values()
        assert isinstance(bad, ValueError)
        assert ask(running, [text(5)]).values() == [5]


# ---- the end --------------------------------------------------------------------------------------------------------


def test_closing_finishes_what_waits(model: Model) -> None:
    running = start(model.infer)
    hold(model, running)
    waiting = ask(running, [text(50), text(200)])
    closing = threading.Thread(target=running.close)
    closing.start()
    model.go_on.set()
    closing.join(20)

    assert not closing.is_alive()
    assert waiting.values() == [50, 200]


def test_a_closed_batcher_takes_nothing(model: Model) -> None:
    running = start(model.infer, runners=2)
    running.close()

    with pytest.raises(ClosedError):
        ask(running, [text(1)])
    assert model.batches == []


def test_closing_twice_is_harmless(model: Model) -> None:
    running = start(model.infer, runners=2)
    running.close()
    running.close()


# ---- callers who go away, or will not wait --------------------------------------------------------------------------


def test_a_text_that_nobody_waits_for_any_more_is_not_run(model: Model) -> None:
    with batcher(model) as running:
        hold(model, running)
        gone, kept = ask(running, [text(50)]), ask(running, [text(7)])
        gone.call.cancel()
        model.go_on.set()
        assert kept.values() == [7]
    assert model.batches == [[1], [7]]


def test_many_that_were_given_up_stop_nothing(model: Model) -> None:
    with batcher(model, batch_tokens=1) as running:
        hold(model, running)
        for gone in [ask(running, [text(9)] * 20) for _ in range(100)]:
            gone.call.cancel()
        kept = ask(running, [text(7)])
        model.go_on.set()
        assert kept.values() == [7]
    assert model.batches == [[1], [7]]


def test_a_text_whose_caller_waited_long_enough_is_not_run(model: Model) -> None:
    with batcher(model) as running:
        hold(model, running)
        late = ask(running, [text(50)], seconds=1e-9)
        model.go_on.set()
        assert isinstance(late.values()[0], Exception)
        assert ask(running, [text(7)]).values() == [7]
    assert model.batches == [[1], [7]]


def test_a_caller_who_will_not_wait_so_long_is_told_at_once(model: Model) -> None:
    throughput = Throughput()
    throughput.learn(100, 1.0, runners=1)  # ten milliseconds a token
    engines = Engines(FunctionEngine(model.infer), None, 1, throughput=throughput)
    running = MicroBatcher(engines, FIGURES)
    hold(model, running)
    waiting = ask(running, [text(500)])  # five seconds

    with pytest.raises(OverloadedError) as refused:
        ask(running, [text(1)], seconds=2)
    patient = ask(running, [text(1)], seconds=8)
    assert refused.value.retry_after == 3
    assert running.backlog_seconds() == pytest.approx(5.01)

    model.go_on.set()
    assert waiting.values() + patient.values() == [500, 1]
    running.close()
