"""What a job would do, and about how long that would take, by what jobs here have taken."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from sqlalchemy import func
from sqlmodel import col, select

from models_store.database import Database
from models_store.encoders import DEFAULT_ENCODER
from models_store.jobs.asking import check_task
from models_store.jobs.looking import events
from models_store.specs import HeadName, PhaseName, PhaseSpec, TrainingSpec
from models_store.tables import Dataset, JobStatus, ModelVersion, TrainingJob

_JOBS = 5  # the latest ones by which time is judged
_EVENTS = 500  # of each
_LEAST = 0.3  # of the epochs, if training stops early
_SPARE = 1.5  # jobs that run beside it take time, too
_QUICK_HEADS = (HeadName.LINEAR, HeadName.SIAMESE, HeadName.CRF)  # docs/decisions/0009 has what heads cost
_QUICK_TRIAL, _TRIAL = 5.0, 30.0  # seconds on two cores
_WORD_CHARACTERS = 24  # a row of no length costs something, too


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a job: one of its phases, and what happens in it."""

    phase: str
    description: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a job takes, in seconds, and what that is judged by."""

    low_seconds: float
    high_seconds: float
    basis: str


def steps(spec: TrainingSpec, rows: dict[str, int]) -> list[Step]:
    """What a job does, in order; ``rows`` are those of each split."""
    return [
        Step("prepare", _preparation(spec, rows["train"])),
        *(Step(phase.name.value, _phase(spec, phase)) for phase in spec.phases()),
        Step("export", "writes the model as ONNX, and compares it with torch on real rows"),
        Step("evaluate", "measures the model on " + " and ".join(f"{name} rows" for name in rows if name != "train")),
    ]


def _preparation(spec: TrainingSpec, rows: int) -> str:
    heads = [head.value for head in spec.heads()]
    text = f"reads {rows} training rows in word pieces of {spec.base_model}"
    if len(heads) > 1:
        return f"{text}; tries the heads {', '.join(heads)} on the frozen encoder, and goes on with the best"
    return f"{text}; the head is {heads[0]}" if heads[0] is not HeadName.AUTO.value else text


def _phase(spec: TrainingSpec, phase: PhaseSpec) -> str:
    what = "head and encoder learn" if phase.trains_encoder else "the head learns, the encoder stays as it is"
    times = f", {spec.ensemble} times with different seeds" if spec.ensemble > 1 else ""
    return f"{what}{times}; at most {phase.epochs} epochs, and fewer where validation rows show no more gain"


def next_version(db: Database, spec: TrainingSpec) -> int:
    """Which version of its model a job would make.

    Raises:
        ConflictError: The model is one of another task.
    """
    with db.reading() as session:
        check_task(session, spec.model, spec.task)
        newest = session.exec(select(func.max(ModelVersion.version)).where(ModelVersion.model == spec.model)).one()
    return (newest or 0) + 1


def estimate(db: Database, spec: TrainingSpec, dataset: Dataset) -> Estimate | None:
    """How long a job would take; None where nothing is known of its encoder: no job with it has succeeded here."""
    with db.reading() as session:
        query = select(TrainingJob, Dataset).where(
            TrainingJob.status == JobStatus.SUCCEEDED, TrainingJob.dataset_id == Dataset.id
        )
        done = list(session.exec(query.order_by(col(TrainingJob.id).desc()).limit(4 * _JOBS)))
    alike = [(job, data) for job, data in done if job.spec["base_model"] == spec.base_model][:_JOBS]
    paces = [pace for job, data in alike if (pace := _pace(db, job, data)) is not None]
    basis = f"judged by {len(paces)} job(s) with this encoder here"
    if not paces:
        if spec.base_model != DEFAULT_ENCODER:
            return None
        paces, basis = [_TWO_CORES], "a guess: what two cores of a laptop take, as no job has run here"
    size = _size(dataset)
    low = high = statistics.median(pace.rest for pace in paces)
    if len(heads := spec.heads()) > 1:
        trials = sum(_trial_seconds(head, paces) for head in heads)
        low, high = low + trials, high + _SPARE * trials
    for phase in spec.phases():
        known = [pace.phases[phase.name] for pace in paces if phase.name in pace.phases]
        seconds = statistics.median(known) * size * phase.epochs * spec.ensemble if known else 0.0
        low, high = low + _LEAST * seconds, high + _SPARE * seconds
    return Estimate(low, high, basis)


@dataclass(frozen=True, slots=True)
class _Pace:
    """How fast a job was.

    Attributes:
        phases: Seconds for an epoch of a phase and a unit of the data's size.
        rest: Seconds for all besides.
        trials: Seconds in which each head was tried, if several were; they have as many steps whatever the data's size.
    """

    phases: dict[PhaseName, float]
    rest: float
    trials: dict[str, float] = field(default_factory=dict)


# Measured with the sample data of all three tasks and the default encoder.
_TWO_CORES = _Pace({PhaseName.HEAD: 3e-5, PhaseName.FULL: 2.5e-4}, rest=40.0)


def _pace(db: Database, job: TrainingJob, dataset: Dataset) -> _Pace | None:
    size = _size(dataset)
    if not size or job.started_at is None or job.finished_at is None:
        return None
    known = {phase.value for phase in PhaseName}
    phases: dict[PhaseName, float] = {}
    trials: dict[str, float] = {}
    spent = 0.0
    for event in events(db, job.id, after=0, limit=_EVENTS):
        data = event.data
        if event.type != "message" or "seconds" not in data:
            continue
        seconds = float(data["seconds"])
        if data.get("phase") in known and "epochs" in data:
            phases[PhaseName(data["phase"])] = seconds / max(1, int(data["epochs"])) / size
        elif "head" in data:
            trials[data["head"]] = seconds
        else:
            continue
        spent += seconds
    return _Pace(phases, max(0.0, (job.finished_at - job.started_at).total_seconds() - spent), trials)


def _trial_seconds(head: HeadName, paces: list[_Pace]) -> float:
    """How long it takes to try a head: what it took here or, where it was never tried, a guess."""
    known = [pace.trials[head.value] for pace in paces if head.value in pace.trials]
    return statistics.median(known) if known else _QUICK_TRIAL if head in _QUICK_HEADS else _TRIAL


def _size(dataset: Dataset) -> float:
    """How much there is to read in an epoch: rows times what a row costs."""
    rows = dataset.splits.get("train", {}).get("rows", 0)
    train = (dataset.statistics or {}).get("train", {})
    return float(rows * (_WORD_CHARACTERS + train.get("characters", {}).get("mean", _WORD_CHARACTERS)))
