"""The model card: what people should know of a model before they use it (Mitchell et al. 2019, arXiv 1810.03993).

Markdown with the front matter that Hugging Face reads. No row of the data stands in it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from models_store.reports import Confusion, PhaseReport, Report, SplitReport
from models_store.specs import PhaseName
from models_store.tasks import TaskName
from worker.report.markdown import Cell, escaped, front_matter, table

_LISTED = 50  # labels
_CONFUSIONS = 10
_SETTINGS = ("strategy", "head", "ensemble", "gpus", "seed")
_FEW = 20  # rows of a label below which its figures are mostly chance
_NONE = "—"


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is to be said of all models of a task."""

    pipeline_tag: str
    what: str
    inputs: list[Any]
    limit: str


_KINDS = {
    TaskName.CLASSIFICATION: _Kind(
        "text-classification",
        "Labels a text.",
        ["A text to be labelled."],
        "It knows no other labels than its own, also for a text to which none of them fits.",
    ),
    TaskName.TAGGING: _Kind(
        "token-classification",
        "Gives a tag to each word of a text.",
        ["A text to be tagged."],
        "It splits texts into words as its training data was split; other spellings may be split differently.",
    ),
    TaskName.SIMILARITY: _Kind(
        "sentence-similarity",
        "Compares two texts.",
        [{"text": "One text.", "text_pair": "Another text."}],
        "It compares pairs and gives no vectors: to search among many texts, each pair must be asked for.",
    ),
}

_PHASES = {
    PhaseName.HEAD: "the head alone learns, on the frozen encoder.",
    PhaseName.FULL: "head and encoder learn together.",
}


def model_card(report: Report) -> str:
    """The card of a version, from its report."""
    sections = {
        "Answers": _answers(report),
        "Data": _data(report),
        "Training": _training(report),
        "How good it is": _metrics(report),
        "Calibration": _calibration(report),
        "Frequent confusions": _confusions(report),
        "Limits": _limits(report),
        "How to call it": _call(report),
    }
    text = "\n\n".join(f"## {heading}\n\n{body}" for heading, body in sections.items() if body)
    about = f"# {escaped(_name(report))}\n\n{_about(report)}"
    return f"{front_matter(_metadata(report))}\n{about}\n\n{text}\n"


def _name(report: Report) -> str:
    return str(report.spec["model"])


def _judged(report: Report) -> tuple[str, SplitReport]:
    """The split that tells most about new texts: the test rows if there are any."""
    name = "test" if "test" in report.splits else "validation"
    return name, report.splits[name]


def _metadata(report: Report) -> dict[str, Any]:
    kind = _KINDS[report.task]
    results = [
        {
            "task": {"type": kind.pipeline_tag, "name": report.task.value},
            "dataset": {"type": report.dataset_id, "name": report.dataset_id, "split": name},
            "metrics": [{"type": metric, "name": metric, "value": value} for metric, value in split.metrics.items()],
        }
        for name, split in report.splits.items()
    ]
    return {
        "library_name": "onnx",
        "pipeline_tag": kind.pipeline_tag,
        "base_model": (report.base_encoder_source or report.base_encoder).partition("@")[0],
        "tags": ["thawline", report.task.value, report.head, str(report.spec["strategy"])],
        "metrics": list(report.splits["validation"].metrics),
        "model-index": [{"name": _name(report), "results": results}],
    }


def _about(report: Report) -> str:
    encoder = escaped(report.base_encoder)
    if report.base_encoder_source:
        encoder += f" ({escaped(report.base_encoder_source)} on the hub)"
    members = int(report.spec.get("ensemble", 1))
    what = (
        f"A {escaped(report.head)} head"
        if members == 1
        else f"The mean of {members} models with {escaped(report.head)} heads"
    )
    made = f"{what} on the encoder {encoder}, trained and exported to one ONNX file by Thawline."
    return f"{_KINDS[report.task].what} {made}"


def _answers(report: Report) -> str:
    if report.score_range is not None:
        low, high = report.score_range
        return f"A score between {low:g} and {high:g}."
    labels = report.labels or []
    more = f", of which the first {_LISTED} are:" if len(labels) > _LISTED else ":"
    return f"{len(labels)} labels{more}\n\n{table(['label'], [[label] for label in labels[:_LISTED]])}"


def _data(report: Report) -> str:
    rows: list[list[Cell]] = [[name, size.rows, size.windowed, size.truncated] for name, size in report.rows.items()]
    return f"Data set {escaped(report.dataset_id)}; SHA-256 of its training file: {report.dataset_sha256}.\n\n" + table(
        ["split", "rows", "read in windows", "cut"], rows
    )


