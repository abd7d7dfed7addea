"""What is iterated over: each iteration asks anew, and no sooner than it has to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from thawline.frames import to_pandas

if TYPE_CHECKING:
    import pandas

T = TypeVar("T")


class Listing(Generic[T]):
    """Items that are fetched while one iterates, page by page; each iteration begins anew."""

    def __init__(self, iterate: Callable[[], Iterator[T]]) -> None:
        self._iterate = iterate

    def __iter__(self) -> Iterator[T]:
        return self._iterate()

    def to_list(self) -> list[T]:
        """All of them."""
        return list(self)

    def to_pandas(self) -> pandas.DataFrame:
        """All of them as a frame, a row each."""
        return to_pandas(list(self))


class AsyncListing(Generic[T]):
    """Items that are fetched while one iterates, page by page; each iteration begins anew."""

    def __init__(self, iterate: Callable[[], AsyncIterator[T]]) -> None:
        self._iterate = iterate

    def __aiter__(self) -> AsyncIterator[T]:
        return self._iterate()

    async def to_list(self) -> list[T]:
        """All of them."""
        return [item async for item in self]

    async def to_pandas(self) -> pandas.DataFrame:
        """All of them as a frame, a row each."""
        return to_pandas(await self.to_list())
