"""One prediction from a reference and inputs to answers, whatever protocol it came by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from api.admission import Admission
from api.figures import PREDICT_CALLS
from api.predictors import Choice, Inputs, PredictorPool
from api.resolving import VersionResolver, drawn
from api.shadowing import Answered, Shadows
from models_store.errors import InvalidInputError, OverloadedError, Problem
from models_store.precision import Precision
from models_store.settings import Settings
from models_store.tables import ModelVersion
from models_store.tasks import Prediction, PredictOptions

DEFAULT_OPTIONS = PredictOptions()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call is answered with.

    Attributes:
        version: Which version answered.
        predictions: One for each input, in their order.
    """

    version: ModelVersion
    predictions: list[Prediction]


class PredictionService:
    """Answers calls: admission, which version is meant, its loaded model, and the way through it."""

    def __init__(
        self,
        resolver: VersionResolver,
        admission: Admission,
        predictors: PredictorPool,
        shadows: Shadows,
        settings: Settings,
    ) -> None:
        self._shadows = shadows
        self._resolver = resolver
        self._admission = admission
        self._predictors = predictors
        self._most = settings.predict_queue_items

    async def answer(
        self,
        reference: str,
        inputs: Sequence[Any],
        options: PredictOptions = DEFAULT_OPTIONS,
        *,
        precision: Precision | None = None,
        routing_key: str | None = None,
        listed: bool = True,
    ) -> Answer:
        """Ask a model.

        Args:
            reference: name, name@3 or name@alias.
            inputs: Texts, token lists or pairs, as the model's task takes them.
            options: What else the caller wants to know.
            precision: Of the version's models, if not the one that is served; such a call is never the canary's.
            routing_key: Calls with the same one get the same version of an alias that has a canary.
            listed: Whether the caller sent a list, so that a problem's place has a number.

        Raises:
            NotFoundError: No such model, version or alias.
            InvalidInputError: An input is none for this model (the problem tells which), or there are too many.
            OverloadedError: Too many texts wait already.
            ArtifactCorruptError: The version's files cannot be loaded.
            UnavailableError: The answer took longer than allowed.
        """
        if len(inputs) > self._most:
            raise InvalidInputError(f"{len(inputs)} inputs are too many for one call; send at most {self._most}")
        # Before anything that takes its time: while a model loads, calls must not pile up without bound.
        with self._admission.permit(len(inputs)):
            route = await self._resolver.route(reference)
            version = drawn(route, routing_key) if precision is None else route.primary
            with _counted(version):
                wanted = await self._predictors.choose(version, precision)
                encoded = await self._encoded(wanted, inputs, options, listed=listed)
                with self._admission.more(len(encoded.windows) - len(inputs)):
                    predictions = await self._predictors.predict(wanted, encoded, options)
        if precision is None and version is route.primary:
            self._shadows.follow(Answered(route, encoded.predictor.task, inputs, predictions), self._ask_shadow)
        return Answer(version, predictions)

    async def _ask_shadow(self, version: ModelVersion, inputs: Sequence[Any]) -> list[Prediction]:
        with self._admission.permit(len(inputs)):
            pass  # there is room now; held on to, the places would be missing to the next caller
        wanted = Choice(version)
        encoded = await self._encoded(wanted, inputs, DEFAULT_OPTIONS, listed=True)
        return await self._predictors.predict(wanted, encoded, DEFAULT_OPTIONS)

    async def _encoded(self, wanted: Choice, inputs: Sequence[Any], options: PredictOptions, *, listed: bool) -> Inputs:
        examples, refused = await self._predictors.parse(wanted, inputs, options)
        if refused:
            raise _not_accepted(refused, listed=listed)
        encoded = await self._predictors.encode(wanted, examples)
        if len(encoded.windows) > self._most:
            raise _too_long(len(encoded.windows), self._most)
        return encoded


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


def _too_long(windows: int, most: int) -> InvalidInputError:
    return InvalidInputError(
        f"the texts are so long that they are read in {windows} windows; send at most {most} windows in one call"
    )


def _not_accepted(refused: Sequence[tuple[int, str]], *, listed: bool) -> InvalidInputError:
    errors = [
        Problem("invalid_input", message, column=f"inputs.{index}" if listed else "inputs")
        for index, message in refused
    ]
    return InvalidInputError(f"{errors[0].column}: {errors[0].message}", errors)
