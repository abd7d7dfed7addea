"""The report of a version: how its training went and how good the model is. The worker writes it, the API serves it.

docs/report.md explains each figure to readers.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from models_store.artifacts import ArtifactStore
from models_store.errors import NotFoundError
from models_store.tables import ModelVersion
from models_store.tasks import TaskName

REPORT_FILE = "report.json"
CARD_FILE = "README.md"


class CurvePoint(BaseModel):
    """An epoch of a phase; epoch 0 is the state in which the phase began."""

    epoch: int
    train_loss: float | None
    validation_loss: float
    learning_rate: float
    metrics: dict[str, float]
    seconds: float
    best: Annotated[bool, Field(description="Better on the validation rows than every epoch before it")]


class PhaseReport(BaseModel):
    """A phase of training and its learning curve."""

    name: str
    member: Annotated[int, Field(description="Of an ensemble, from 1")] = 1
    epochs: int
    best_epoch: Annotated[int, Field(description="With the best validation figure; 0: none beat the start")]
    kept_epoch: Annotated[
        int | None, Field(description="Whose weights are kept: the latest not clearly worse; null in old reports")
    ] = None
    averaged: Annotated[bool, Field(description="The mean over the last epochs' weights is kept instead")] = False
    seconds: float
    metrics: dict[str, float]
    curve: list[CurvePoint]


class HeadTrial(BaseModel):
    """How good a head was on the frozen encoder when ``auto`` compared them."""

    head: str
    metric: str
    score: float
    seconds: float


class Gain(BaseModel):
    """A validation metric after the frozen phase and of the finished model."""

    metric: str
    frozen: float
    final: float
    gain: float


class Calibration(BaseModel):
    """The temperature, and the expected calibration error before and after it on the rows that it was fitted to.

    ``ece_test`` is that of the finished model on rows that nothing was fitted to.
    """

    temperature: float
    ece_before: float
    ece_after: float
    examples: int
    ece_test: float | None = None


class PrecisionFigures(BaseModel):
    """What a model is worth in one precision, and what an answer to a text of middling length takes on one thread.

    There is no time where half precision was compared without a GPU.
    """

    score: float
    milliseconds: float | None
    size_bytes: int


class PrecisionReport(BaseModel):
    """In which precision the model is served, and why: ``agreement`` is the share of answers that are the same.

    ``gpu`` says the same of serving on a GPU, where that was measured or asked for.
    """

    asked: str
    served: str
    reason: str
    metric: str | None = None
    agreement: float | None = None
    embedding_similarity: Annotated[
        float | None,
        Field(description="Of a sentence encoder: mean cosine of the texts' vectors with those in single precision"),
    ] = None
    rows: Annotated[int | None, Field(description="Validation rows that were compared")] = None
    figures: Annotated[dict[str, PrecisionFigures], Field(description="By precision")] = {}
    gpu: PrecisionReport | None = None


class Comparison(BaseModel):
    """A new version against the one in production, by the metric that counts and on the same rows."""

    compared_with: Annotated[int | None, Field(description="The version in production when the training began")] = None
    metric: str | None = None
    new: float | None = None
    old: Annotated[float | None, Field(description="null: it could not be compared, for `obstacle`")] = None
    split: Annotated[Literal["test", "validation"] | None, Field(description="test, where there is one")] = None
    rows: int | None = None
    obstacle: str | None = None


class ClassFigures(BaseModel):
    """Precision, recall and F1 of one label, tag or entity type; ``support`` is how often it is true."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


class Confusion(BaseModel):
    """What was taken for what: ``counts[true][predicted]``, both in the order of ``labels``.

    Where ``folded`` is not 0, the last row and column stand for that many rarer labels together. For entities, a pair
    is counted where both begin and end at the same words; ``missed`` (by true label) and ``spurious`` (by predicted
    label) count the rest.
    """

    labels: list[str]
    counts: list[list[int]]
    folded: int = 0
    missed: list[int] | None = None
    spurious: list[int] | None = None


class ReliabilityBin(BaseModel):
    """Answers whose confidence lies between ``lower`` and ``upper``: their mean confidence, and how many were right."""

    lower: float
    upper: float
    count: int
    confidence: float | None
    accuracy: float | None


class Reliability(BaseModel):
    """How far the model's confidence can be believed."""

    unit: Annotated[Literal["row", "word", "label"], Field(description="What an answer is")]
    ece: Annotated[float, Field(description="Expected calibration error: mean gap of confidence and accuracy")]
    bins: list[ReliabilityBin]


