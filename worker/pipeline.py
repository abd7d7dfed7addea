"""One job from rows to files: data → train → export → parity gate → evaluate. Runs in the training process."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from models_store import golden
from models_store.datasets import read_split
from models_store.precision import ONNX_FILES
from models_store.predictor import Predictor
from models_store.reports import PrecisionReport, Report, SplitReport
from models_store.specs import Strategy
from models_store.tasks import Row, Task, task_from_config
from models_store.windows import Windowing
from worker.comparing import compare
from worker.fingerprint import fingerprint_of
from worker.hub import fetch
from worker.report import History, analyse, build_report, write_report
from worker.request import PipelineRequest
from worker.training.calibration import HIGHEST, calibrate
from worker.training.checkpoints import Checkpoints
from worker.training.data import Split, TokenInputs, TrainingData
from worker.training.encoder import LoadedEncoder, load_encoder
from worker.training.ensemble import Ensemble, train_ensemble
from worker.training.events import Event, Finished, Message, StageStarted, Working
from worker.training.export import check_parity, export_model
from worker.training.features import FeatureStore
from worker.training.hardware import Hardware
from worker.training.long_texts import report_long, tokenise_all
from worker.training.model import TaskModel
from worker.training.options import TrainingOptions
from worker.training.pacing import paced
from worker.training.precision import COMPARED_ROWS, passes
from worker.training.precision import choose as choose_precision
from worker.training.scoring import score
from worker.training.selection import HYBRID_BUDGET, choose_head


@dataclass(frozen=True, slots=True)
class _Prepared:
    data: TrainingData
    test: Split
    windowing: Windowing

    @property
    def splits(self) -> dict[str, Split]:
        """All of them by their names."""
        return {"train": self.data.train, "validation": self.data.validation, "test": self.test}


def run(request: PipelineRequest, stop: threading.Event | None = None) -> Iterator[Event]:
    """Train, export, evaluate and report; the files lie in ``output_dir`` when `Finished` is yielded.

    Args:
        request: What to do.
        stop: Set when the process is about to be stopped: the training then writes a checkpoint as soon as it can.

    Raises:
        ThawlineError: Encoder, training or export failed; the message is for the user.
    """
    history = History()
    return history.recording(_run(request, history, stop))


def _run(request: PipelineRequest, history: History, stop: threading.Event | None) -> Iterator[Event]:
    spec = request.spec
    hardware = Hardware(request.device, gpus=spec.gpus)
    source = request.encoders.find(spec.base_model)
    yield from fetch(source)
    encoder = load_encoder(source)
    task = task_from_config(request.dataset_schema)
    prepared = _prepare(request, task, encoder)
    yield from report_long(prepared.windowing, prepared.splits, spec.hyperparameters.max_length)

    candidates = spec.heads()
    torch.manual_seed(spec.seed)  # before the head's weights are drawn
    model = TaskModel(encoder.model, task, candidates[0], spec.hyperparameters.dropout)
    yield _describe(hardware)
    team = hardware.team
    options = TrainingOptions(spec.hyperparameters, spec.seed, hardware, request.scratch_dir, team)
    features = FeatureStore(encoder.pad_id, hardware, request.scratch_dir)
    checkpoints = Checkpoints(
        request.checkpoint_dir if team.is_main else None,
        fingerprint_of(request, source, hardware.device.type),
        interval=request.checkpoint_seconds,
        asked=stop,
    )
    if len(candidates) > 1:
        # Where a second phase follows, trials may not cost too much beside it; where none does, they are the job.
        budget = math.inf if spec.strategy is Strategy.FROZEN else HYBRID_BUDGET
        history.heads = yield from choose_head(
            model, candidates, prepared.data, options, features, checkpoints.scope("heads"), budget=budget
        )
        yield Message(message=f"chosen head: {model.head_name}", data={"head": model.head_name})
    trained = yield from train_ensemble(
        model, spec.ensemble, spec.phases(), prepared.data, options, features, checkpoints.scope("training")
    )

    team.disband()
    if not team.is_main:
        return
    if not any(phase.best_epoch for phase in history.phases):
        message = "no epoch was better on the validation rows than what it began with: do not rely on this version"
        yield Message(level="warning", message=f"{message}; try a smaller learning rate, more epochs or more data")
    yield from _calibrate(trained, prepared.data, hardware)
    yield StageStarted(stage="export")
    windowing = prepared.windowing
    export_model(trained, encoder, task, request.output_dir, max_length=windowing.max_length, stride=windowing.stride)
    predictor = Predictor.load(request.output_dir, request.threads)
    difference = check_parity(trained, predictor, prepared.data.validation)
    yield Message(message=f"exported; logits within {difference:.1e} of torch", data={"parity": difference})
    predictor, precision = yield from _choose_precision(request, predictor, prepared.data.validation)
    available = [one for one, name in ONNX_FILES.items() if (request.output_dir / name).is_file()]
    golden.record(
        request.output_dir,
        {one: Predictor.load(request.output_dir, request.threads, one) for one in available},
        prepared.data.validation.rows[:COMPARED_ROWS],
    )
    yield Message(message=f"served in {precision.served}: {precision.reason}", data=precision.model_dump())

    yield StageStarted(stage="evaluate")
    started = time.monotonic()
    figures = {"validation": (yield from _evaluate(predictor, prepared.data.validation))}
    if len(prepared.test):
        figures["test"] = yield from _evaluate(predictor, prepared.test)
    yield Message(message="evaluated", data={"seconds": round(time.monotonic() - started, 2)})
    report = build_report(request, task, model.head_name, history, prepared.splits, figures, windowing, precision)
    if request.incumbent is not None:
        report.comparison = yield from compare(request.incumbent, task, figures, prepared.splits, request.threads)
    write_report(report, request.output_dir)
    yield Finished(result=_result(report), manifest=_manifest(report, task, difference))


def _prepare(request: PipelineRequest, task: Task[Any], encoder: LoadedEncoder) -> _Prepared:
    rows = {split: read_split(request.dataset_dir, split) for split in ("train", "validation", "test")}
    windowing, splits = tokenise_all(task, encoder, rows, request.spec.hyperparameters.max_length)
    data = TrainingData(task, splits["train"], splits["validation"], encoder.pad_id)
    return _Prepared(data, splits["test"], windowing)


def _choose_precision(
    request: PipelineRequest, original: Predictor, validation: Split
) -> Generator[Event, None, tuple[Predictor, PrecisionReport]]:
    asked = request.spec.export.precision
    work = choose_precision(request.output_dir, original, asked, validation, request.threads)
    total = passes(asked, embeds=original.embedding_width is not None) * min(len(validation), COMPARED_ROWS)
    return paced(work, lambda done: Working(stage="export", done=done, total=total))


def _evaluate(predictor: Predictor, split: Split) -> Generator[Event, None, SplitReport]:
    """What the exported model is worth, as it will answer in production."""
    rows: list[Row] = list(split.rows)

    def working(done: int) -> Working:
        return Working(stage="evaluate", done=done, total=len(rows))

    scored = yield from paced(score(predictor, rows), working)
    figures = yield from paced(analyse(predictor, rows, scored.examples, scored.encoded, scored.logits), working)
    return SplitReport(metrics=scored.metrics, **dict(figures))


def _describe(hardware: Hardware) -> Message:
    kind, size = hardware.device.type, hardware.team.size
    data = {"device": kind, "processes": size, "precision": hardware.precision, "threads": torch.get_num_threads()}
    return Message(message=f"training on {f'{size} × ' * (size > 1)}{kind}", data=data)


def _calibrate(model: TaskModel | Ensemble, data: TrainingData, hardware: Hardware) -> Iterator[Event]:
    windows = len(data.validation.windows)
    work = calibrate(model.to(hardware.device), TokenInputs(data.validation, data.pad_id), data.task, hardware)
    found = yield from paced(work, lambda done: Working(stage="evaluate", done=done, total=windows))
    if found is None:
        return
    yield found
    if found.temperature > 0.99 * HIGHEST:
        message = (
            "the model was sure of wrong answers on the validation rows: its scores are all made alike, and say little"
        )
        yield Message(level="warning", message=f"{message}; more data, or more validation rows, will help")


def _result(report: Report) -> dict[str, Any]:
    """What the job shows: the report in short."""
    phases = [phase.model_dump(exclude={"curve"}) for phase in report.phases]
    return {
        "head": report.head,
        "heads": [trial.model_dump() for trial in report.heads],
        "metrics": _metrics(report),
        "calibration": report.calibration.model_dump() if report.calibration else None,
        "precision": report.precision.model_dump() if report.precision else None,
        "promotion": report.comparison.model_dump() if report.comparison else None,
        "long_texts": _long_texts(report),
        "phases": [{**phase, "seconds": round(phase["seconds"], 2)} for phase in phases],
    }


def _manifest(report: Report, task: Task[Any], parity: float) -> dict[str, Any]:
    return {
        "kind": "model",
        "task": task.to_config(),
        "labels": report.labels,
        "metrics": _metrics(report),
        "base_encoder": report.base_encoder,
        "base_encoder_source": report.base_encoder_source,
        "head": report.head,
        "spec": report.spec,
        "long_texts": _long_texts(report),
        "parity_max_difference": parity,
        "precision": report.precision.model_dump() if report.precision else None,
        "comparison": report.comparison.model_dump() if report.comparison else None,
        "libraries": report.libraries,
    }


def _long_texts(report: Report) -> dict[str, Any]:
    counts = {name: size.model_dump(exclude={"rows"}) for name, size in report.rows.items()}
    return {"max_length": report.max_length, "stride": report.stride, **counts}


def _metrics(report: Report) -> dict[str, dict[str, float] | None]:
    splits = report.splits
    return {name: splits[name].metrics if name in splits else None for name in ("validation", "test")}
