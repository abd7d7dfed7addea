"""``thawline predict``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.options import Columns, pairs
from api.cli.rows import Answers, Form, Writer, batches, inputs_of, read
from api.cli.session import Session, command

if TYPE_CHECKING:
    import thawline

_BATCH = 32  # rows of a pipe that are asked at once: few, so that answers flow


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "predict", rich_help_panel="Use it")(predict)


def predict(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="Of the model")],
    text: Annotated[str | None, typer.Argument(help="By default each row of --file or of the standard input")] = None,
    pair: Annotated[str | None, typer.Option(help="The other text, of a similarity model")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", exists=True, dir_okay=False, help="Answer all of a file")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Where the answers to --file go")] = None,
    column: Columns = None,
    input_form: Annotated[
        Form | None, typer.Option("--from", help="Of the standard input; by default it is seen")
    ] = None,
    output_form: Annotated[
        Answers | None, typer.Option("--to", help="Of the answers; by default like what comes in")
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Labels to list")] = 1,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Leave out what is less sure")] = None,
) -> None:
    """Ask a model: one text, a whole file, or what comes through a pipe.

    Example: thawline predict support-intent "Where is my parcel?"
    """
    columns = pairs(column or (), "--column")
    options: Any = {"top_k": top_k, "threshold": threshold}
    if file is not None:
        if text is not None or input_form is not None or top_k > 1 or threshold is not None:
            raise typer.BadParameter("a file is answered whole: TEXT, --from, --top-k and --threshold are not for it")
        _answer_file(session, name, file, out, columns, output_form)
    elif out is not None:
        raise typer.BadParameter("answers to a text or a pipe go to the standard output", param_hint="--out")
    elif text is not None:
        _answer_text(session, session.client.model(name), (text, pair) if pair is not None else text, options)
    elif sys.stdin.isatty():
        raise typer.BadParameter("give a text, or --file, or pipe rows into it", param_hint="TEXT")
    else:
        _answer_pipe(session, session.client.model(name), input_form, output_form, columns, options)


def _answer_text(session: Session, model: thawline.Model, asked: Any, options: Any) -> None:
    answers = model.predict([asked], **options)
    answer = answers[0]
    if session.out.as_json or not session.out.is_terminal:
        session.out.json({"model": answers.model, "version": answers.version, **answer.raw})
        return
    session.out.table((), _lines(answer), title=f"{answers.model}@{answers.version}")


def _answer_pipe(
    session: Session,
    model: thawline.Model,
    input_form: Form | None,
    output_form: Answers | None,
    columns: dict[str, str],
    options: Any,
) -> None:
    """Answer rows as they come; a row keeps its columns and gets those of its answer."""
    form, rows = read(sys.stdin, input_form, columns)
    chosen = output_form or (Answers.JSONL if form is Form.JSONL else Answers.CSV)
    if session.out.as_json:
        chosen = Answers.JSONL
    writer = Writer(sys.stdout, chosen)
    for batch in batches(rows, _BATCH):
        answers = model.predict(inputs_of(batch, columns), **options)
        for row, answer in zip(batch, answers, strict=True):
            # Beside the row where it has columns of its own: none of them is overwritten.
            writer.write({**row, "prediction": answer.raw} if session.out.as_json else {**row, **answer.columns()})
        sys.stdout.flush()


def _answer_file(
    session: Session, name: str, file: Path, out: Path | None, columns: dict[str, str], form: Answers | None
) -> None:
    """Have the service answer a file; its answers go to a file, or to the standard output."""
    sent = session.client.predict_file(file, model=name, columns=columns or None, format=form)
    try:
        ended = sent.wait(progress=True)
    except KeyboardInterrupt:
        sent.cancel()
        raise
    if out is not None:
        path = ended.save(out)
        session.out.done({**ended.raw, "path": str(path)}, str(path), f"{ended.progress.rows_done} rows are in {path}")
    elif session.out.as_json:
        session.out.json(dict(ended.raw))
    else:
        with tempfile.TemporaryDirectory() as folder:
            sys.stdout.buffer.write(ended.save(folder).read_bytes())
    if ended.failed_rows:
        session.out.note(f"{ended.failed_rows} rows have no answer; the column prediction_error says why")


def _lines(answer: thawline.Prediction) -> list[tuple[Any, ...]]:
    """An answer for a person."""
    if answer.error is not None:
        return [("no answer", answer.error.message)]
    if answer.entities is not None:
        return [(e.label, e.text, e.score) for e in answer.entities] or [("no entity",)]
    ranked = answer.scores or answer.labels
    if ranked:
        return [(found.label, found.score) for found in ranked]
    return [(answer.label or "score", answer.score)]
