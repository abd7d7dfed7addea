"""The exceptions of Thawline. An exception's message is written for the person who made the request.

ThawlineError
├── NotFoundError            an id or a name that does not exist
├── ConflictError            the thing exists but is in a state that forbids this
├── InvalidInputError        the request is understood and wrong
│   ├── InvalidDatasetError  … because of rows in an uploaded file
│   └── UnreadableFileError  … because an uploaded file cannot be decoded or parsed at all
├── TooLargeError            what was sent is, or unpacks to, more than this server takes
├── LeaseLostError           this attempt no longer owns the job; whatever it wanted to write is void
├── ArtifactCorruptError     files on disk differ from their manifest
├── ModelFailedError         the model gave no usable answer to a text
├── OverloadedError          the bounded queue of predictions is full
├── UnavailableError         a part the service needs does not answer
└── ConfigurationError       the settings contradict each other; the process must not start
"""

from __future__ import annotations

from dataclasses import dataclass, field


def quoted(value: str, limit: int = 40) -> str:
    """A value as it stands in a message: in quotes, and cut where it is long."""
    return repr(value if len(value) <= limit else value[:limit] + "…")


class ThawlineError(Exception):
    """Base of every error that Thawline raises on purpose."""

    code = "internal_error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input, placed as exactly as possible.

    Attributes:
        code: Stable machine-readable name, e.g. ``missing_label``.
        message: What is wrong and what to do, for a person.
        file: Name of the uploaded file, if one is concerned.
        line: 1-based physical line in that file.
        column: Column or request field.
        value: What stands there, cut short.
        row: The whole row that it is said of, as it stands in the file, cut short.
    """

    code: str
    message: str
    file: str | None = None
    line: int | None = None
    column: str | None = None
    value: str | None = None
    row: str | None = None

    def to_json(self) -> dict[str, object]:
        """The problem as it stands in an error body; absent places are left out."""
        pairs = {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "code": self.code,
            "message": self.message,
            "value": self.value,
            "row": self.row,
        }
        return {key: value for key, value in pairs.items() if value is not None}


class NotFoundError(ThawlineError):
    """An id or a name that does not exist."""

    code = "not_found"


class ConflictError(ThawlineError):
    """The thing exists but is in a state that forbids this."""

    code = "conflict"


class InvalidInputError(ThawlineError):
    """The request is understood and wrong."""

    code = "invalid_input"

    def __init__(self, message: str, problems: list[Problem] | None = None, *, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.problems = problems or []
        self.error_count = len(self.problems)


@dataclass
class ProblemList:
    """Collects problems, keeps the first ``limit`` of them and counts all."""

    limit: int = 100
    kept: list[Problem] = field(default_factory=list)
    count: int = 0

    def add(self, problem: Problem) -> None:
        """Count the problem, and keep it while there is room."""
        self.count += 1
        if len(self.kept) < self.limit:
            self.kept.append(problem)


class InvalidDatasetError(InvalidInputError):
    """Rows of an uploaded file are wrong; nothing was stored."""

    code = "invalid_dataset"

    def __init__(self, problems: ProblemList) -> None:
        first = problems.kept[0]
        place = f" ({first.file}, line {first.line})" if first.line else f" ({first.file})" if first.file else ""
        super().__init__(f"{problems.count} problem(s) in the data, the first{place}: {first.message}", problems.kept)
        self.error_count = problems.count


class UnreadableFileError(InvalidInputError):
    """An uploaded file that cannot be decoded or parsed at all."""

    code = "unreadable_file"


class TooLargeError(ThawlineError):
    """What was sent is, or unpacks to, more than this server takes."""

    code = "too_large"


class LeaseLostError(ThawlineError):
    """This attempt no longer owns the job; whatever it wanted to write is void."""

    code = "lease_lost"


class ArtifactCorruptError(ThawlineError):
    """Files on disk differ from their manifest."""

    code = "artifact_corrupt"


class ModelFailedError(ThawlineError):
    """The model gave no usable answer to a text: an error, something that is no number, or of another shape."""

    code = "model_failed"


class OverloadedError(ThawlineError):
    """The bounded queue of predictions is full; ``retry_after`` is an estimate in seconds."""

    code = "overloaded"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnavailableError(ThawlineError):
    """A part the service needs does not answer."""

    code = "unavailable"


class ConfigurationError(ThawlineError):
    """The settings contradict each other; the process must not start."""

    code = "configuration"
