"""``thawline predict``."""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from api.cli.options import Columns, Encoding, pairs
from api.cli.rows import (
    ERROR,
    TOO_WIDE,
    Answers,
    Form,
    NoTextError,
    Row,
    UnreadableRowsError,
    UnusableRowError,
    Writer,
    decoded,
    gathered,
    input_of,
    read,
)
from api.cli.session import ExitStatus, Session, command

if TYPE_CHECKING:
    import thawline

_BATCH = 32  # rows of a pipe that are asked at once: few, so that answers flow
_FILE_FORMATS = ("csv", "jsonl", "parquet")  # that a file of answers may have
_OF_AN_INPUT = re.compile(r"inputs\.(\d+)")  # the place of a problem


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
    precision: Annotated[str | None, typer.Option(help="fp32, int8 or fp16, where the version has it")] = None,
    encoding: Encoding = None,
) -> None:
    """Ask a model: one text, a whole file, or what comes through a pipe.

    Example: thawline predict support-intent "Where is my parcel?"
    """
    columns = pairs(column or (), "--column")
    options: Any = {"top_k": top_k, "threshold": threshold, "precision": precision}
    given = {
        "TEXT": text, "--pair": pair, "--out": out, "--column": column, "--from": input_form, "--to": output_form,
        "--top-k": top_k > 1 or None, "--threshold": threshold, "--precision": precision, "--encoding": encoding,
    }  # fmt: skip
    if file is not None:
        if out is not None and not out.absolute().parent.is_dir():
            raise typer.BadParameter(f"there is no folder {out.absolute().parent}; make it first", param_hint="--out")
        _refuse(given, "a file is answered whole", "TEXT", "--pair", "--from", "--top-k", "--threshold", "--precision")
        suffix = out.suffix.removeprefix(".") if out is not None else ""
        form = output_form or (suffix if suffix in _FILE_FORMATS else None)
        _answer_file(session, name, file, out, columns, form, encoding)
    elif text is not None:
        _refuse(given, "one text is answered", "--out", "--column", "--from", "--to", "--encoding")
        _answer_text(session, session.client.model(name), (text, pair) if pair is not None else text, options)
    elif sys.stdin is None or sys.stdin.isatty():
        raise typer.BadParameter("give a text, or --file, or pipe rows into it", param_hint="TEXT")
    else:
        _refuse(given, "answers to a pipe go to the standard output", "--out")
        _refuse(given, "the rows of a pipe have both texts", "--pair")
        if input_form is Form.LINES:
            _refuse(given, "lines have no columns", "--column")
        if session.out.as_json and output_form is Answers.CSV:
            _refuse(given, "--json writes JSON", "--to")
        rows = decoded(_standard_input(), encoding or "utf-8")
        _answer_pipe(session, session.client.model(name), rows, input_form, output_form, columns, options)


def _refuse(given: dict[str, Any], why: str, *options: str) -> None:
    """Refuse what would be passed over in silence."""
    if wrong := [option for option in options if given[option] is not None]:
        raise typer.BadParameter(f"{why}; leave out {', '.join(wrong)}")


def _standard_input() -> IO[bytes]:
    """The rows, through a file of our own: a thread that waits for them must not hold Python's at its end."""
    try:
        return os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    except io.UnsupportedOperation:  # it is no file
        return sys.stdin.buffer


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
    lines: Iterator[str],
    input_form: Form | None,
    output_form: Answers | None,
    columns: dict[str, str],
    options: Any,
) -> None:
    """Answer what comes through a pipe."""
    try:
        form, rows = read(lines, input_form, columns)
        if form is Form.LINES and input_form is None:
            session.out.note("each line is asked as a text; say --from csv where the first one is a header")
        usual = Answers.JSONL if session.out.as_json or form is Form.JSONL else Answers.CSV
        _answer_rows(session, model, rows, Writer(sys.stdout, output_form or usual), columns, options)
    except UnreadableRowsError as error:
        session.out.error(error, "mend it, and send the rows from there on again")
        raise typer.Exit(ExitStatus.REFUSED_DATA) from None


