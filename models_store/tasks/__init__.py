"""The torch-free half of each machine-learning task; changes of what examples or answers *are* belong here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models_store.tasks.base import Encoded, Prediction, PredictOptions, Row, Task, TaskName
from models_store.tasks.classification import ClassificationTask
from models_store.tasks.similarity import SimilarityTask
from models_store.tasks.tagging import TaggingTask

AnyTask = ClassificationTask | TaggingTask | SimilarityTask

TASKS: dict[TaskName, type[AnyTask]] = {
    TaskName.CLASSIFICATION: ClassificationTask,
    TaskName.TAGGING: TaggingTask,
    TaskName.SIMILARITY: SimilarityTask,
}


def task_from_config(config: Mapping[str, Any]) -> Task[Any]:
    """The task, with its label space, that ``to_config`` wrote."""
    return TASKS[TaskName(config["task"])].from_config(config)


__all__ = ["TASKS", "Encoded", "PredictOptions", "Prediction", "Row", "Task", "TaskName", "task_from_config"]
