"""What the service works on for a while, and may be asked to stop: jobs, and files that are answered."""

from __future__ import annotations

from typing import Any, Generic, Self, TypeVar, cast

from thawline.parsing import parse
from thawline.plans import Plan, operation
from thawline.records import TERMINAL_STATUSES
from thawline.requests import Answer, Request

T = TypeVar("T")


class Ongoing(Generic[T]):
    """What jobs and files have in common. Methods that change it answer with a newer one.

    Attributes:
        status: How it stands.
    """

    status: str
    _engine: Any

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: what is known of it, without the client, whose connections belong to this process."""
        return {**self.__dict__, "_engine": None}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """It never changes."""
        return self

    @property
    def has_ended(self) -> bool:
        """Whether it will never change again."""
        return self.status in TERMINAL_STATUSES

    @operation
    def refresh(self) -> Plan[T]:
        """It as it is now."""
        return self._ask("GET")

    @operation
    def cancel(self) -> Plan[T]:
        """Cancel it: at once if it waits or is paused, within seconds if it runs."""
        return self._ask("POST", "/cancel")

    @property
    def _path(self) -> str:
        raise NotImplementedError

    def _ask(self, method: str, action: str = "", *, headers: Any = None) -> Plan[T]:
        request = Request(method=method, path=self._path + action, headers=headers or {}, repeatable=True)
        return self._made((yield from self._engine.ask(request)))

    def _look(self, deadline: float) -> Plan[T]:
        """It as it is now, for somebody who waits for its end, but no longer than until the deadline."""
        request = Request(method="GET", path=self._path)
        return self._made((yield from self._engine.ask(request, patient=True, deadline=deadline)))

    def _made(self, answer: Answer) -> T:
        return cast("T", parse(type(self), answer.json(), _engine=self._engine))