class ScoreGroup(BaseModel):
    """A tenth of the rows, by their true score."""

    lower: float
    upper: float
    count: int
    true_mean: float
    predicted_mean: float


class ScoreFigures(BaseModel):
    """How far predicted scores are from true ones, in the data's own unit."""

    mean_absolute_error: float
    deciles: list[ScoreGroup]


class Span(BaseModel):
    """Tagged words; ``start`` and ``end`` are characters of the whole text, one blank between its words."""

    label: str
    text: str
    start: int
    end: int


class WorstError(BaseModel):
    """A wrong answer. Of a tagged sentence, or a text with several labels, only what was wrong is listed."""

    row: Annotated[int, Field(description="Position in the split, from 0")]
    text: str
    text_pair: str | None = None
    shortened: Annotated[bool, Field(description="A text is longer than what stands here, which then ends in …")]
    true: str | float | list[str] | list[Span]
    predicted: str | float | list[str] | list[Span]
    score: Annotated[
        float,
        Field(
            description="Probability of the wrong label; number of wrong labels, entities or words; or absolute error"
        ),
    ]


class SplitFigures(BaseModel):
    """What the answers to the rows of a split are worth; parts that make no sense for the task are null."""

    classes: Annotated[list[ClassFigures] | None, Field(description="By label, plain tag or entity type")] = None
    word_tags: Annotated[list[ClassFigures] | None, Field(description="By BIO tag, word by word")] = None
    confusion: Confusion | None = None
    reliability: Reliability | None = None
    scores: ScoreFigures | None = None
    errors: Annotated[int | None, Field(description="Rows with a wrong answer; scores are never quite right")]
    worst_errors: list[WorstError]


class SplitReport(SplitFigures):
    """How good the exported model is on a split."""

    metrics: dict[str, float]


class SplitSize(BaseModel):
    """Rows of a split, and how many of them were read in windows, or lost text to the maximum length."""

    rows: int
    windowed: int = 0
    truncated: int


class Report(BaseModel):
    """How a version was trained and how good it is."""

    object: Literal["model.report"] = "model.report"
    task: TaskName
    labels: list[str] | None
    score_range: tuple[float, float] | None
    base_encoder: str
    base_encoder_source: Annotated[
        str | None, Field(description="repository@commit of an encoder from the hub; null: it was local")
    ] = None
    head: str
    dataset_id: str
    dataset_sha256: Annotated[str, Field(description="Of the training file")]
    spec: dict[str, Any]
    rows: Annotated[dict[str, SplitSize], Field(description="By split")]
    max_length: Annotated[int, Field(description="Word pieces that are read at once; longer pairs are cut")]
    stride: Annotated[
        int | None, Field(description="Pieces from one window of a long text to the next; null: not windowed")
    ] = None
    primary_metric: str
    phases: list[PhaseReport]
    heads: list[HeadTrial]
    gain: Gain | None
    calibration: Calibration | None
    precision: Annotated[PrecisionReport | None, Field(description="null: from before there was a choice")] = None
    comparison: Annotated[
        Comparison | None, Field(description="With the version in production, where the job asked for it")
    ] = None
    splits: Annotated[dict[str, SplitReport], Field(description="validation, and test where there is one")]
    durations: Annotated[dict[str, float], Field(description="Seconds, by stage")]
    libraries: Annotated[dict[str, str], Field(description="Versions of the libraries that made the model")]


def read_report(store: ArtifactStore, version: ModelVersion) -> Report:
    """The report that lies among a version's files.

    Raises:
        NotFoundError: The version was published before reports were written.
        ArtifactCorruptError: The file differs from what was published.
    """
    return Report.model_validate_json(_file(store, version, REPORT_FILE, "report"))


def read_card(store: ArtifactStore, version: ModelVersion) -> bytes:
    """The model card that lies among a version's files, in Markdown; raises what `read_report` does."""
    return _file(store, version, CARD_FILE, "card")


def _file(store: ArtifactStore, version: ModelVersion, name: str, what: str) -> bytes:
    content = store.read(version.artifact, name)
    if content is None:
        message = f"version {version.version} of {version.model!r} has no {what}: it is older than {what}s are"
        raise NotFoundError(message, code=f"{what}_not_found")
    return content
