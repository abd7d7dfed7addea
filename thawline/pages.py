"""Lists, which come in pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from thawline.asking import Engine
from thawline.parsing import member
from thawline.plans import Emit, Stream
from thawline.requests import Request

T = TypeVar("T")
_PAGE = 100  # the most that the service lists at once


def pages(
    engine: Engine,
    path: str,
    params: Mapping[str, Any],
    made: Callable[[Any], T],
    *,
    key: str | None = "id",
    after: Any = None,
) -> Stream[T]:
    """Every item of a list.

    Args:
        engine: Who is asked.
        path: Of the list.
        params: Which items.
        made: What is made of each.
        key: The field that ``after`` means; None where it counts items.
        after: Where to begin.
    """
    seen = 0
    while True:
        request = Request(method="GET", path=path, params={**params, "limit": _PAGE, "after": after})
        page = (yield from engine.ask(request)).json()
        items = member(page, "data")
        for item in items:
            yield Emit(made(item))
        if not member(page, "has_more") or not items:
            return
        seen += len(items)
        after = seen if key is None else member(items[-1], key)
