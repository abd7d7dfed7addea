"""What is done with the inputs of a call before and after the model: parse, tokenise, decode. Off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from api.calls import Logits, Outcome, OverdueError, RunnerLostError
from models_store.characters import half_pair
from models_store.errors import InvalidInputError, ModelFailedError, Problem, ThawlineError, UnavailableError
from models_store.logging import get_logger
from models_store.predictor import Predictor
from models_store.process import usable_cores
from models_store.tasks import Encoded, Prediction, PredictOptions, Task
from models_store.windows import Window

_INLINE_CHARACTERS, _INLINE_PARTS = 2_000, 400  # working on less than this is quicker than a change of thread
_LONG_CHARACTERS = 100_000
# Threads of their own: megabytes of text must not keep look-ups and files waiting.
_THREADS = ThreadPoolExecutor(max(2, usable_cores()), thread_name_prefix="text")

T = TypeVar("T")
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Examples as a model takes them.

    Attributes:
        predictor: The model.
        examples: As they were parsed.
        encoded: Word pieces of each.
        owned: What is run for each: one window, or several for a long text.
        windows: All of them, example by example.
    """

    predictor: Predictor
    examples: Sequence[Any]
    encoded: Sequence[Encoded]
    owned: Sequence[Sequence[Window]]
    windows: Sequence[Encoded]


def least_windows(predictor: Predictor, items: Sequence[Any]) -> int:
    """How many windows long inputs fill at the very least: a word has a piece or more. Quick, as tokenising is not.

    Of a pair's texts the end is cut off instead; they are measured alike, because all of them is tokenised first.
    """
    lengths = [sum(len(part) for part in _parts(item) if isinstance(part, str)) for item in items]
    if sum(lengths) < _LONG_CHARACTERS:
        return len(items)
    return sum(max(1, _words(item) // predictor.windowing.max_length) for item in items)


def _words(item: Any) -> int:
    return sum(len(part.split()) for part in _parts(item) if isinstance(part, str))


async def parse(task: Task[Any], items: Sequence[Any]) -> tuple[list[Any], list[tuple[int, str]]]:
    """Examples of the items, and (index, message) of each item that is none."""
    return await _off_loop(partial(_parse, task, items), small=_are_few(items))


async def encode(predictor: Predictor, examples: Sequence[Any], items: Sequence[Any]) -> Inputs:
    """Word pieces of examples, long ones in windows; ``items`` are what the examples were parsed from."""
    return await _off_loop(partial(_encode, predictor, examples), small=_are_few(items))


async def decode(inputs: Inputs, outcomes: Sequence[Outcome], options: PredictOptions) -> list[Prediction]:
    """The answer to each example; where the model gave none to some of them, ``{"error": …}`` in its place.

    Raises:
        ModelFailedError: It gave none to any.
        UnavailableError: The same, because its runner was lost.
    """
    small = len(inputs.windows) == 1
    return await _off_loop(partial(_decode, inputs, outcomes, options), small=small)


async def encode_texts(predictor: Predictor, texts: Sequence[str]) -> list[Encoded]:
    """Word pieces of texts that are to be embedded."""
    return await _off_loop(partial(predictor.encode_texts, texts), small=_are_few(texts))


def all_given(outcomes: Sequence[Outcome]) -> list[Logits]:
    """What the model gave to each text.

    Raises:
        ModelFailedError: It gave nothing to one of them.
        UnavailableError: The same, because its runner was lost.
    """
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            log.error("the model gave no answer", reason=repr(outcome), exc_info=outcome)
            raise _told(outcome)
    return [outcome for outcome in outcomes if not isinstance(outcome, Exception)]


def check_options(task: Task[Any], options: PredictOptions) -> None:
    """Raise InvalidInputError for what the task cannot do."""
    if options.top_k > 1 and not task.ranks_labels:
        message = "only a model that answers with one label can list more of them; leave top_k out"
        raise InvalidInputError(f"top_k: {message}", [Problem("invalid_input", message, column="top_k")])


async def _off_loop(work: Callable[[], T], *, small: bool) -> T:
    """Do the work in a thread, unless it is so little that the change of thread would cost more."""
    return work() if small else await asyncio.get_running_loop().run_in_executor(_THREADS, work)


def _are_few(items: Sequence[Any]) -> bool:
    """Whether it is one short input, as it came."""
    if len(items) != 1:
        return False
    parts = _parts(items[0])
    return len(parts) < _INLINE_PARTS and sum(len(part) for part in parts if isinstance(part, str)) < _INLINE_CHARACTERS


def _parse(task: Task[Any], items: Sequence[Any]) -> tuple[list[Any], list[tuple[int, str]]]:
    examples, problems = [], []
    for index, item in enumerate(items):
        try:
            _check_characters(item)
            examples.append(task.parse(item))
        except ValueError as error:
            problems.append((index, str(error)))
    return examples, problems


def _check_characters(item: Any) -> None:
    for text in _parts(item):
        if isinstance(text, str) and (place := half_pair(text)) is not None:
            raise ValueError(f"character {place} is half a surrogate pair, which is no character")


def _parts(item: Any) -> Collection[Any]:
    """The texts of an input, as it came."""
    return item.values() if isinstance(item, dict) else item if isinstance(item, list) else [item]


def _encode(predictor: Predictor, examples: Sequence[Any]) -> Inputs:
    encoded = predictor.encode(examples)
    owned = [predictor.windows(e) for e in encoded]
    return Inputs(predictor, examples, encoded, owned, [window.encoded for windows in owned for window in windows])


def _decode(inputs: Inputs, outcomes: Sequence[Outcome], options: PredictOptions) -> list[Prediction]:
    predictor, following = inputs.predictor, iter(outcomes)
    answers: list[Prediction] = []
    failures: list[Exception] = []
    for example, encoded, windows in zip(inputs.examples, inputs.encoded, inputs.owned, strict=True):
        own = list(islice(following, len(windows)))
        logits = [outcome for outcome in own if not isinstance(outcome, Exception)]
        if len(logits) == len(windows):
            (merged,) = predictor.merge([windows], logits)
            answers.append(predictor.decode(merged, example, encoded, options))
        else:
            failures.append(next(outcome for outcome in own if isinstance(outcome, Exception)))
            told = _told(failures[-1])
            answers.append({"error": {"code": told.code, "message": told.message}})
    if failures:
        log.error("the model gave no answer", texts=len(failures), reason=repr(failures[0]), exc_info=failures[0])
        if len(failures) == len(answers):
            raise _told(failures[0])
    return answers


def _told(failure: Exception) -> ThawlineError:
    """What the caller is told; the log has the rest."""
    if isinstance(failure, OverdueError):
        return UnavailableError(str(failure), code="deadline_exceeded")
    if isinstance(failure, RunnerLostError):
        return UnavailableError(f"{failure}; try again", code="runner_lost")
    if isinstance(failure, UnavailableError):  # such as a GPU whose memory is full
        return UnavailableError(failure.message, code=failure.code)
    return ModelFailedError("the model gave no usable answer to this text; the server's log has the reason")
