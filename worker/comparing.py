"""The new model against the version in production: the same rows, the same `Predictor`, the metric that counts."""

from __future__ import annotations

import traceback
from collections.abc import Generator
from typing import Any

from models_store.artifacts import verified_manifest
from models_store.predictor import Predictor
from models_store.reports import Comparison, SplitReport
from models_store.tasks import Row, Task
from worker.request import Incumbent
from worker.training.data import Split
from worker.training.events import Event, Message, Working
from worker.training.pacing import paced
from worker.training.scoring import score


def compare(
    incumbent: Incumbent, task: Task[Any], figures: dict[str, SplitReport], splits: dict[str, Split], threads: int
) -> Generator[Event, None, Comparison]:
    """Score the incumbent on the test rows of the new model's data; on the validation rows where there are none.

    Whatever is wrong with the incumbent becomes the comparison's ``obstacle``: it must not cost the new model its job.

    Args:
        incumbent: The version in production.
        task: Of the new model.
        figures: How good that is, by split.
        splits: The rows.
        threads: CPU threads of an inference.

    Returns:
        What came of it (``yield from``).
    """
    split = "test" if "test" in figures else "validation"
    rows: list[Row] = list(splits[split].rows)
    metric = task.primary_metric
    comparison = Comparison(
        compared_with=incumbent.version, metric=metric, new=figures[split].metrics[metric], split=split, rows=len(rows)
    )
    try:
        verified_manifest(incumbent.folder, f"version {incumbent.version}")
        predictor = Predictor.load(incumbent.folder, threads)
        if (obstacle := _obstacle(predictor.task, task)) is None:
            scored = yield from paced(
                score(predictor, rows), lambda done: Working(stage="evaluate", done=done, total=len(rows))
            )
            comparison.old = scored.metrics[metric]
        comparison.obstacle = obstacle
    except Exception as error:  # noqa: BLE001 (see above)
        traceback.print_exc()
        comparison.obstacle = str(error) or type(error).__name__
    yield _told(comparison)
    return comparison


def _obstacle(old: Task[Any], new: Task[Any]) -> str | None:
    """Why the answers of two models cannot be scored alike; other labels, tags or ranges are no reason."""
    if old.objective is new.objective and old.primary_metric == new.primary_metric:
        return None
    return f"its answers are of another kind ({_kind(old)} instead of {_kind(new)})"


def _kind(task: Task[Any]) -> str:
    return f"{task.objective.value.replace('_', ' ')}, by {task.primary_metric}"


def _told(comparison: Comparison) -> Message:
    old = f"version {comparison.compared_with}"
    if comparison.old is None:
        message = f"{old} cannot be compared with: {comparison.obstacle}"
        return Message(level="warning", message=message, data=comparison.model_dump())
    message = (
        f"{comparison.metric} on {comparison.rows} {comparison.split} rows: {comparison.new:.4f}, "
        f"and {comparison.old:.4f} of {old}"
    )
    return Message(message=message, data=comparison.model_dump())
