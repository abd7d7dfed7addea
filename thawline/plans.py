"""What a call does, written once: plans, which the sync and the async client carry out.

A plan is a generator. It yields steps (send this, sleep so long), is sent what came of each, and returns the answer.
It does no input or output itself, so that the same plan runs with and without ``await``. `operation` and `listing`
turn a plan into a method that is a plain function where its object belongs to a `Client`, and one that returns a
coroutine where it belongs to an `AsyncClient`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

if TYPE_CHECKING:
    from thawline.engines import Async, Sync
    from thawline.listings import AsyncListing, Listing
    from thawline.requests import Request

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request and read its answer: an `Answer` comes of it."""

    request: Request


@dataclass(frozen=True, slots=True)
class Open:
    """Send a request and leave its body to `Read`: an `Answer` without a body, unless it tells of an error."""

    request: Request


@dataclass(frozen=True, slots=True)
class Read:
    """Read what comes next of the body that was opened last: bytes, or None at its end."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Do nothing for so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Emit(Generic[T]):
    """Hand something to whoever iterates."""

    value: T


Step = Send | Open | Read | Sleep
Plan = Generator[Step, Any, T]
Stream = Generator[Step | Emit[T], Any, None]


class operation(Generic[P, T]):  # noqa: N801 (a decorator, like property)
    """A method that does something and answers."""

    def __init__(self, plan: Callable[Concatenate[Any, P], Plan[T]]) -> None:
        self._plan = plan
        functools.update_wrapper(self, plan)  # type: ignore[arg-type]

    @overload
    def __get__(self, owner: None, kind: object = None) -> Callable[Concatenate[Any, P], Plan[T]]: ...
    @overload
    def __get__(self, owner: Sync, kind: object = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, owner: Async, kind: object = None) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, owner: Any, kind: object = None) -> Any:
        """The method of an object; of a class, the plan, for the sake of `help`."""
        if owner is None:
            return self._plan

        @functools.wraps(self._plan)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return owner._engine.run(self._plan(owner, *args, **kwargs))

        return _bound(method)


class listing(Generic[P, T]):  # noqa: N801 (a decorator, like property)
    """A method that hands out many things, one after the other."""

    def __init__(self, stream: Callable[Concatenate[Any, P], Stream[T]]) -> None:
        self._stream = stream
        functools.update_wrapper(self, stream)  # type: ignore[arg-type]

    @overload
    def __get__(self, owner: None, kind: object = None) -> Callable[Concatenate[Any, P], Stream[T]]: ...
    @overload
    def __get__(self, owner: Sync, kind: object = None) -> Callable[P, Listing[T]]: ...
    @overload
    def __get__(self, owner: Async, kind: object = None) -> Callable[P, AsyncListing[T]]: ...
    def __get__(self, owner: Any, kind: object = None) -> Any:
        """The method of an object; of a class, the stream, for the sake of `help`."""
        if owner is None:
            return self._stream

        @functools.wraps(self._stream)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return owner._engine.listing(functools.partial(self._stream, owner, *args, **kwargs))

        return _bound(method)


def _bound(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method with the signature that its caller sees: without ``self``."""
    signature = inspect.signature(method)
    method.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]
    return method
