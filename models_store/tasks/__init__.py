"""The torch-free half of each machine-learning task; changes of what examples or answers *are* belong here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models_store.tasks.base import Encoded, Prediction, PredictOptions, Row, Target, Task, TaskName
from models_store.tasks.classification import ClassificationTask, MultiLabelTask
from models_store.tasks.similarity import SimilarityTask
from models_store.tasks.tagging import TaggingTask

AnyTask = ClassificationTask | MultiLabelTask | TaggingTask | SimilarityTask

# By name, and whether an answer is several labels.
TASKS: dict[tuple[TaskName, bool], type[AnyTask]] = {
    (TaskName.CLASSIFICATION, False): ClassificationTask,
    (TaskName.CLASSIFICATION, True): MultiLabelTask,
    (TaskName.TAGGING, False): TaggingTask,
    (TaskName.SIMILARITY, False): SimilarityTask,
}


def task_from_config(config: Mapping[str, Any]) -> Task[Any]:
    """The task, with its label space, that ``to_config`` wrote."""
    return TASKS[TaskName(config["task"]), config.get("multi_label", False)].from_config(config)


__all__ = ["TASKS", "Encoded", "PredictOptions", "Prediction", "Row", "Target", "Task", "TaskName", "task_from_config"]
