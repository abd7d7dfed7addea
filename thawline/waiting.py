"""Waiting for what takes long."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from thawline.errors import Unavailable, WaitTimeout
from thawline.plans import Plan, Sleep

_FIRST_SECONDS, _SECONDS = 0.2, 1.0  # between two looks
_LONGEST_PAUSE = 30.0  # so late before the deadline it is the deadline that ends the tries


def until_ended(look: Callable[[float], Plan[Any]], timeout: float | None) -> Plan[Any]:
    """Look again and again until something has ended.

    Args:
        look: What looks, until a deadline at most, and hands out what there is now.
        timeout: Seconds, at most; None for as long as it takes.

    Raises:
        WaitTimeout: It goes on.
    """
    deadline, pause = math.inf if timeout is None else time.monotonic() + timeout, _FIRST_SECONDS
    while True:
        try:
            now = yield from look(deadline)
        except Unavailable as error:
            if time.monotonic() + _LONGEST_PAUSE < deadline:
                raise
            raise WaitTimeout(f"nothing was heard of it within {timeout:g} s: {error.detail}", "wait again") from error
        if now.has_ended:
            return now
        if time.monotonic() + pause > deadline:
            raise WaitTimeout(f"{now.id} is {now.status} after {timeout:g} s and goes on", "wait again")
        yield Sleep(pause)
        pause = min(pause * 1.5, _SECONDS)
