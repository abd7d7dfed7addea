"""From a version's files to a model that answers: verified, checked, warm, with threads that suit the machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from api.batching import Engines, MicroBatcher
from api.figures import ModelFigures
from api.throughput import Throughput
from models_store import golden
from models_store.artifacts import ArtifactStore
from models_store.precision import Precision
from models_store.predictor import Predictor
from models_store.process import usable_cores
from models_store.settings import Settings
from models_store.tables import ModelVersion
from models_store.tasks import Encoded, TaskName

_WARM_UP_LENGTHS = (8, 16, 32, 64, 128, 256)
_WARM_UP_SECONDS = 0.5  # a large model is warm after less
_TIMED_LENGTHS = (16, 64)
_TIMED_ROUNDS = 7
_WORTH_IT = 0.85  # of the narrow engine's time, or the wide one is not kept: it doubles the memory
_MOST_THREADS = 8


@dataclass(slots=True)
class LoadedModel:
    """A predictor with the threads that run it."""

    predictor: Predictor
    batcher: MicroBatcher
    figures: ModelFigures
    size_bytes: int
    used_at: float = field(default_factory=time.monotonic)

    def close(self) -> None:
        """Finish what waits, and end the threads."""
        self.batcher.close()
        self.figures.flush()


class Loader:
    """Makes loaded models of versions. Slow: to be called in a thread."""

    def __init__(self, store: ArtifactStore, settings: Settings) -> None:
        self._store = store
        self._runners = settings.predict_runners or usable_cores()
        self._threads = min(_MOST_THREADS, usable_cores())
        self._batch_tokens = settings.predict_batch_tokens

    def load(self, version: ModelVersion, precision: Precision | None) -> LoadedModel:
        """The model of a version.

        Raises:
            NotFoundError: Its files are gone.
            ArtifactCorruptError: They differ from what was published, or give other answers.
        """
        folder = self._store.verified_path(version.artifact)
        predictor = Predictor.load(folder, 1, precision)
        golden.check(folder, predictor)
        engines = self._engines(folder, predictor)
        figures = ModelFigures(version.model, version.version)
        batcher = MicroBatcher(engines, batch_tokens=self._batch_tokens, figures=figures)
        return LoadedModel(predictor, batcher, figures, predictor.size_bytes * (1 + (engines.wide is not None)))

    def _engines(self, folder: Path, narrow: Predictor) -> Engines:
        _warm_up(narrow)
        wide = Predictor.load(folder, self._threads, narrow.precision) if self._threads > 1 else None
        seconds = _time([narrow, wide] if wide else [narrow])
        throughput = Throughput()
        throughput.learn(sum(_TIMED_LENGTHS), seconds[0], self._runners)
        worth_it = wide is not None and seconds[1] < _WORTH_IT * seconds[0]
        return Engines(narrow, wide if worth_it else None, self._runners, throughput)


def _warm_up(predictor: Predictor) -> None:
    """The first runs of a shape set memory aside, and are slower."""
    until = time.perf_counter() + _WARM_UP_SECONDS
    for text in takewhile(lambda _: time.perf_counter() < until, _texts(predictor, _WARM_UP_LENGTHS)):
        predictor.infer([text])


def _time(predictors: Sequence[Predictor]) -> list[float]:
    """Seconds of each for the texts that are timed: the sum of their medians, all taking turns."""
    total = [0.0] * len(predictors)
    for text in _texts(predictors[0], _TIMED_LENGTHS):
        seconds: list[list[float]] = [[] for _ in predictors]
        for _ in range(_TIMED_ROUNDS):
            for place, predictor in enumerate(predictors):
                started = time.perf_counter()
                predictor.infer([text])
                seconds[place].append(time.perf_counter() - started)
        total = [sum_ + statistics.median(values) for sum_, values in zip(total, seconds, strict=True)]
    return total


def _texts(predictor: Predictor, lengths: Sequence[int]) -> Iterator[Encoded]:
    """Texts of so many pieces, no longer than the model takes; where it compares two, the second half is another."""
    pair = predictor.task.name is TaskName.SIMILARITY
    for length in sorted({min(length, predictor.windowing.max_length) for length in lengths}):
        second = length // 2 if pair else 0
        yield Encoded([1] * length, [0] * (length - second) + [1] * second, truncated=False)
