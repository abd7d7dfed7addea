"""Ask servers, compare their answers, and put them under load in turn."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import httpx

from benchmarks.serving.limit import Loop
from benchmarks.serving.load import Measured, Wrk
from benchmarks.serving.peers import Answer, Api
from benchmarks.serving.processes import Group, ServerError
from benchmarks.serving.results import Run

_TOLERANCE = 1e-3  # of a probability, in single precision
_WARM_UP_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Server:
    """A running server that answers for the model."""

    url: str
    api: Api

    def answers(self, texts: Sequence[str]) -> list[Answer]:
        """The answers, each asked for by itself.

        Raises:
            ServerError: It refused one, or what it sent is not an answer.
        """
        with httpx.Client(timeout=60) as client:
            return [self._answer(client, text) for text in texts]

    def _answer(self, client: httpx.Client, text: str) -> Answer:
        try:
            response = client.post(self.url + self.api.path, json=self.api.body(text))
        except httpx.TransportError as error:
            raise ServerError(f"does not answer: {error}") from error
        try:
            return self.api.answer(response.raise_for_status().json())
        except (httpx.HTTPStatusError, LookupError, TypeError, ValueError) as error:
            raise ServerError(f"answers {response.status_code}: {response.text[:500]}") from error


class Target(Protocol):
    """What can be put under load."""

    def run(self, texts: Sequence[str], connections: int, seconds: int) -> Measured:
        """So many connections (or, where there are none, texts in flight) for so long."""


@dataclass(frozen=True, slots=True)
class ServerTarget:
    """A server, under load from wrk, and paused at other times where it is a peer."""

    server: Server
    client: Wrk
    group: Group | None = None

    def run(self, texts: Sequence[str], connections: int, seconds: int) -> Measured:
        """A text a request."""
        api = self.server.api
        bodies = [json.dumps(api.body(text), ensure_ascii=False).encode() for text in texts]
        with self.group.awake() if self.group else nullcontext():
            self.server.answers(texts[:1])  # it is awake
            found = self.client.run(self.server.url + api.path, bodies, connections, seconds)
            # And done with what the client left behind, which the next would suffer from.
            self.server.answers(texts[:1])
            return found


@dataclass(frozen=True, slots=True)
class LimitTarget:
    """The loop that suits so many texts in flight."""

    alone: Loop
    parallel: Loop

    def run(self, texts: Sequence[str], connections: int, seconds: int) -> Measured:
        """One text in flight, or one a core."""
        return (self.alone if connections == 1 else self.parallel).run(texts, seconds)


def compare(expected: Sequence[Answer], actual: Sequence[Answer], *, exact: bool) -> str:
    """How far two servers agree, in words.

    Raises:
        ServerError: They do not, though they should (``exact``), as those that both calculate in single precision.
    """
    pairs = list(zip(expected, actual, strict=True))
    equal = sum(one.label == other.label for one, other in pairs)
    worst = max(abs(one.score - other.score) for one, other in pairs)
    said = f"{equal} of {len(pairs)} labels as Thawline's, scores within {worst:.1e}"
    if exact and (equal < len(pairs) or worst > _TOLERANCE):
        raise ServerError(f"serves another function: {said}")
    return said


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, as often as told.

    Attributes:
        texts: By the name of their kind.
        connections: How many at a time.
        seconds: Of one run.
        rounds: In each, every target has every kind of text and number of connections once.
    """

    texts: Mapping[str, Sequence[str]]
    connections: Sequence[int]
    seconds: int
    rounds: int


def warm_up(targets: Mapping[str, Target], plan: Plan) -> None:
    """Let every server see every kind of text, many at a time."""
    for texts in plan.texts.values():
        for target in targets.values():
            target.run(texts, max(plan.connections), _WARM_UP_SECONDS)


def measure(targets: Mapping[str, Target], plan: Plan, precision: str) -> Iterator[Run]:
    """Load one after the other, each round beginning with another one."""
    names = list(targets)
    for number in range(plan.rounds):
        shift = number % len(names)
        for kind, texts in plan.texts.items():
            for connections in plan.connections:
                for name in names[shift:] + names[:shift]:
                    found = targets[name].run(texts, connections, plan.seconds)
                    yield Run(precision, kind, connections, number, name, found)
