"""``thawline train``."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.options import (
    Columns,
    Encoding,
    LabelSeparator,
    OnError,
    OnErrorOption,
    Task,
    Test,
    Validation,
    pairs,
    upload_options,
)
from api.cli.session import Session, command
from api.cli.watching import tell_started, watch


class Strategy(StrEnum):
    """Which phases are trained."""

    HYBRID = "hybrid"
    FINETUNE = "finetune"
    FROZEN = "frozen"


class Promote(StrEnum):
    """Whether the new version becomes the one in production."""

    ALWAYS = "always"
    IF_BETTER = "if_better"
    NEVER = "never"


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "train", rich_help_panel="Use it")(train)


def train(
    session: Session,
    file: Annotated[str, typer.Argument(help="Rows to learn from, or the id of a data set (ds_…)")],
    name: Annotated[str, typer.Option(help="Of the model")],
    task: Annotated[Task | None, typer.Option(help="What the model is to do; of a data set it is known")] = None,
    validation: Validation = None,
    test: Test = None,
    column: Columns = None,
    label_separator: LabelSeparator = None,
    encoding: Encoding = None,
    on_error: OnErrorOption = OnError.REFUSE,
    strategy: Annotated[
        Strategy | None, typer.Option(help="hybrid: the head, then head and encoder; frozen: the head alone")
    ] = None,
    head: Annotated[str | None, typer.Option(help="auto, or one of the task's heads")] = None,
    base_model: Annotated[str | None, typer.Option(help="The encoder to begin with")] = None,
    hyperparameter: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Such as full_epochs=5; see docs/training.md"),
    ] = None,
    ensemble: Annotated[int | None, typer.Option(min=1, help="Models whose answers are averaged")] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    precision: Annotated[str | None, typer.Option(help="Of the served model: auto, fp32, int8, fp16")] = None,
    promote: Annotated[Promote | None, typer.Option(help="Whether the new version becomes production")] = None,
    priority: Annotated[str | None, typer.Option(help="low, normal or high")] = None,
    queue: Annotated[str | None, typer.Option(help="cpu or gpu; by default either")] = None,
    follow: Annotated[bool, typer.Option("--watch", "-w", help="Show both phases until the end")] = False,
) -> None:
    """Start a training job: upload FILE, and train a version of a model on it.

    Example: thawline train train.csv --task classification --name support-intent --watch
    """
    given = {
        "strategy": strategy, "head": head, "base_model": base_model, "ensemble": ensemble, "seed": seed,
        "promote": promote, "priority": priority, "queue": queue,
        "export": {"precision": precision} if precision else None,
        "hyperparameters": _values(hyperparameter),
    }  # fmt: skip
    spec: dict[str, Any] = {option: value for option, value in given.items() if value not in (None, {})}
    spec |= upload_options(
        validation=validation, test=test, column=column, label_separator=label_separator,
        encoding=encoding, on_error=on_error if on_error is OnError.SKIP else None,
    )  # fmt: skip
    if task is None and (not file.startswith("ds_") or Path(file).exists()):
        raise typer.BadParameter("say what the model is to do", param_hint="--task")
    job = session.client.train(file, model=name, task=task, **spec)
    (watch if follow else tell_started)(session, job)


def _values(given: list[str] | None) -> dict[str, Any]:
    """Hyperparameters: numbers and booleans as JSON has them, all else as text."""
    values: dict[str, Any] = {}
    for name, text in pairs(given or (), "--set").items():
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return values
