"""The exceptions of the client. An exception's text says what happened and what to do next.

thawline.Error
├── ConfigurationError    the client was set up wrongly: the URL, an argument, a package that is missing
├── Unavailable           the service cannot be reached, or is busy, and stayed so
├── WaitTimeout           what was waited for goes on, longer than the caller wanted to wait
├── UnexpectedAnswer      whoever answered does not speak Thawline's protocol
├── Refused               the service understood the request and says no
│   ├── NotAllowed        … without a valid API key
│   ├── NotFound          … because an id or a name does not exist
│   ├── Conflict          … because of the state the thing is in
│   └── InvalidRequest    … because a field of the request is wrong
│       └── InvalidData   … because the data that was sent is wrong
├── JobFailed             the training ended without a model
│   └── JobCancelled      … because somebody cancelled it
└── PredictionFailed      a file was not answered to its end
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thawline.files import AsyncFilePrediction, FilePrediction
    from thawline.jobs import AsyncJob, Job
    from thawline.records import Problem

_SHOWN = 5  # problems that stand in an exception's text


class Error(Exception):
    """Base of all that the client raises on purpose.

    Attributes:
        detail: What happened.
        hint: What to do next, where that can be told; the exception's text is both.
    """

    def __init__(self, detail: str, hint: str | None = None) -> None:
        super().__init__(f"{detail}; {hint}" if hint else detail)
        self.detail = detail
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle and copy, which would else call the constructor with the text alone: process pools need it."""
        return _restored, (type(self), self.args, dict(self.__dict__))


class ConfigurationError(Error):
    """The client was set up wrongly."""


class Unavailable(Error):
    """The service cannot be reached, or is busy, and stayed so for as long as the client tried."""


class WaitTimeout(Error, TimeoutError):
    """What was waited for goes on, longer than the caller wanted to wait."""


class UnexpectedAnswer(Error):
    """Whoever answered does not speak Thawline's protocol."""

    def __init__(self, detail: str, hint: str | None = "is this the URL of a Thawline service?") -> None:
        super().__init__(detail, hint)


class Refused(Error):
    """The service understood the request and says no.

    Attributes:
        status: The HTTP status.
        code: The stable name of the reason, such as ``dataset_not_ready``.
        request_id: Under which the service's log has the request.
    """

    def __init__(
        self,
        detail: str,
        hint: str | None = None,
        *,
        status: int,
        code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(detail, hint)
        self.status = status
        self.code = code
        self.request_id = request_id


class NotAllowed(Refused):
    """The service wants a valid API key."""


class NotFound(Refused):
    """An id or a name does not exist."""


class Conflict(Refused):
    """The thing exists but is in a state that forbids this."""


class InvalidRequest(Refused):
    """A field of the request is wrong.

    Attributes:
        problems: The first hundred things that are wrong, each with its file, line and column where it has them.
        problem_count: How many there are.
    """

    def __init__(
        self,
        detail: str,
        problems: Sequence[Problem] = (),
        hint: str | None = None,
        *,
        problem_count: int | None = None,
        status: int = 422,
        **details: Any,
    ) -> None:
        super().__init__(detail, hint, status=status, **details)
        self.problems = tuple(problems)
        self.problem_count = len(self.problems) if problem_count is None else problem_count

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *listed(self.problems)])


class InvalidData(InvalidRequest):
    """The data that was sent is wrong; nothing of it was stored."""


class JobFailed(Error):
    """The training ended without a model. Attribute `job` is what became of it."""

    def __init__(self, detail: str, hint: str | None = None, *, job: Job | AsyncJob) -> None:
        super().__init__(detail, hint)
        self.job = job


class JobCancelled(JobFailed):
    """The training was cancelled."""


class PredictionFailed(Error):
    """A file was not answered to its end. Attribute `prediction` is what became of it."""

    def __init__(
        self, detail: str, hint: str | None = None, *, prediction: FilePrediction | AsyncFilePrediction
    ) -> None:
        super().__init__(detail, hint)
        self.prediction = prediction


def _restored(kind: type[Error], args: tuple[Any, ...], state: dict[str, Any]) -> Error:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


def listed(problems: Sequence[Problem]) -> list[str]:
    """The first problems, a line each, and how many are left. One alone is what the message says already."""
    if not any(problem.line or problem.file for problem in problems):
        return []
    lines = [f"  {problem}" for problem in problems[:_SHOWN]]
    rest = len(problems) - _SHOWN
    return [*lines, f"  and {rest} more, in .problems"] if rest > 0 else lines
