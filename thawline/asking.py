"""How a request is asked, and asked again: a plan that both engines carry out."""

from __future__ import annotations

import logging
import math
import random
import time
from dataclasses import dataclass, replace

import httpx

from thawline.errors import ConfigurationError, Error, Unavailable
from thawline.plans import Open, Plan, Send, Sleep
from thawline.requests import Answer, Request, error_of, may_be_asked_again, retry_after

log = logging.getLogger("thawline")
_TOLD_AFTER = 2  # tries in vain of those who wait
_LEAST_SECONDS = 0.1  # that a request is given, however near its deadline
_PATIENT_SECONDS = 5.0  # the longest pause of those who wait anyway: a service that is back is noticed soon
# The connection was never made, so that nobody can have understood the request.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True)
class Retries:
    """How often, and how long, to try again what was refused for the moment.

    Attributes:
        most: Further tries of a call.
        first_seconds: The pause before the first of them; it doubles from one to the next.
        longest_seconds: The longest pause. A service that wants to be left alone for longer is told of at once.
        patience_seconds: How long those who wait for a job bear a service that is away.
    """

    most: int = 4
    first_seconds: float = 0.5
    longest_seconds: float = 30.0
    patience_seconds: float = 300.0

    def pause(self, tries: int) -> float:
        """Seconds before the next try, at random so that callers who failed together do not come back together."""
        seconds = min(self.first_seconds * 2.0 ** min(tries, 16), self.longest_seconds)
        return seconds * random.uniform(0.5, 1.0)  # noqa: S311 (no secret)


class Engine:
    """What both engines share: how a request is asked, and asked again."""

    def __init__(self, url: str, retries: Retries) -> None:
        self.url = url
        self.retries = retries

    def ask(self, request: Request, *, patient: bool = False, deadline: float = math.inf) -> Plan[Answer]:
        """The answer to a request.

        Args:
            request: What to ask.
            patient: Whether to go on for `Retries.patience_seconds` instead of a few tries.
            deadline: When, by `time.monotonic`, nobody waits for the answer any more.

        Raises:
            Unavailable: Nobody answers, or only that it is busy.
            Refused: The service says no.
        """
        return self._insist(Send(request), patient, deadline)

    def open(self, request: Request, *, patient: bool = False) -> Plan[Answer]:
        """The same, but the body is left to `Read`."""
        return self._insist(Open(request), patient, math.inf)

    def _insist(self, step: Send | Open, patient: bool, deadline: float) -> Plan[Answer]:
        began, tries = time.monotonic(), 0
        while True:
            pause = self.retries.pause(tries)
            pause = min(pause, _PATIENT_SECONDS) if patient else pause
            failure: Error
            try:
                answer: Answer = yield _until(deadline, step)
            except httpx.RequestError as error:
                failure = self._unreachable(error, step.request)
                again = isinstance(error, _NEVER_SENT) or (
                    step.request.may_repeat and (patient or not _is_silence(error))
                )
            else:
                if not answer.is_error:
                    return answer
                failure = error_of(answer, step.request)
                again = may_be_asked_again(answer, step.request)
                pause = max(pause, retry_after(answer))
            spent = time.monotonic() - began + pause
            enough = spent > self.retries.patience_seconds if patient else tries >= self.retries.most
            late = time.monotonic() + pause > deadline
            if not again or enough or late or pause > self.retries.longest_seconds:
                raise failure
            tries += 1
            if patient and tries == _TOLD_AFTER:
                log.warning("%s; it is tried again", failure.detail)
            yield Sleep(pause)

    def _unreachable(self, error: httpx.RequestError, request: Request) -> Error:
        if isinstance(error, httpx.UnsupportedProtocol):
            return ConfigurationError(f"{self.url!r} is no URL of a service", "one looks like http://127.0.0.1:8000")
        if _is_silence(error):
            return Unavailable(f"{self.url} did not answer in time", "try again, or give it longer with timeout=…")
        if isinstance(error, _NEVER_SENT):
            where = "is the service running (thawline serve), and is this its URL (THAWLINE_URL)?"
            return Unavailable(f"{self.url} cannot be reached: {error}", where)
        hint = None if request.may_repeat else "look whether it was done before you ask again"
        return Unavailable(f"the connection to {self.url} broke: {error or type(error).__name__}", hint)


def _until(deadline: float, step: Send | Open) -> Send | Open:
    """The same step, but that the service may be silent no longer than until the deadline."""
    if math.isinf(deadline):
        return step
    left = max(deadline - time.monotonic(), _LEAST_SECONDS)
    given = step.request.timeout
    return replace(step, request=replace(step.request, timeout=left if given is None else min(left, given)))


def _is_silence(error: httpx.RequestError) -> bool:
    """Whether nothing came in time: asking again would wait for as long again."""
    return isinstance(error, httpx.ReadTimeout)
