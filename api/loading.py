"""From a version's files to a model that answers: verified, checked, warm, with threads that suit the machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from api.artifacts import config_of
from api.batching import MicroBatcher
from api.calls import Logits
from api.engines import Engines
from api.figures import PREDICT_DEVICE, ModelFigures
from api.throughput import Throughput
from models_store import golden
from models_store.artifacts import ArtifactStore
from models_store.errors import ArtifactCorruptError, ThawlineError, UnavailableError
from models_store.execution import GPU_UNAVAILABLE, Device, Interrupt, gpu_offered
from models_store.logging import get_logger
from models_store.precision import ONNX_FILES, Precision
from models_store.predictor import Predictor, served_precision
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
_CPU_BATCH_TOKENS = 512
_GPU_BATCH_TOKENS = 16_384
log = get_logger(__name__)


@dataclass(slots=True)
class LoadedModel:
    """A predictor with the threads that run it."""

    predictor: Predictor
    batcher: MicroBatcher
    figures: ModelFigures
    size_bytes: int
    embedder: MicroBatcher | None = None  # of a model that is a sentence encoder
    used_at: float = field(default_factory=time.monotonic)

    def close(self, patience: float) -> None:
        """Finish what waits, and end the threads; those that take longer than ``patience`` seconds are left behind."""
        for batcher in self.batchers:
            batcher.close(patience)
        self.figures.flush()

    @property
    def batchers(self) -> list[MicroBatcher]:
        """All that run it."""
        return [self.batcher, *([self.embedder] if self.embedder else [])]


@dataclass(frozen=True, slots=True)
class _EmbeddingEngine:
    """Gives vectors in place of logits."""

    predictor: Predictor

    def infer(self, batch: Sequence[Encoded], interrupt: Interrupt) -> Sequence[Logits]:
        """The vector of each text."""
        return self.predictor.embed(batch, interrupt)


@dataclass(frozen=True, slots=True)
class _Measured:
    """What a model needed for some texts on one thread, and the length from which several threads are quicker."""

    tokens: int
    seconds: float
    wide_from: int | None


class Loader:
    """Makes loaded models of versions. Slow: to be called in a thread."""

    def __init__(self, store: ArtifactStore, settings: Settings) -> None:
        self._store = store
        self._device = _device(settings.predict_device)
        self._runners = settings.predict_runners or usable_cores()
        self._threads = min(_MOST_THREADS, usable_cores())
        self._batch_tokens = settings.predict_batch_tokens
        self._may_fall_back = settings.predict_device == "auto"
        self._measured: dict[tuple[Path, Precision], _Measured] = {}  # a version is measured once

    def served(self, config: Mapping[str, Any]) -> Precision:
        """The precision that a version is loaded in unless a call asks for another, of what is in its configuration."""
        return served_precision(config, self._device)

    def load(self, version: ModelVersion, precision: Precision | None) -> LoadedModel:
        """The model of a version.

        Raises:
            NotFoundError: Its files are gone.
            ArtifactCorruptError: They differ from what was published, or give other answers.
            UnavailableError: The GPU that is to be used cannot be.
        """
        try:
            return self._load(version, precision, self._device)
        except UnavailableError as error:
            if not self._may_fall_back or error.code != GPU_UNAVAILABLE:
                raise
            log.error("models run on the CPU, for the GPU cannot be used", reason=error.message)
            self._device = Device.CPU
            return self._load(version, precision, Device.CPU)

    def _load(self, version: ModelVersion, precision: Precision | None, device: Device) -> LoadedModel:
        chosen = precision or served_precision(config_of(self._store, version), device)
        others = {name for other, name in ONNX_FILES.items() if other is not chosen}
        folder = self._store.verified_path(version.artifact, but=others)
        if chosen is Precision.INT8:
            device = Device.CPU  # there are no kernels for it on a GPU
        predictor = Predictor.load(folder, 1, chosen, device)
        try:
            golden.check(folder, predictor)
            engines = self._on_gpu(predictor) if device is Device.CUDA else self._on_cpu(folder, predictor)
        except ThawlineError:
            raise
        except Exception as error:  # onnxruntime raises bare Exceptions of its own
            raise ArtifactCorruptError(f"the model's files can be loaded, but give no answers: {error}") from error
        figures = ModelFigures(version.model, version.version)
        PREDICT_DEVICE.labels(device.value).inc()
        size = predictor.size_bytes * (1 + (engines.wide is not None))
        embedder = None
        if predictor.embedding_width is not None:
            vectors = replace(engines, narrow=_EmbeddingEngine(predictor), wide=None, throughput=Throughput())
            embedder = MicroBatcher(vectors, figures)
        return LoadedModel(predictor, MicroBatcher(engines, figures), figures, size, embedder)

    def _on_gpu(self, predictor: Predictor) -> Engines:
        """One runner, which the GPU is busy with; batches form meanwhile, and may be large."""
        _warm_up(predictor)
        return Engines(predictor, None, 1, batch_tokens=self._batch_tokens or _GPU_BATCH_TOKENS, batch_texts=512)

    def _on_cpu(self, folder: Path, narrow: Predictor) -> Engines:
        measured = self._measured.get((folder, narrow.precision))
        wide = None
        if self._threads > 1 and (measured is None or measured.wide_from is not None):
            wide = Predictor.load(folder, self._threads, narrow.precision)
        for predictor in filter(None, (narrow, wide)):
            _warm_up(predictor)
        if measured is None:
            measured = self._measured[folder, narrow.precision] = _measure(narrow, wide)
        throughput = Throughput()
        throughput.learn(measured.tokens, measured.seconds, self._runners)
        return Engines(
            narrow,
            wide if measured.wide_from is not None else None,
            self._runners,
            wide_from=measured.wide_from or 0,
            batch_tokens=self._batch_tokens or _CPU_BATCH_TOKENS,
            throughput=throughput,
        )


def _device(asked: str) -> Device:
    """Where to run: on a GPU if it is asked for, or offered."""
    if asked == "auto":
        return Device.CUDA if gpu_offered() else Device.CPU
    return Device(asked)


def _measure(narrow: Predictor, wide: Predictor | None) -> _Measured:
    tokens, seconds, wide_from = 0, 0.0, None
    for text in _texts(narrow, _TIMED_LENGTHS):
        alone = _time(narrow, text)
        tokens, seconds = tokens + len(text), seconds + alone
        if wide is not None and wide_from is None and _time(wide, text) < _WORTH_IT * alone:
            wide_from = len(text)
    return _Measured(tokens, seconds, wide_from)


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
