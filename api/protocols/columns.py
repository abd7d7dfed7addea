"""What each task takes and answers with, as columns of texts, numbers and JSON: one row a text or pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic_core import to_json

from api.protocols.oip import Datatype, TensorOut
from api.protocols.tensors import Tensor, refused
from models_store.errors import quoted
from models_store.tasks import Prediction, Task, TaskName
from models_store.tasks.base import ObjectiveName

INPUTS: dict[TaskName, tuple[str, ...]] = {
    TaskName.CLASSIFICATION: ("text",),
    TaskName.TAGGING: ("text",),
    TaskName.SIMILARITY: ("text", "text_pair"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """An output.

    Attributes:
        name: What it is called.
        datatype: Of its values.
        take: Its value of a prediction, or its values.
        wide: Whether it has several values a row.
    """

    name: str
    datatype: Datatype
    take: Callable[[Prediction], Any]
    wide: bool = False

    def tensor(self, predictions: Sequence[Prediction]) -> Tensor:
        """Of these predictions."""
        rows = [self.take(prediction) for prediction in predictions]
        if not self.wide:
            return Tensor(self.name, self.datatype, (len(rows),), rows)
        width = len(rows[0]) if rows else 0
        return Tensor(self.name, self.datatype, (len(rows), width), [value for row in rows for value in row])

    def describe(self) -> TensorOut:
        """For the model's metadata."""
        return TensorOut(name=self.name, datatype=self.datatype, shape=[-1, -1] if self.wide else [-1])


def _member(name: str, prediction: Prediction) -> Any:
    return prediction[name]


def _json(name: str, prediction: Prediction) -> str:
    return to_json(prediction[name]).decode()


def _best(name: str, prediction: Prediction) -> list[Any]:
    """Of the ``top_k`` likeliest labels; without that option, of the likeliest."""
    return [entry[name] for entry in prediction.get("scores", [prediction])]


def _truncated(prediction: Prediction) -> bool:
    return bool(prediction.get("truncated", False))


_LABEL = Column("label", "BYTES", partial(_member, "label"))
_SCORE = Column("score", "FP32", partial(_member, "score"))
_TOP = (
    Column("top_labels", "BYTES", partial(_best, "label"), wide=True),
    Column("top_scores", "FP32", partial(_best, "score"), wide=True),
)
_OUTPUTS: dict[ObjectiveName, tuple[Column, ...]] = {
    ObjectiveName.CROSS_ENTROPY: (_LABEL, _SCORE),
    # A text has as many labels as it has, which no tensor can say; as JSON nothing is padded or left out.
    ObjectiveName.MULTI_LABEL: (Column("labels", "BYTES", partial(_json, "labels")), _LABEL, _SCORE),
    ObjectiveName.TOKEN_CROSS_ENTROPY: tuple(
        Column(name, "BYTES", partial(_json, name)) for name in ("entities", "tokens")
    ),
    ObjectiveName.GRADED: (_SCORE,),
}
_TRUNCATED = Column("truncated", "BOOL", _truncated)


def examples_of(task: TaskName, texts: Mapping[str, Sequence[str]]) -> list[Any]:
    """What our own protocol would call the inputs, from the texts of each tensor.

    Raises:
        InvalidInputError: These are not the tensors that the task takes, or they differ in their rows.
    """
    names = INPUTS[task]
    if set(texts) != set(names):
        sent = ", ".join(map(quoted, sorted(texts)))
        raise refused("inputs", f"a {task} model takes {' and '.join(names)}, not {sent}")
    if len({len(rows) for rows in texts.values()}) > 1:
        raise refused("inputs", f"{' and '.join(names)} differ in their number of rows")
    if len(names) == 1:
        return list(texts[names[0]])
    return [dict(zip(names, row, strict=True)) for row in zip(*(texts[name] for name in names), strict=True)]


def columns_of(task: Task[Any]) -> tuple[Column, ...]:
    """Every output of a model, those that are left out unless they are asked for at the end."""
    cut = () if task.windowed else (_TRUNCATED,)
    return (*_OUTPUTS[task.objective], *cut, *(_TOP if task.ranks_labels else ()))


def chosen(task: Task[Any], names: Sequence[str] | None, top_k: int) -> list[Column]:
    """The outputs that a request wants.

    Raises:
        InvalidInputError: The model has none of this name, or one is named twice.
    """
    columns = {column.name: column for column in columns_of(task)}
    if names is None:
        return [column for column in columns.values() if column not in _TOP or top_k > 1]
    for index, name in enumerate(names):
        if name not in columns:
            raise refused(f"outputs.{index}", f"the model has no output {quoted(name)}; it has {', '.join(columns)}")
    if len(set(names)) < len(names):
        raise refused("outputs", "an output is named twice")
    return [columns[name] for name in names]
