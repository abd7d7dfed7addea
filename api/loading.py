"""From a version's files to a model that answers: verified, checked, warm, with threads that suit the machine."""

from __future__ import annotations

import math
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
_TIMED_LENGTHS = (16, 32, 64, 128)
_TIMED_ROUNDS = 5
_WORTH_IT = 0.9  # of the narrow engine's time, or the wide one is not kept: it doubles the memory
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
        throughput = Throughput()
        quicker_from = None
        for text in _texts(narrow, _TIMED_LENGTHS):
            alone, shared = _time(narrow, text), _time(wide, text) if wide else math.inf
            throughput.learn(len(text), alone, self._runners)
            if quicker_from is None and shared < _WORTH_IT * alone:
                quicker_from = len(text)
        if quicker_from is None:
            return Engines(narrow, None, self._runners, throughput=throughput)
        return Engines(narrow, wide, self._runners, quicker_from, throughput)


def _warm_up(predictor: Predictor) -> None:
    """The first runs of a shape set memory aside, and are slower."""
    until = time.perf_counter() + _WARM_UP_SECONDS
    for text in takewhile(lambda _: time.perf_counter() < until, _texts(predictor, _WARM_UP_LENGTHS)):
        predictor.infer([text])


def _time(predictor: Predictor, text: Encoded) -> float:
    """Seconds of a text: the median of a few runs."""
    seconds = []
    for _ in range(_TIMED_ROUNDS):
        started = time.perf_counter()
        predictor.infer([text])
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _texts(predictor: Predictor, lengths: Sequence[int]) -> Iterator[Encoded]:
    """Texts of so many pieces, no longer than the model takes; where it compares two, the second half is another."""
    pair = predictor.task.name is TaskName.SIMILARITY
    for length in sorted({min(length, predictor.windowing.max_length) for length in lengths}):
        second = length // 2 if pair else 0
        yield Encoded([1] * length, [0] * (length - second) + [1] * second, truncated=False)
