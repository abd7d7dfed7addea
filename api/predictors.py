"""Models in memory: loaded once, least recently used out first."""

from __future__ import annotations

import asyncio
import copy
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from api.artifacts import config_of
from api.batching import MicroBatcher
from api.calls import Call, ClosedError, Done, Results
from api.figures import LOADED_BYTES, LOADED_MODELS
from api.loading import LoadedModel, Loader
from models_store.artifacts import ArtifactStore
from models_store.errors import InvalidInputError, NotFoundError, Problem, UnavailableError
from models_store.logging import get_logger
from models_store.precision import Precision
from models_store.settings import Settings
from models_store.tables import ModelVersion
from models_store.tasks import Encoded

_PARALLEL_LOADS = 4
_REST_SECONDS = 3.0  # after a load that failed
_CLOSING_SECONDS = 5.0  # for what is still run when the process ends
TOO_OLD = "this version was exported before models had embeddings; train it again"

Key = tuple[str, Precision | None]  # a version's artifact, and the precision if not the one that is served
Batcher = Callable[[LoadedModel], MicroBatcher]  # of a model
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


def _predicting(model: LoadedModel) -> MicroBatcher:
    return model.batcher


def embedding(model: LoadedModel) -> MicroBatcher:
    """What gives the vectors of a model.

    Raises:
        InvalidInputError: It is no sentence encoder.
    """
    if model.embedder is None:
        raise no_embeddings(TOO_OLD)
    return model.embedder


def no_embeddings(message: str) -> InvalidInputError:
    """What a model that is no sentence encoder answers a call for vectors with."""
    return InvalidInputError(message, [Problem("no_embeddings", message, column="model")], code="no_embeddings")


