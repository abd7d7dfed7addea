"""What Prometheus is told."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

_REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_STAGE_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)

REQUESTS = Counter("thawline_http_requests_total", "HTTP requests", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "thawline_http_request_seconds", "Time to answer a request", ["method", "route"], buckets=_REQUEST_SECONDS
)

_MODEL = ["model", "version"]
_stage_seconds = Histogram(
    "thawline_predict_stage_seconds",
    "Time a prediction spends in a stage: tokenise (of a call), queue (of a text), infer (of a batch)",
    [*_MODEL, "stage"],
    buckets=_STAGE_SECONDS,
)
_batch_texts = Histogram("thawline_predict_batch_texts", "Texts run together", _MODEL, buckets=(1, 2, 4, 8, 16, 32, 64))
_tokens = Counter("thawline_predict_tokens_total", "Word pieces run, without and with padding", [*_MODEL, "kind"])
_failed_texts = Counter("thawline_predict_failed_texts_total", "Texts that a model gave no answer to", _MODEL)
_lost_runners = Counter("thawline_predict_lost_runners_total", "Runners that died or came to no end", _MODEL)

REFUSED_CALLS = Counter("thawline_predict_refused_calls_total", "Calls refused for overload (429)", ["model"])
SWITCH_FAILURES = Counter(
    "thawline_model_switch_failures_total", "New versions that could not be loaded; the old one went on", ["model"]
)


class Batch(NamedTuple):
    """What was run together: the length of each text in word pieces, how long each waited, how long all ran."""

    lengths: Sequence[int]
    waited: Sequence[float]
    seconds: float
    failed: int


class ModelFigures:
    """The figures of one version of a model; its labels are looked up once."""

    def __init__(self, model: str, version: int) -> None:
        labels = (model, str(version))
        self.tokenise = _stage_seconds.labels(*labels, "tokenise")
        self._queue = _stage_seconds.labels(*labels, "queue")
        self._infer = _stage_seconds.labels(*labels, "infer")
        self._batch_texts = _batch_texts.labels(*labels)
        self._real = _tokens.labels(*labels, "text")
        self._padding = _tokens.labels(*labels, "padding")
        self._failed = _failed_texts.labels(*labels)
        self._lost = _lost_runners.labels(*labels)
        self._batches: deque[Batch] = deque()

    def note(self, batch: Batch) -> None:
        """Remember a batch until `flush`; a runner has no time to lose."""
        self._batches.append(batch)

    def flush(self) -> None:
        """Take in what was noted."""
        with contextlib.suppress(IndexError):  # another thread may be at it, too
            while self._batches:
                self._take_in(self._batches.popleft())

    def _take_in(self, batch: Batch) -> None:
        lengths, waited, seconds, failed = batch
        self._infer.observe(seconds)
        self._batch_texts.observe(len(lengths))
        self._real.inc(sum(lengths))
        self._padding.inc(len(lengths) * max(lengths) - sum(lengths))
        if failed:
            self._failed.inc(failed)
        for one in waited:
            self._queue.observe(one)

    def lost_runners(self, number: int) -> None:
        """Take in runners that were replaced."""
        self._lost.inc(number)


PREDICT_CALLS = Counter(
    "thawline_predict_calls_total",
    "Prediction calls by version, answered or failed",
    ["model", "version", "outcome"],
)
_shadowed = ["model", "version", "shadow"]
SHADOW_COMPARISONS = Counter("thawline_shadow_comparisons_total", "Texts that a shadow answered as well", _shadowed)
SHADOW_DISAGREEMENTS = Counter("thawline_shadow_disagreements_total", "Of these, answered differently", _shadowed)
SHADOW_SKIPPED = Counter("thawline_shadow_skipped_total", "Texts that were not compared", [*_shadowed, "reason"])

WAITING_TEXTS = Gauge("thawline_predict_waiting_texts", "Texts waiting for their prediction or being run", ["model"])
_of_versions: list[MetricWrapperBase] = [
    _stage_seconds,
    _batch_texts,
    _tokens,
    _failed_texts,
    _lost_runners,
    PREDICT_CALLS,
    SHADOW_COMPARISONS,
    SHADOW_DISAGREEMENTS,
    SHADOW_SKIPPED,
]


def forget_figures(model: str, version: int | None = None) -> None:
    """Tell no more of a version that was deleted, or of all of a model: each costs memory, and time at every scrape."""
    labels = {"model": model} | ({"version": str(version)} if version is not None else {})
    for metric in _of_versions:
        metric.remove_by_labels(labels)


PREDICT_DEVICE = Counter("thawline_loaded_on_total", "Models loaded, by the device they run on", ["device"])
LOADED_MODELS = Gauge("thawline_loaded_models", "Model versions in memory")
LOADED_BYTES = Gauge("thawline_loaded_bytes", "Size of the files of the model versions in memory")

# Asked of database and broker at every scrape.
JOBS = Gauge("thawline_jobs", "Training jobs by status", ["status"])
WORKERS = Gauge("thawline_workers", "Workers that take jobs of a queue", ["queue"])
PENDING_WEBHOOKS = Gauge("thawline_webhooks_pending", "Webhooks that are still to be delivered")
BROKER_MESSAGES = Gauge("thawline_broker_messages", "Messages that wait in the broker")
