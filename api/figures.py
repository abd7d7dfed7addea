"""What Prometheus is told."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_STAGE_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)

REQUESTS = Counter("thawline_http_requests_total", "HTTP requests", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "thawline_http_request_seconds", "Time to answer a request", ["method", "route"], buckets=_REQUEST_SECONDS
)

_stage_seconds = Histogram(
    "thawline_predict_stage_seconds", "Time a prediction spends in a stage", ["stage"], buckets=_STAGE_SECONDS
)
TOKENISE_SECONDS = _stage_seconds.labels("tokenise")  # of a call
QUEUE_SECONDS = _stage_seconds.labels("queue")  # of a text, until a runner takes it
INFER_SECONDS = _stage_seconds.labels("infer")  # of a batch
BATCH_TEXTS = Histogram("thawline_predict_batch_texts", "Texts run together", buckets=(1, 2, 4, 8, 16, 32, 64))

PREDICT_CALLS = Counter(
    "thawline_predict_calls_total",
    "Prediction calls by version, answered or failed",
    ["model", "version", "outcome"],
)
_shadowed = ["model", "version", "shadow"]
SHADOW_COMPARISONS = Counter("thawline_shadow_comparisons_total", "Texts that a shadow answered as well", _shadowed)
SHADOW_DISAGREEMENTS = Counter("thawline_shadow_disagreements_total", "Of these, answered differently", _shadowed)
SHADOW_SKIPPED = Counter("thawline_shadow_skipped_total", "Texts that were not compared", [*_shadowed, "reason"])

WAITING_TEXTS = Gauge("thawline_predict_waiting_texts", "Texts waiting for their prediction or being run")
LOADED_MODELS = Gauge("thawline_loaded_models", "Model versions in memory")
LOADED_BYTES = Gauge("thawline_loaded_bytes", "Size of the files of the model versions in memory")

# Asked of database and broker at every scrape.
JOBS = Gauge("thawline_jobs", "Training jobs by status", ["status"])
BROKER_MESSAGES = Gauge("thawline_broker_messages", "Messages that wait in the broker")
