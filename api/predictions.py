"""One prediction from a reference and inputs to answers, whatever protocol it came by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from api.admission import Admission
from api.batching import Logits
from api.predictors import Choice, PredictorPool, VersionResolver, no_embeddings
from models_store.errors import InvalidInputError, Problem
from models_store.precision import Precision
from models_store.predictor import Predictor
from models_store.settings import Settings
from models_store.specs import HeadName
from models_store.tables import ModelVersion
from models_store.tasks import Prediction, PredictOptions, TaskName

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


@dataclass(frozen=True, slots=True)
class Embeddings:
    """What a call for vectors is answered with.

    Attributes:
        version: Which version answered.
        vectors: One for each text, in their order, of unit length.
        pieces: Word pieces that were read, special tokens included.
    """

    version: ModelVersion
    vectors: Sequence[Logits]
    pieces: int


class PredictionService:
    """Answers calls: admission, which version is meant, its loaded model, and the way through it."""

    def __init__(
        self, resolver: VersionResolver, admission: Admission, predictors: PredictorPool, settings: Settings
    ) -> None:
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
        listed: bool = True,
    ) -> Answer:
        """Ask a model.

        Args:
            reference: name, name@3 or name@alias.
            inputs: Texts, token lists or pairs, as the model's task takes them.
            options: What else the caller wants to know.
            precision: Of the version's models, if not the one that is served.
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
            version = await self._resolver.resolve(reference)
            wanted = await self._predictors.choose(version, precision)
            examples, refused = await self._predictors.parse(wanted, inputs, options)
            if refused:
                raise _not_accepted(refused, listed=listed)
            encoded = await self._predictors.encode(wanted, examples)
            if len(encoded.windows) > self._most:
                raise _too_long(len(encoded.windows), self._most)
            with self._admission.more(len(encoded.windows) - len(inputs)):
                predictions = await self._predictors.predict(wanted, encoded, options)
        return Answer(version, predictions)

    async def loaded(self, reference: str, precision: Precision | None = None) -> tuple[ModelVersion, Predictor]:
        """A version and its model, which can answer: it is loaded unless it is already.

        Raises:
            NotFoundError: No such model, version or alias.
            InvalidInputError: The version has no model in this precision.
            OverloadedError: Too many texts wait already.
            ArtifactCorruptError: The version's files cannot be loaded.
        """
        with self._admission.permit(0):
            version = await self._resolver.resolve(reference)
            wanted = await self._predictors.choose(version, precision)
            return version, (await self._predictors.get(wanted)).predictor

    async def embed(self, reference: str, texts: Sequence[str]) -> Embeddings:
        """Vectors of texts, each read by itself.

        Raises:
            NotFoundError: No such model, version or alias.
            InvalidInputError: The model is no sentence encoder, or there are too many texts.
            OverloadedError: Too many texts wait already.
            ArtifactCorruptError: The version's files cannot be loaded.
            UnavailableError: The answer took longer than allowed.
        """
        if len(texts) > self._most:
            raise InvalidInputError(f"{len(texts)} texts are too many for one call; send at most {self._most}")
        with self._admission.permit(len(texts)):
            version = await self._resolver.resolve(reference)
            wanted = Choice(version)
            check_embeds(version)
            encoded = await self._predictors.encode_texts(wanted, texts)
            vectors = await self._predictors.embed(wanted, encoded)
        return Embeddings(version, vectors, sum(len(e) for e in encoded))


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