class PredictorPool:
    """Loads versions on demand and keeps them, within a budget of memory."""

    def __init__(self, store: ArtifactStore, settings: Settings) -> None:
        self._loader = Loader(store, settings)
        self._store = store
        self._settings = settings
        self._loaded: OrderedDict[Key, LoadedModel] = OrderedDict()
        self._loading: dict[Key, asyncio.Task[LoadedModel]] = {}
        self._failed: dict[Key, tuple[float, Exception]] = {}
        self._gone: set[str] = set()
        self._offers: dict[str, _Offer] = {}
        self._sizes: dict[Key, int] = {}  # of all that were ever loaded
        # Threads of its own: a disk that hangs must not take those in which other calls tokenise.
        self._threads = ThreadPoolExecutor(_PARALLEL_LOADS, thread_name_prefix="load")

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
            offer = self._offers[version.artifact] = await asyncio.to_thread(self._offer, version)
        if precision not in offer.available:
            message = f"this version has no model in {precision}; it has {', '.join(offer.available)}"
            raise InvalidInputError(message, [Problem("precision_not_available", message, column="precision")])
        return Choice(version, None if precision is offer.served else precision)

    async def get(self, wanted: Choice, beside: Choice | None = None) -> LoadedModel:
        """The loaded model; parallel callers share one load.

        Args:
            wanted: Which.
            beside: See `load`.

        Raises:
            NotFoundError: The version was deleted meanwhile.
            ArtifactCorruptError: The version's files cannot be loaded, or give other answers than they should.
            UnavailableError: There is no room for it beside the other.
        """
        self._check_there(wanted.version.artifact)
        if (model := self._loaded.get(wanted.key)) is not None:
            self._loaded.move_to_end(wanted.key)
            model.used_at = time.monotonic()
            return model
        until, error = self._failed.get(wanted.key, (0.0, None))
        if error is not None and time.monotonic() < until:
            raise copy.copy(error)  # raised itself, it would collect what every caller had sent, in its traceback
        return await asyncio.shield(self.load(wanted, beside))

    def load(self, wanted: Choice, beside: Choice | None = None) -> asyncio.Task[LoadedModel]:
        """Begin to load a model, unless that is under way.

        Args:
            wanted: Which.
            beside: The model that callers wait for, if this one is a canary or a shadow of it: where there is no room
                for both, this one stays out.
        """
        task = self._loading.get(wanted.key)
        if task is None:
            task = self._loading[wanted.key] = asyncio.create_task(self._load(wanted, beside))
            task.add_done_callback(lambda _: self._loading.pop(wanted.key, None))
        return task

    def fits(self, wanted: Choice) -> bool:
        """Whether it is loaded, or was and can be without another one having to go."""
        held = sum(model.size_bytes for model in self._loaded.values())
        room = self._settings.model_cache_bytes - held
        return wanted.key in self._loaded or self._sizes.get(wanted.key, 0) <= room

    def has(self, wanted: Choice) -> bool:
        """Whether it is loaded."""
        return wanted.key in self._loaded

    async def run(
        self, wanted: Choice, encoded: Sequence[Encoded], seconds: float, of: Batcher = _predicting
    ) -> Results:
        """Run texts; see `MicroBatcher.submit`. Cancelled, it gives up what has not begun."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Results] = loop.create_future()

        def hand_over(results: Results) -> None:
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(_settle, future, results)

        call = await self._submit(wanted, encoded, hand_over, seconds, of)
        try:
            return await future
        except asyncio.CancelledError:
            call.cancel()
            raise

    async def _submit(
        self, wanted: Choice, encoded: Sequence[Encoded], done: Done, seconds: float, of: Batcher
    ) -> Call:
        while True:
            try:
                return of(await self.get(wanted)).submit(encoded, done, seconds=seconds)
            except ClosedError:  # unloaded for another model while the texts were tokenised: load it again
                continue

    def backlog_seconds(self) -> float:
        """How long the texts that wait will take, all models together."""
        return sum(batcher.backlog_seconds() for model in list(self._loaded.values()) for batcher in model.batchers)

    def trouble(self) -> str | None:
        """What is wrong with a loaded model at the moment."""
        for key, model in list(self._loaded.items()):
            if not all(batcher.healthy(self._settings.predict_timeout_seconds) for batcher in model.batchers):
                return f"a runner of {key[0]} died or hangs, and is about to be replaced"
        return None

    def tend(self) -> None:
        """What is to be done once in a while: replace lost runners, unload what nobody asks for."""
        self.flush_figures()
        for key, model in list(self._loaded.items()):
            if lost := sum(batcher.tend(self._settings.predict_timeout_seconds) for batcher in model.batchers):
                log.error("runners replaced", artifact=key[0], runners=lost)
            idle = time.monotonic() - model.used_at
            if idle > self._settings.model_idle_seconds:
                self._retire(key, self._loaded.pop(key))

    def flush_figures(self) -> None:
        """Tell Prometheus what the runners did."""
        for model in list(self._loaded.values()):
            model.figures.flush()

    async def unload(self, artifact: str) -> None:
        """Let go of a version whose files are deleted, and keep it out: it may be loading just now."""
        self._gone.add(artifact)
        self._offers.pop(artifact, None)
        self._sizes = {key: size for key, size in self._sizes.items() if key[0] != artifact}
        self._failed = {key: failure for key, failure in self._failed.items() if key[0] != artifact}
        for key in [key for key in self._loaded if key[0] == artifact]:
            self._retire(key, self._loaded.pop(key))

    def close(self) -> None:
        """Unload everything."""
        while self._loaded:
            self._loaded.popitem()[1].close(_CLOSING_SECONDS)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _load(self, wanted: Choice, beside: Choice | None) -> LoadedModel:
        key, started = wanted.key, time.monotonic()
        self._check_room(self._sizes.get(key, 0), beside)
        loop = asyncio.get_running_loop()
        try:
            model = await loop.run_in_executor(self._threads, self._loader.load, wanted.version, wanted.precision)
        except Exception as error:
            # To try again for every call would keep a core busy with files that are broken.
            self._failed[key] = (time.monotonic() + _REST_SECONDS, copy.copy(error))
            raise
        self._failed.pop(key, None)
        seconds = round(time.monotonic() - started, 2)
        log.info("model loaded", artifact=key[0], precision=model.predictor.precision, seconds=seconds)
        if key[0] in self._gone:
            self._retire(key, model)
        self._check_there(key[0])
        self._sizes[key] = model.size_bytes
        try:
            self._check_room(model.size_bytes, beside)
        except UnavailableError:
            self._retire(key, model)
            raise
        self._loaded[key] = model
        while (
            len(self._loaded) > 1
            and sum(m.size_bytes for m in self._loaded.values()) > self._settings.model_cache_bytes
        ):
            self._retire(*self._loaded.popitem(last=False))
        self._count()
        return model

    def _check_room(self, size_bytes: int, beside: Choice | None) -> None:
        """Refuse what would push out the model that it is to stand beside."""
        other = self._loaded.get(beside.key) if beside else None
        if other is not None and size_bytes + other.size_bytes > self._settings.model_cache_bytes:
            message = "THAWLINE_MODEL_CACHE_BYTES leaves no room for it beside the version that answers"
            raise UnavailableError(message, code="no_room")

    def _check_there(self, artifact: str) -> None:
        if artifact in self._gone:
            raise NotFoundError("this version of the model was deleted")

    def _retire(self, key: Key, model: LoadedModel) -> None:
        """Let its threads finish what waits, and end."""
        log.info("model unloaded", artifact=key[0], precision=model.predictor.precision)
        # A thread of its own, which the process does not wait for: a model that hangs takes its time.
        threading.Thread(target=model.close, args=[self._settings.predict_timeout_seconds], daemon=True).start()
        self._count()

    def _count(self) -> None:
        LOADED_MODELS.set(len(self._loaded))
        LOADED_BYTES.set(sum(m.size_bytes for m in self._loaded.values()))

    def _offer(self, version: ModelVersion) -> _Offer:
        config = config_of(self._store, version)
        served = self._loader.served(config)
        return _Offer(served, config.get("precisions", [served]))


def _settle(future: asyncio.Future[Results], results: Results) -> None:
    if not future.done():
        future.set_result(results)
