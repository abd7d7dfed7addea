"""Builds the report of a run, and writes it and the model card beside the model."""

from __future__ import annotations

import importlib.metadata
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from models_store.predictor import DEFAULT_OPTIONS, Predictor
from models_store.reports import (
    CARD_FILE,
    REPORT_FILE,
    Calibration,
    Gain,
    HeadTrial,
    PrecisionReport,
    Report,
    SplitFigures,
    SplitReport,
    SplitSize,
)
from models_store.specs import HeadName, PhaseName
from models_store.tasks import Encoded, Row, Task
from models_store.tasks.base import FloatArray
from models_store.windows import Windowing
from worker.report.analyses import ANALYSES
from worker.report.card import model_card
from worker.report.history import History
from worker.request import PipelineRequest
from worker.training.data import Split

_LIBRARIES = ("torch", "transformers", "tokenizers", "onnx", "onnxruntime", "thawline")
_ROWS = 2_000  # analysed between two signs of life


def analyse(
    predictor: Predictor,
    rows: Sequence[Row],
    examples: Sequence[Any],
    encoded: Sequence[Encoded],
    logits: Sequence[FloatArray],
) -> Generator[int, None, SplitFigures]:
    """Decode the logits of a split as the API would, and see what the answers are worth.

    Yields:
        The number of rows done so far.

    Returns:
        The figures (``yield from``).
    """
    analysis = ANALYSES[predictor.task.objective](predictor.task)
    for number, row in enumerate(rows):
        prediction = predictor.decode(logits[number], examples[number], encoded[number], DEFAULT_OPTIONS)
        analysis.add(number, row, prediction)
        if number % _ROWS == 0:
            yield number
    return analysis.figures()


def build_report(
    request: PipelineRequest,
    task: Task[Any],
    head: HeadName,
    history: History,
    data: Mapping[str, Split],
    figures: Mapping[str, SplitReport],
    windowing: Windowing,
    precision: PrecisionReport,
) -> Report:
    """Everything that is known of a run whose model has been evaluated.

    Args:
        request: What was asked.
        task: The task with its label space.
        head: The head that was trained in the end.
        history: What has happened.
        data: All splits; those without rows are left out.
        figures: How good the exported model is, by split.
        windowing: How long texts were read.
        precision: In which precision the model is served.
    """
    space = task.to_config()
    hub = request.encoders.hub.get(request.spec.base_model)
    return Report(
        task=task.name,
        labels=space.get("labels", space.get("tags")),
        score_range=space.get("score_range"),
        base_encoder=request.spec.base_model,
        base_encoder_source=str(hub) if hub else None,
        head=head.value,
        dataset_id=request.spec.dataset_id,
        dataset_sha256=request.dataset_sha256,
        spec=request.spec.model_dump(mode="json"),
        rows={name: _size(part) for name, part in data.items() if len(part)},
        max_length=windowing.max_length,
        stride=windowing.stride,
        primary_metric=task.primary_metric,
        phases=history.phases,
        heads=[HeadTrial(**trial.model_dump(exclude={"kind"})) for trial in history.heads],
        gain=_gain(history, task.primary_metric, figures["validation"].metrics),
        calibration=_calibration(history, figures),
        precision=precision,
        splits=dict(figures),
        durations=history.durations(),
        libraries={name: importlib.metadata.version(name) for name in _LIBRARIES if _installed(name)},
    )


def _size(split: Split) -> SplitSize:
    return SplitSize(rows=len(split), windowed=split.windowed, truncated=split.truncated)


def write_report(report: Report, folder: Path) -> None:
    """Write ``report.json`` and ``README.md``."""
    (folder / REPORT_FILE).write_text(report.model_dump_json(indent=1), encoding="utf-8")
    (folder / CARD_FILE).write_text(model_card(report), encoding="utf-8")


def _gain(history: History, metric: str, final: Mapping[str, float]) -> Gain | None:
    """What training the encoder, too, has added; None where there was no such second phase."""
    phases: dict[str, list[float]] = defaultdict(list)
    for phase in history.phases:
        phases[phase.name].append(phase.metrics[metric])
    if not {PhaseName.HEAD, PhaseName.FULL} <= phases.keys():
        return None
    frozen = mean(phases[PhaseName.HEAD])  # of the members of an ensemble
    return Gain(metric=metric, frozen=frozen, final=final[metric], gain=final[metric] - frozen)


def _calibration(history: History, figures: Mapping[str, SplitReport]) -> Calibration | None:
    if history.calibration is None:
        return None
    reliability = figures["test"].reliability if "test" in figures else None
    ece_test = reliability.ece if reliability else None
    return Calibration(**history.calibration.model_dump(exclude={"kind"}), ece_test=ece_test)


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