def _training(report: Report) -> str:
    asked = {name: report.spec[name] for name in _SETTINGS if name in report.spec}
    values = {**asked, **report.spec["hyperparameters"]}
    phases: list[list[Cell]] = [
        [_phase(phase, report), phase.epochs, phase.best_epoch, _kept(phase), f"{phase.seconds:.1f}"]
        for phase in report.phases
    ]
    names = dict.fromkeys(phase.name for phase in report.phases)
    trials: list[list[Cell]] = [[trial.head, trial.metric, trial.score] for trial in report.heads]
    parts = [
        "\n".join(f"- {escaped(name)}: {_PHASES[PhaseName(name)]}" for name in names),
        table(["phase", "epochs", "best epoch", "kept epoch", "seconds"], phases),
        *(["Heads tried on the frozen encoder:", table(["head", "metric", "score"], trials)] if trials else []),
        table(["setting", "value"], [[name, str(value)] for name, value in values.items()]),
        "Made with " + ", ".join(f"{escaped(name)} {escaped(v)}" for name, v in report.libraries.items()) + ".",
    ]
    return "\n\n".join(parts)


def _phase(phase: PhaseReport, report: Report) -> str:
    return f"{phase.name}, member {phase.member}" if report.spec.get("ensemble", 1) > 1 else phase.name


def _kept(phase: PhaseReport) -> str:
    return (
        "mean of the last"
        if phase.averaged
        else str(phase.best_epoch if phase.kept_epoch is None else phase.kept_epoch)
    )


def _metrics(report: Report) -> str:
    names = list(report.splits)
    metrics: list[list[Cell]] = [
        [metric, *(split.metrics[metric] for split in report.splits.values())]
        for metric in report.splits["validation"].metrics
    ]
    parts = [table(["metric", *names], metrics)]
    if gain := report.gain:
        parts.append(
            f"After the frozen phase the validation {escaped(gain.metric)} was {gain.frozen:.4f}, "
            f"at the end {gain.final:.4f} ({gain.gain:+.4f}). The head learns gently there, to prepare for the second "
            "phase: what a model of the frozen encoder alone would reach was not measured."
        )
    name, split = _judged(report)
    if split.classes:
        rows: list[list[Cell]] = [[c.label, c.precision, c.recall, c.f1, c.support] for c in split.classes[:_LISTED]]
        parts += [f"On the {name} rows:", table(["label", "precision", "recall", "f1", "support"], rows)]
    if split.scores:
        parts.append(f"Mean absolute error on the {name} rows: {split.scores.mean_absolute_error:.4f}.")
    return "\n\n".join(parts)


def _calibration(report: Report) -> str:
    name, split = _judged(report)
    parts = []
    if found := report.calibration:
        parts.append(
            f"Temperature {found.temperature:.2f}, fitted to the validation rows; expected calibration error there "
            f"{found.ece_before:.4f} before and {found.ece_after:.4f} after."
        )
    if split.reliability:
        error = split.reliability.ece
        parts.append(f"Expected calibration error of the finished model on the {name} rows: {error:.4f}.")
    return " ".join(parts)


def _confusions(report: Report) -> str:
    name, split = _judged(report)
    if split.confusion is None or not (pairs := _wrong_pairs(split.confusion)):
        return ""
    worst = sorted(pairs, key=lambda pair: -pair[2])[:_CONFUSIONS]
    note = "" if split.confusion.missed is None else f" {_NONE} stands for no entity with the same first and last word."
    return f"On the {name} rows.{note}\n\n{table(['true', 'predicted', 'times'], worst)}"


def _wrong_pairs(confusion: Confusion) -> list[tuple[str, str, int]]:
    labels = confusion.labels
    pairs = [
        (true, predicted, confusion.counts[i][j])
        for i, true in enumerate(labels)
        for j, predicted in enumerate(labels)
        if i != j
    ]
    pairs += [(label, _NONE, count) for label, count in zip(labels, confusion.missed or [], strict=False)]
    pairs += [(_NONE, label, count) for label, count in zip(labels, confusion.spurious or [], strict=False)]
    return [pair for pair in pairs if pair[2]]


def _limits(report: Report) -> str:
    name, split = _judged(report)
    limits = [
        "It knows texts like those it was trained on; on other subjects, styles or languages nothing was measured.",
        _KINDS[report.task].limit,
        f"Texts of more than {report.max_length} word pieces are {'read in windows' if report.stride else 'cut'}.",
    ]
    if name == "validation":
        limits.append("There were no test rows. The validation rows steered the training, so their figures flatter it.")
    few = sum(figures.support < _FEW for figures in split.classes or [])
    if few:
        limits.append(f"{few} of its labels have fewer than {_FEW} {name} examples: their figures are mostly chance.")
    limits.append("Whether it treats groups of people alike was not looked at.")
    return "\n".join(f"- {limit}" for limit in limits)


def _call(report: Report) -> str:
    body = json.dumps({"inputs": _KINDS[report.task].inputs})
    return (
        "With the address of your Thawline:\n\n"
        f"    curl http://127.0.0.1:8000/predict/{_name(report)} \\\n"
        f"      -H 'Content-Type: application/json' -d '{body}'\n\n"
        "All figures of this card, and more, are in `report.json`."
    )
