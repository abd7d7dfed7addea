"""What the commands that ask a service share: the client, the output, and what an error means for the exit status."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec

import typer
from typer.core import TyperCommand

from api.cli.output import Output

if TYPE_CHECKING:
    from thawline import Client, Error

P = ParamSpec("P")

_Url = Annotated[
    str | None, typer.Option("--url", envvar="THAWLINE_URL", help="Of the service (default: http://127.0.0.1:8000)")
]
_ApiKey = Annotated[str | None, typer.Option("--api-key", envvar="THAWLINE_API_KEY", help="Where the service has one")]
_Json = Annotated[bool, typer.Option("--json", help="Write JSON to the standard output, and nothing else")]
_SHARED = {"url": (_Url, None), "api_key": (_ApiKey, None), "as_json": (_Json, False)}
_UsageError: Any = typer.BadParameter.__base__
_RETRIES = 2  # a person waits: enough for a service that is being restarted, and an error within two seconds


class ExitStatus(IntEnum):
    """What a command's exit status says."""

    JOB_FAILED = 1
    USAGE = 2
    REFUSED_DATA = 3
    NOT_FOUND = 4
    UNAVAILABLE = 5
    INTERRUPTED = 130


@dataclass(frozen=True)
class Session:
    """A command's client, and where its results go."""

    client: Client
    out: Output


def command(
    group: typer.Typer, name: str | None = None, **settings: Any
) -> Callable[[Callable[Concatenate[Session, P], None]], Callable[Concatenate[Session, P], None]]:
    """Make a command of a function that takes a `Session` first; ``--url``, ``--api-key`` and ``--json`` are added."""

    def register(function: Callable[Concatenate[Session, P], None]) -> Callable[Concatenate[Session, P], None]:
        @functools.wraps(function)
        def run(context: typer.Context, **given: Any) -> None:
            shared = {option: given.pop(option) for option in _SHARED}
            with _session(context.command_path, **shared) as session:
                function(session, **given)  # type: ignore[call-arg]

        signature = inspect.signature(function, eval_str=True)
        own = list(signature.parameters.values())[1:]
        kind = inspect.Parameter.KEYWORD_ONLY
        added = [inspect.Parameter(o, kind, default=d, annotation=a) for o, (a, d) in _SHARED.items()]
        context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
        parameters = [context, *(parameter.replace(kind=kind) for parameter in own), *added]
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        group.command(name, cls=_Command, **settings)(run)
        return function

    return register


class _Command(TyperCommand):
    """Tells also what is wrong with its own options in JSON, where that is wanted."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The words behind the options."""
        wants_json = "--json" in args  # of which parsing leaves nothing
        try:
            return super().parse_args(ctx, args)
        except _UsageError as error:
            if wants_json:
                _tell_usage(error, ctx.command_path)
            raise


def _tell_usage(error: Any, path: str) -> None:
    """On the standard output; typer itself tells it on the standard error."""
    Output(as_json=True).json_error("Usage", error.format_message(), f"{path} --help")


@contextmanager
def _session(path: str, url: str | None, api_key: str | None, *, as_json: bool) -> Iterator[Session]:
    import thawline

    out = Output(as_json=as_json)
    try:
        with thawline.Client(url, api_key, retries=_RETRIES) as client:
            yield Session(client, out)
    except thawline.Error as error:
        out.error(error, _hint(error, path))
        raise typer.Exit(_status_of(error)) from None
    except BrokenPipeError:  # whoever read has seen enough
        raise
    except OSError as error:
        reason = f"{error.strerror}: {error.filename}" if error.strerror and error.filename else str(error)
        out.error(OSError(reason))
        raise typer.Exit(ExitStatus.USAGE) from None
    except typer.BadParameter as error:
        if as_json:
            _tell_usage(error, path)
        raise
    except KeyboardInterrupt:
        raise typer.Exit(ExitStatus.INTERRUPTED) from None


def _status_of(error: Error) -> ExitStatus:
    import thawline

    kinds: dict[type[thawline.Error], ExitStatus] = {
        thawline.JobFailed: ExitStatus.JOB_FAILED,
        thawline.PredictionFailed: ExitStatus.JOB_FAILED,
        thawline.InvalidData: ExitStatus.REFUSED_DATA,
        thawline.NotFound: ExitStatus.NOT_FOUND,
        thawline.Unavailable: ExitStatus.UNAVAILABLE,
    }
    if isinstance(error, thawline.Refused) and error.status >= 500:
        return ExitStatus.UNAVAILABLE
    return next((status for kind, status in kinds.items() if isinstance(error, kind)), ExitStatus.USAGE)


def _hint(error: Error, path: str) -> str | None:
    """What to do next on the command line, where the client would say it in Python."""
    import thawline
    from thawline.requests import NAME_COLUMNS, WRONG_ROWS

    if isinstance(error, thawline.JobCancelled):
        return "start another one with thawline train"
    if isinstance(error, thawline.JobFailed):
        return f"thawline jobs show {error.job.id}"
    hints: dict[type[thawline.Error], str] = {
        thawline.NotFound: "thawline datasets list, jobs list and models list show what there is",
        thawline.NotAllowed: "give --api-key, or set THAWLINE_API_KEY to the service's key",
        thawline.Conflict: "thawline datasets show, jobs show and models show tell how it stands",
    }
    in_python = {
        WRONG_ROWS: "correct the rows, or leave them out with --on-error skip",
        NAME_COLUMNS: "name the columns, each with --column OURS=YOURS",
    }
    if error.hint in in_python:
        return in_python[error.hint]
    if isinstance(error, thawline.InvalidData) and path.endswith("predict") and "text_pair" in error.detail:
        return 'give the other text of the pair: thawline predict NAME "…" --pair "…"'
    if isinstance(error, thawline.InvalidRequest) and not error.hint:
        return f"{path} --help"
    return next((hint for kind, hint in hints.items() if isinstance(error, kind)), None)
