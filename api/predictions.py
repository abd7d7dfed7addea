"""One prediction, from a reference and inputs to answers, whatever protocol it came by."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from api import steps
from api.admission import Admission
from api.calls import Logits, Results
from api.figures import PREDICT_CALLS, REFUSED_CALLS
from api.predictors import Choice, PredictorPool, embedding, no_embeddings
from api.resolving import VersionResolver, drawn
from api.rollout import Rollout
from api.shadowing import Answered, Shadows
from api.timings import Timings
from api.tracing import Tracing
from models_store.database import DATABASE_AWAY
from models_store.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    OverloadedError,
    Problem,
    ThawlineError,
    UnavailableError,
)
from models_store.precision import Precision
from models_store.predictor import Predictor
from models_store.settings import Settings
from models_store.specs import HeadName
from models_store.tables import ModelVersion
from models_store.tasks import Prediction, PredictOptions, Task, TaskName

DEFAULT_OPTIONS = PredictOptions()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call is answered with.

    Attributes:
        version: Which version answered.
        predictions: One for each input, in their order.
        timings: Where the time went.
        task: That of the version.
    """

    version: ModelVersion
    predictions: list[Prediction]
    timings: Timings
    task: Task[Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """How a caller wants to be answered.

    Attributes:
        options: What of the answer.
        precision: Of the version's models, if not the one that is served; such a call is never the canary's.
        routing_key: Calls with the same one get the same version of an alias that has a canary.
        timeout: Seconds that the caller will wait, if less than the server allows.
        listed: Whether the caller sent a list, so that a problem's place has a number.
    """

    options: PredictOptions = DEFAULT_OPTIONS
    precision: Precision | None = None
    routing_key: str | None = None
    timeout: float | None = None
    listed: bool = True


@dataclass(frozen=True, slots=True)
class Embeddings:
    """What a call for vectors is answered with.

    Attributes:
        version: Which version answered.
        vectors: One for each text, in their order, of unit length.
        pieces: Word pieces that were read, special tokens included.
        timings: Where the time went.
    """

    version: ModelVersion
    vectors: Sequence[Logits]
    pieces: int
    timings: Timings


class PredictionService:
    """Answers calls: admission, which version is meant, its loaded model, and the way through it."""

    def __init__(
        self,
        resolver: VersionResolver,
        rollout: Rollout,
        predictors: PredictorPool,
        shadows: Shadows,
        settings: Settings,
        tracing: Tracing | None = None,
    ) -> None:
        self._shadows = shadows
        self._tracing = tracing
        self._resolver = resolver
        self._rollout = rollout
        self._predictors = predictors
        self._most = settings.predict_queue_items
        self._longest = settings.predict_timeout_seconds
        self.admission = Admission(self._most, predictors.backlog_seconds)

    async def answer(self, reference: str, inputs: Sequence[Any], asked: Asked = Asked()) -> Answer:
        """Ask a model.

        Args:
            reference: name, name@3 or name@alias.
            inputs: Texts, token lists or pairs, as the model's task takes them.
            asked: How to answer.

        Raises:
            NotFoundError: No such model, version or alias.
            InvalidInputError: An input is none for this model (the problem tells which), or there are too many.
            OverloadedError: Too many texts wait already, or they would take longer than the caller waits.
            ArtifactCorruptError: The version's files cannot be loaded.
            ModelFailedError: The model gave a usable answer to none of the inputs.
            UnavailableError: The answer took longer than allowed.
        """
        async with self._admitted(reference, len(inputs), asked.timeout) as deadline:
            return await self._answer(reference, inputs, asked, deadline)

    async def embed(self, reference: str, texts: Sequence[str], timeout: float | None = None) -> Embeddings:  # noqa: ASYNC109
        """Vectors of texts, each read by itself.

        Args:
            reference: name, name@3 or name@alias.
            texts: What to embed.
            timeout: Seconds that the caller will wait, if less than the server allows.

        Raises:
            NotFoundError: No such model, version or alias.
            InvalidInputError: The model is no sentence encoder, or there are too many texts.
            OverloadedError: Too many texts wait already.
            ArtifactCorruptError: The version's files cannot be loaded.
            ModelFailedError: The model gave no vector to one of the texts.
            UnavailableError: The answer took longer than allowed.
        """
        async with self._admitted(reference, len(texts), timeout) as deadline:
            version = await self.version(reference)
            check_embeds(version)
            with _counted(version):
                return await self._embed_with(version, texts, deadline)

    async def loaded(self, reference: str) -> tuple[ModelVersion, Predictor]:
        """A version and its model, which can answer: it is loaded unless it is already.

        Raises:
            NotFoundError: No such model, version or alias.
            OverloadedError: Too many texts wait already.
            ArtifactCorruptError: The version's files cannot be loaded.
            UnavailableError: It took longer than allowed.
        """
        async with self._admitted(reference, 0):
            version = await self.version(reference)
            return version, (await self._predictors.get(Choice(version))).predictor

    @asynccontextmanager
    async def _admitted(self, reference: str, texts: int, timeout: float | None = None) -> AsyncIterator[float]:  # noqa: ASYNC109
        """Hold a permit for a call until its time is over, which is given as on the clock of `time.monotonic`."""
        if texts > self._most:
            raise InvalidInputError(f"{texts} inputs are too many for one call; send at most {self._most}")
        name = reference.partition("@")[0]
        seconds = min(timeout or self._longest, self._longest)
        try:
            # Before anything that takes its time: while a model loads, calls must not pile up without bound.
            async with asyncio.timeout(seconds) as limit:
                with self.admission.permit(name, texts):
                    yield time.monotonic() + seconds
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise UnavailableError(f"no answer within {seconds:g} s", code="deadline_exceeded") from error
        except OverloadedError:
            REFUSED_CALLS.labels(name if self._rollout.knows(reference) else "").inc()
            raise

    async def version(self, reference: str) -> ModelVersion:
        """The version that answers to a reference at the moment.

        Raises:
            NotFoundError: No such model, version or alias.
        """
        return self._rollout.answering(reference, await self._resolver.resolve(reference))

    async def refresh(self) -> None:
        """Look up what the names mean that models in memory answer to, so that a new version is loaded unasked."""
        for reference in self._rollout.answered():
            with suppress(NotFoundError, *DATABASE_AWAY):
                await self.version(reference)

    async def keep(self, reference: str, *, if_room: bool = False) -> None:
        """Have what answers to a reference in memory, as if it had just been asked.

        Args:
            reference: name, name@3 or name@alias.
            if_room: Leave it out if others would have to go.

        Raises:
            NotFoundError: No such model, version or alias.
            ArtifactCorruptError: The version's files cannot be loaded.
        """
        wanted = Choice(await self.version(reference))
        if not if_room or self._predictors.fits(wanted):
            await self._predictors.get(wanted)

    async def release(self, artifact: str) -> None:
        """Make sure that no name is answered by a version that is about to be deleted, though it means another.

        Raises:
            ConflictError: The version that is meant cannot be loaded, and this one answers in its place.
        """
        self._resolver.forget()  # an alias may have moved a moment ago
        for reference in self._rollout.answered_by(artifact):
            with suppress(NotFoundError):
                meant = await self._resolver.resolve(reference)
                if meant.artifact == artifact:
                    continue
                try:
                    await self._predictors.get(Choice(meant))
                except NotFoundError:
                    raise
                except ThawlineError as error:
                    raise ConflictError(
                        f"it still answers for {reference}, because version {meant.version} cannot be loaded "
                        f"({error.message}); let the alias point at a version that can, then delete this one"
                    ) from error

    async def _answer(self, reference: str, inputs: Sequence[Any], asked: Asked, deadline: float) -> Answer:
        route = await self._resolver.route(reference)
        primary = self._rollout.answering(reference, route.primary)
        version = primary if asked.precision else drawn(route, asked.routing_key)
        if version is not route.canary or not self._rollout.ready(version, beside=primary):
            version = primary
        with _counted(version):
            answer = await self._answer_with(version, inputs, asked, deadline)
        if asked.precision is None and version is route.primary:
            ask = partial(self._ask_shadow, beside=Choice(route.primary))
            self._shadows.follow(Answered(route, answer.task, inputs, answer.predictions), ask)
        return answer

    async def _ask_shadow(self, version: ModelVersion, inputs: Sequence[Any], beside: Choice) -> list[Prediction]:
        with self.admission.permit(version.model, len(inputs)):
            pass  # there is room now; held on to, the places would be missing to the next caller
        wanted = Choice(version)
        model = await self._predictors.get(wanted, beside)
        examples = await _examples(model.predictor.task, inputs, listed=True)
        encoded = await steps.encode(model.predictor, examples, inputs)
        async with asyncio.timeout(self._longest):
            results = await self._predictors.run(wanted, encoded.windows, self._longest)
        return await steps.decode(encoded, results.outcomes, DEFAULT_OPTIONS)

    async def _answer_with(self, version: ModelVersion, inputs: Sequence[Any], asked: Asked, deadline: float) -> Answer:
        wanted = await self._predictors.choose(version, asked.precision)
        model = await self._predictors.get(wanted)
        steps.check_options(model.predictor.task, asked.options)
        if (least := steps.least_windows(model.predictor, inputs)) > self._most:
            raise _too_long(f"at least {least}", self._most)
        examples = await _examples(model.predictor.task, inputs, listed=asked.listed)
        started = time.perf_counter()
        encoded = await steps.encode(model.predictor, examples, inputs)
        tokenised = time.perf_counter() - started
        model.figures.tokenise.observe(tokenised)
        results = await self._run(wanted, encoded, len(inputs), deadline)
        predictions = await steps.decode(encoded, results.outcomes, asked.options)
        timings = Timings(started, tokenised, results.queue_seconds, results.infer_seconds)
        self._trace(timings, version, len(inputs))
        return Answer(version, predictions, timings, model.predictor.task)

    async def _embed_with(self, version: ModelVersion, texts: Sequence[str], deadline: float) -> Embeddings:
        wanted = Choice(version)
        model = await self._predictors.get(wanted)
        started = time.perf_counter()
        encoded = await steps.encode_texts(model.predictor, texts)
        tokenised = time.perf_counter() - started
        model.figures.tokenise.observe(tokenised)
        results = await self._predictors.run(wanted, encoded, deadline - time.monotonic(), embedding)
        timings = Timings(started, tokenised, results.queue_seconds, results.infer_seconds)
        self._trace(timings, version, len(texts))
        return Embeddings(version, steps.all_given(results.outcomes), sum(map(len, encoded)), timings)

    def _trace(self, timings: Timings, version: ModelVersion, texts: int) -> None:
        if self._tracing:
            self._tracing.stages(timings, model=version.model, version=version.version, texts=texts)

    async def _run(self, wanted: Choice, inputs: steps.Inputs, permitted: int, deadline: float) -> Results:
        windows = inputs.windows
        if len(windows) > self._most:
            raise _too_long(str(len(windows)), self._most)
        with self.admission.more(wanted.version.model, len(windows) - permitted):
            return await self._predictors.run(wanted, windows, deadline - time.monotonic())


@contextmanager
def _counted(version: ModelVersion) -> Iterator[None]:
    """Count a call by its version, so that a canary can be watched; not if it was refused for what it is."""
    names = (version.model, str(version.version))
    try:
        yield
    except (InvalidInputError, OverloadedError):
        raise
    except Exception:
        PREDICT_CALLS.labels(*names, "failed").inc()
        raise
    PREDICT_CALLS.labels(*names, "answered").inc()


def _too_long(windows: str, most: int) -> InvalidInputError:
    return InvalidInputError(
        f"the texts are so long that they fill {windows} windows of the model; send at most {most} windows in one call"
    )


async def _examples(task: Task[Any], inputs: Sequence[Any], *, listed: bool) -> list[Any]:
    examples, refused = await steps.parse(task, inputs)
    if not refused:
        return examples
    errors = [
        Problem("invalid_input", message, column=f"inputs.{index}" if listed else "inputs")
        for index, message in refused
    ]
    raise InvalidInputError(f"{errors[0].column}: {errors[0].message}", errors)


def check_embeds(version: ModelVersion) -> None:
    """Refuse a version that cannot be a sentence encoder, as far as the registry knows.

    Raises:
        InvalidInputError: Says why.
    """
    asked = f"{version.model}@{version.version}"
    if version.task != TaskName.SIMILARITY:
        raise no_embeddings(f"{asked} is a {version.task} model; only similarity models have embeddings")
    if version.head != HeadName.SIAMESE:
        raise no_embeddings(
            f"{asked} reads the texts of a pair together (head {version.head}), so that one alone has no embedding; "
            f"train it with head {HeadName.SIAMESE}"
        )
