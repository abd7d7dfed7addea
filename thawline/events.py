"""Server-sent events (the HTML standard, 9.2), and a stream of them that goes on when its connection breaks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx

from thawline.asking import Engine
from thawline.errors import Unavailable, UnexpectedAnswer
from thawline.parsing import loaded, parse
from thawline.plans import Emit, Read, Sleep, Stream
from thawline.records import Event
from thawline.requests import Request

_SILENCE_SECONDS = 45.0  # the service sends a comment every 15
_LINE_END = re.compile(rb"\r\n|\n|\r")  # and no other: what Python takes for an end of line may stand in a message


@dataclass
class EventStream:
    """Takes bytes as they come and hands out the data of each event that is whole."""

    _rest: bytes = b""
    _data: list[str] = field(default_factory=list)

    def feed(self, chunk: bytes) -> Iterator[str]:
        """The data of the events that end in this chunk."""
        *lines, self._rest = _LINE_END.split(self._rest + chunk)
        if lines and chunk.endswith(b"\r") and not self._rest:  # perhaps half of an end of line
            self._rest = lines.pop() + b"\r"
        for line in lines:
            name, _, value = line.decode("utf-8", "replace").partition(":")
            if name == "data":
                self._data.append(value.removeprefix(" "))
            elif not line and self._data:
                data, self._data = "\n".join(self._data), []
                yield data


def follow(engine: Engine, path: str, after: int) -> Stream[Event]:
    """The events of a job as they happen, each once, until the job has ended.

    Args:
        engine: Who is asked.
        path: Of the stream.
        after: The id of the last event that is known already.

    Raises:
        Unavailable: The service is away for longer than `Retries.patience_seconds`.
    """
    silent = 0  # connections in a row on which nothing came
    while True:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        request = Request(method="GET", path=path, headers=headers, timeout=_SILENCE_SECONDS)
        answer = yield from engine.open(request, patient=True)
        if answer.status == 204:  # all was told, and the job is over
            return
        if "event-stream" not in answer.headers.get("content-type", ""):
            raise UnexpectedAnswer("the answer is no stream of events")
        stream, known, heard = EventStream(), after, False
        broken: httpx.RequestError | None = None
        try:
            while (chunk := (yield Read())) is not None:
                heard = True
                for data in stream.feed(chunk):
                    event = parse(Event, loaded(data))
                    after = event.id
                    yield Emit(event)
        except httpx.RequestError as error:
            broken = error
        silent = 0 if heard else silent + 1
        if silent > engine.retries.most:
            raise Unavailable(f"the events of {engine.url}{path} break off: {broken or 'the stream is empty'}")
        if broken or after == known:
            yield Sleep(engine.retries.pause(silent))
