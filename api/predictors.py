"""Models in memory: loaded once, least recently used out first."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from api.batching import ClosedError, Logits, MicroBatcher, Throughput
from api.figures import LOADED_BYTES, LOADED_MODELS, TOKENISE_SECONDS
from models_store.artifacts import ArtifactStore
from models_store.errors import InvalidInputError, NotFoundError, Problem, UnavailableError
from models_store.logging import get_logger
from models_store.precision import Precision
from models_store.predictor import CONFIG_FILE, Predictor, served_precision
from models_store.settings import Settings
from models_store.tables import ModelVersion
from models_store.tasks import Encoded, Prediction, PredictOptions, Task
from models_store.windows import Window

_INLINE_CHARACTERS = 2_000  # tokenising less than this is quicker than a change of thread

T = TypeVar("T")
Key = tuple[str, Precision | None]  # a version's artifact, and the precision if not the one that is served
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of a version's models a call wants.

    Attributes:
        version: The version.
        precision: If not the one that is served.
    """

    version: ModelVersion
    precision: Precision | None = None

    @property
    def key(self) -> Key:
        """Under which it is loaded."""
        return self.version.artifact, self.precision


@dataclass(frozen=True, slots=True)
class _Offer:
    """The precisions that a version's models have. A published version never changes."""

    served: Precision
    available: Sequence[str]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A predictor with the threads that run it."""

    predictor: Predictor
    batcher: MicroBatcher
    size_bytes: int


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


class PredictorPool:
    """Loads versions on demand and answers with them, within a budget of memory.

    A caller holds a permit (`api.admission`) for all of it: loading, parsing and predicting.
    """

    def __init__(self, store: ArtifactStore, settings: Settings, throughput: Throughput) -> None:
        self._throughput = throughput
        self._store = store
        self._settings = settings
        self._loaded: OrderedDict[Key, LoadedModel] = OrderedDict()
        self._loading: dict[Key, asyncio.Task[LoadedModel]] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._gone: set[str] = set()
        self._offers: dict[str, _Offer] = {}

    async def choose(self, version: ModelVersion, precision: Precision | None) -> Choice:
        """The model of a version in the precision that is asked for, if in any.

        Raises:
            InvalidInputError: The version has none in this precision.
            NotFoundError: The version was deleted meanwhile.
            ArtifactCorruptError: The version's files differ from what was published.
        """
        if precision is None:
            return Choice(version)
        self._check_there(version.artifact)
        if (offer := self._offers.get(version.artifact)) is None:
            offer = self._offers[version.artifact] = await asyncio.to_thread(self._offer, version.artifact)
        if precision not in offer.available:
            message = f"this version has no model in {precision}; it has {', '.join(offer.available)}"
            raise InvalidInputError(message, [Problem("precision_not_available", message, column="precision")])
        return Choice(version, None if precision is offer.served else precision)

    async def predict(self, wanted: Choice, inputs: Inputs, options: PredictOptions) -> list[Prediction]:
        """Answer for encoded examples.

        Raises:
            NotFoundError: The version was deleted meanwhile.
            ArtifactCorruptError: The version's files cannot be loaded.
            UnavailableError: The answer took longer than allowed.
        """
        logits = await self._gather(await self._submit(wanted, inputs.windows))
        return await _off_loop(partial(_decode, inputs, logits, options), inputs.examples)

    async def encode(self, wanted: Choice, examples: Sequence[Any]) -> Inputs:
        """Word pieces of parsed examples, long ones in windows.

        Raises:
            NotFoundError: The version was deleted meanwhile.
            ArtifactCorruptError: The version's files cannot be loaded.
        """
        predictor = (await self.get(wanted)).predictor
        with TOKENISE_SECONDS.time():
            return await _off_loop(partial(_encode, predictor), examples)

    async def parse(
        self, wanted: Choice, items: Sequence[Any], options: PredictOptions
    ) -> tuple[list[Any], list[tuple[int, str]]]:
        """Examples of the items, and (index, message) of each item that is none.

        Raises:
            InvalidInputError: The model cannot do what the options ask.
        """
        task = (await self.get(wanted)).predictor.task
        _check_options(task, options)
        return await _off_loop(partial(_parse, task), items)

    async def get(self, wanted: Choice) -> LoadedModel:
        """The loaded model; parallel callers share one load."""
        key = wanted.key
        self._check_there(wanted.version.artifact)
        if (model := self._loaded.get(key)) is not None:
            self._loaded.move_to_end(key)
            return model
        task = self._loading.get(key)
        if task is None:
            task = self._loading[key] = asyncio.create_task(self._load(key, wanted.version.size_bytes))
            task.add_done_callback(lambda _: self._loading.pop(key, None))
        return await asyncio.shield(task)

    async def unload(self, artifact: str) -> None:
        """Let go of a version whose files are deleted, and keep it out: it may be loading just now."""
        self._gone.add(artifact)
        self._offers.pop(artifact, None)
        for key in [key for key in self._loaded if key[0] == artifact]:
            self._retire(key, self._loaded.pop(key))

    def close(self) -> None:
        """Unload everything."""
        while self._loaded:
            self._loaded.popitem()[1].batcher.close()

    async def _load(self, key: Key, size_bytes: int) -> LoadedModel:
        started = time.monotonic()
        model = await asyncio.to_thread(self._load_now, key, size_bytes)
        log.info("model loaded", artifact=key[0], precision=key[1], seconds=round(time.monotonic() - started, 2))
        if key[0] in self._gone:
            self._retire(key, model)
        self._check_there(key[0])
        self._loaded[key] = model
        while (
            len(self._loaded) > 1
            and sum(m.size_bytes for m in self._loaded.values()) > self._settings.model_cache_bytes
        ):
            self._retire(*self._loaded.popitem(last=False))
        self._count()
        return model

    def _check_there(self, artifact: str) -> None:
        if artifact in self._gone:
            raise NotFoundError("this version of the model was deleted")

    def _retire(self, key: Key, model: LoadedModel) -> None:
        """Let its threads finish what waits, and end."""
        log.info("model unloaded", artifact=key[0], precision=key[1])
        closing = asyncio.create_task(asyncio.to_thread(model.batcher.close))
        self._retiring.add(closing)
        closing.add_done_callback(self._retiring.discard)
        self._count()

    def _count(self) -> None:
        LOADED_MODELS.set(len(self._loaded))
        LOADED_BYTES.set(sum(m.size_bytes for m in self._loaded.values()))

    def _load_now(self, key: Key, size_bytes: int) -> LoadedModel:
        artifact, precision = key
        predictor = Predictor.load(self._store.verified_path(artifact), threads=1, precision=precision)
        runners = self._settings.predict_runners or len(os.sched_getaffinity(0))
        batcher = MicroBatcher(
            predictor.infer,
            runners=runners,
            batch_tokens=self._settings.predict_batch_tokens,
            throughput=self._throughput,
        )
        return LoadedModel(predictor, batcher, size_bytes)

    def _offer(self, artifact: str) -> _Offer:
        config = json.loads(self._store.read(artifact, CONFIG_FILE) or b"{}")
        served = served_precision(config)
        return _Offer(served, config.get("precisions", [served]))

    async def _submit(self, wanted: Choice, encoded: Sequence[Encoded]) -> list[Future[Logits]]:
        while True:
            try:
                return (await self.get(wanted)).batcher.submit(encoded)
            except ClosedError:  # unloaded for another model while the texts were tokenised: load it again
                continue

    async def _gather(self, futures: list[Future[Logits]]) -> list[Logits]:
        try:
            async with asyncio.timeout(self._settings.predict_timeout_seconds):
                return list(await asyncio.gather(*(asyncio.wrap_future(future) for future in futures)))
        except TimeoutError as error:
            raise UnavailableError(
                f"no answer within {self._settings.predict_timeout_seconds:g} s", code="deadline_exceeded"
            ) from error


async def _off_loop(work: Callable[[Sequence[Any]], T], items: Sequence[Any]) -> T:
    """Do the work in a thread, unless it is so little that the change of thread would cost more."""
    if len(items) == 1 and len(str(items[0])) < _INLINE_CHARACTERS:
        return work(items)
    return await asyncio.to_thread(work, items)


def _encode(predictor: Predictor, examples: Sequence[Any]) -> Inputs:
    encoded = predictor.encode(examples)
    owned = [predictor.windows(e) for e in encoded]
    return Inputs(predictor, examples, encoded, owned, [window.encoded for windows in owned for window in windows])


def _decode(
    inputs: Inputs, logits: Sequence[Logits], options: PredictOptions, examples: Sequence[Any]
) -> list[Prediction]:
    rows = zip(inputs.predictor.merge(inputs.owned, logits), examples, inputs.encoded, strict=True)
    return [inputs.predictor.decode(values, example, e, options) for values, example, e in rows]


def _parse(task: Task[Any], items: Sequence[Any]) -> tuple[list[Any], list[tuple[int, str]]]:
    examples, problems = [], []
    for index, item in enumerate(items):
        try:
            _check_characters(item)
            examples.append(task.parse(item))
        except ValueError as error:
            problems.append((index, str(error)))
    return examples, problems


def _check_options(task: Task[Any], options: PredictOptions) -> None:
    if options.top_k > 1 and not task.ranks_labels:
        message = "only a model that answers with one label can list more of them; leave top_k out"
        raise InvalidInputError(f"top_k: {message}", [Problem("invalid_input", message, column="top_k")])


def _check_characters(item: Any) -> None:
    """JSON can escape half a surrogate pair; it is no character, and no tokenizer reads it."""
    texts = item.values() if isinstance(item, dict) else item if isinstance(item, list) else [item]
    for text in texts:
        try:
            _ = isinstance(text, str) and text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"character {error.start + 1} is half a surrogate pair, which is no character") from error
