"""``thawline datasets``."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.options import (
    Columns,
    DataFile,
    Encoding,
    LabelSeparator,
    Limit,
    OnError,
    OnErrorOption,
    Task,
    TaskOption,
    Test,
    Validation,
    upload_options,
)
from api.cli.session import ExitStatus, Session, command

if TYPE_CHECKING:
    import thawline

app = typer.Typer(no_args_is_help=True, help="Upload data sets, check them, look at them.")
Id = Annotated[str, typer.Argument(help="Of the data set: ds_…")]


@command(app)
def upload(
    session: Session,
    file: DataFile,
    task: TaskOption,
    validation: Validation = None,
    test: Test = None,
    name: Annotated[str | None, typer.Option(help="Of the data set; by default that of FILE")] = None,
    column: Columns = None,
    label_separator: LabelSeparator = None,
    encoding: Encoding = None,
    on_error: OnErrorOption = OnError.REFUSE,
) -> None:
    """Upload a data set; each row is validated, and with any error nothing is stored.

    Example: thawline datasets upload train.csv --task classification
    """
    options = upload_options(
        validation=validation, test=test, name=name, column=column,
        label_separator=label_separator, encoding=encoding, on_error=on_error,
    )  # fmt: skip
    found = session.client.upload(file, task=task, **options)
    _warn(session, found)
    rows = ", ".join(f"{split.rows} {name}" for name, split in found.splits.items())
    session.out.done(found.raw, found.id, f"{found.id}: {rows} rows of {found.task}")


@command(app)
def validate(
    session: Session,
    file: DataFile,
    task: TaskOption,
    validation: Validation = None,
    test: Test = None,
    column: Columns = None,
    label_separator: LabelSeparator = None,
    encoding: Encoding = None,
    on_error: OnErrorOption = OnError.REFUSE,
) -> None:
    """Say all that an upload would be told, and store nothing. The exit status is 3 where it would be refused.

    Example: thawline datasets validate train.csv --task classification
    """
    options = upload_options(
        validation=validation, test=test, column=column,
        label_separator=label_separator, encoding=encoding, on_error=on_error,
    )  # fmt: skip
    found = session.client.validate(file, task=task, **options)
    _warn(session, found)
    if session.out.as_json:
        session.out.json(dict(found.raw))
    else:
        header = ("file", "line", "column", "code", "message", "row")
        problems = [(p.file, p.line, p.column, p.code, p.message, p.row) for p in (*found.errors, *found.skipped)]
        if problems:
            session.out.table(header, problems)
    if not found.valid:
        skipping = "" if on_error is OnError.SKIP else ", or upload with --on-error skip"
        session.out.note(f"{found.error_count} problem(s): correct them{skipping}")
        raise typer.Exit(ExitStatus.REFUSED_DATA)
    session.out.note("the data can be uploaded")


@command(app)
def show(session: Session, dataset_id: Id) -> None:
    """Show a data set: its splits, its labels, its warnings."""
    found = session.client.dataset(dataset_id)
    pairs: list[tuple[str, Any]] = [
        ("id", found.id), ("name", found.name), ("task", found.task), ("status", found.status),
        ("format", found.format), ("created", found.created_at),
    ]  # fmt: skip
    pairs += [(f"{name} rows", split.rows) for name, split in found.splits.items()]
    pairs += [(f"label {label.label}", label.count) for label in found.labels]
    session.out.record(found.raw, pairs)
    _warn(session, found)


@command(app, "list")
def list_datasets(session: Session, task: Annotated[Task | None, typer.Option()] = None, limit: Limit = 20) -> None:
    """List data sets, the newest first."""
    found = list(islice(session.client.datasets(task=task), limit))
    rows = [(d.id, d.name, d.task, d.status, d.splits["train"].rows if d.splits else None, d.created_at) for d in found]
    session.out.rows([d.raw for d in found], ("id", "name", "task", "status", "rows", "created"), rows)


@command(app)
def delete(session: Session, dataset_id: Id) -> None:
    """Delete a data set that no queued or running job uses."""
    session.client.delete_dataset(dataset_id)
    session.out.done({"id": dataset_id, "deleted": True}, dataset_id, f"{dataset_id} is deleted")


def _warn(session: Session, found: thawline.Dataset | thawline.Validation) -> None:
    for warning in found.warnings:
        lines = f" (lines {', '.join(map(str, warning.lines[:5]))}…)" if warning.lines else ""
        session.out.note(f"warning: {warning.message}{lines}")