def _answer_rows(
    session: Session,
    model: thawline.Model,
    rows: Iterator[Row],
    writer: Writer,
    columns: dict[str, str],
    options: Any,
) -> None:
    """Answer rows as they come; a row keeps its columns and gets those of its answer, or why it has none."""
    number = wrong = 0
    try:
        for some in gathered(rows, _BATCH):
            asked = [_asked(row, columns, first=number + place == 0) for place, row in enumerate(some)]
            answers = _answers(model, asked, options)
            for row, answer in zip(some, answers, strict=True):
                number, wrong = number + 1, wrong + (answer.error is not None)
                said = {"prediction": answer.raw} if session.out.as_json and not answer.error else answer.columns()
                if taken := said.keys() & row.keys():
                    message = f"the rows have a column {', '.join(sorted(taken))}, which is to be added; rename it"
                    raise UnreadableRowsError(message)
                row.pop(TOO_WIDE, None)
                writer.write({**row, **said}, answered=answer.error is None)
            sys.stdout.flush()
    finally:
        writer.close()
    if not number:
        session.out.note("no row came, and there is nothing to answer")
    if wrong:
        session.out.note(f"{wrong} of {number} rows have no answer; their {ERROR} says why")
        raise typer.Exit(ExitStatus.REFUSED_DATA)


def _asked(row: Row, columns: dict[str, str], *, first: bool) -> Any:
    """What is asked for a row; an `UnusableRowError` where nothing can be."""
    try:
        return input_of(row, columns)
    except NoTextError as error:
        if first:  # then it is so with all of them
            raise typer.BadParameter(f"{error}; name the column with --column text=…") from error
        return error
    except UnusableRowError as error:
        return error


def _answers(model: thawline.Model, asked: list[Any], options: Any) -> list[thawline.Prediction]:
    """The answers, in order; what is none for the model has the reason in the place of its answer."""
    import thawline

    wrong = {place: str(one) for place, one in enumerate(asked) if isinstance(one, UnusableRowError)}
    while len(wrong) < len(asked):
        places = [place for place in range(len(asked)) if place not in wrong]
        try:
            answered = model.predict([asked[place] for place in places], **options)
        except thawline.InvalidData as error:
            found = {places[place]: message for place, message in _wrong_inputs(error)}
            if not found and len(places) > 1:  # together they may be too much, or one of them is
                middle = places[len(places) // 2]
                return [*_answers(model, asked[:middle], options), *_answers(model, asked[middle:], options)]
            wrong |= found or {places[0]: error.detail}
        else:
            found_answers = dict(zip(places, answered, strict=True))
            return [found_answers.get(place) or _no_answer(wrong[place]) for place in range(len(asked))]
    return [_no_answer(wrong[place]) for place in range(len(asked))]


def _wrong_inputs(error: thawline.InvalidData) -> Iterator[tuple[int, str]]:
    """The places of inputs that are none for the model, and why."""
    for problem in error.problems:
        if place := _OF_AN_INPUT.match(problem.column or ""):
            yield int(place[1]), problem.message


def _no_answer(message: str) -> thawline.Prediction:
    import thawline

    return thawline.Prediction(error=thawline.Failure(code="invalid_input", message=message))


def _answer_file(
    session: Session,
    name: str,
    file: Path,
    out: Path | None,
    columns: dict[str, str],
    form: str | None,
    encoding: str | None,
) -> None:
    """Have the service answer a file; its answers go to a file, or to the standard output."""
    sent = session.client.predict_file(file, model=name, columns=columns or None, format=form, encoding=encoding)
    try:
        ended = sent.wait(progress=True)
    except KeyboardInterrupt:
        session.out.note(f"\n{sent.cancel().id} is cancelled")
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
        session.out.note(f"{ended.failed_rows} rows have no answer; their {ERROR} says why")
        raise typer.Exit(ExitStatus.REFUSED_DATA)


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
