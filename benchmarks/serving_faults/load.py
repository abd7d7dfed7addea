"""Load from threads of this process, and what became of every call."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

REFUSED = "refused connection"
TEXTS = [
    "where is my parcel, it was due on Tuesday",
    "I was charged twice for the same blender, please check my invoice",
    "the display stays black whatever button I press",
    "please close my account and delete everything you have stored about me",
]


@dataclass
class Outcomes:
    """How calls ended, and how long those took that were answered."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    versions: Counter[int] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, status: str, seconds: float, version: int | None = None) -> None:
        """Take in a call."""
        with self._lock:
            self.statuses[status] += 1
            if status == "200":
                self.seconds.append(seconds)
                if version is not None:
                    self.versions[version] += 1

    @property
    def failed(self) -> int:
        """Calls that were neither answered nor told to come back."""
        return sum(count for status, count in self.statuses.items() if status not in ("200", "429"))

    def milliseconds(self, percent: int) -> float:
        """A percentile of the answered calls."""
        if len(self.seconds) < 2:
            return float("nan")
        return 1000 * statistics.quantiles(self.seconds, n=100, method="inclusive")[percent - 1]


def ask(client: httpx.Client, model: str, texts: int, outcomes: Outcomes, patience: float | None = None) -> str:
    """One call of so many texts, by a caller who waits for so many seconds at most."""
    inputs = [TEXTS[i % len(TEXTS)] for i in range(texts)]
    started = time.perf_counter()
    try:
        asked = {"timeout": patience} if patience else {}
        answer = client.post(f"/predict/{model}", params=asked, json={"inputs": inputs})
    except httpx.ConnectError:
        outcomes.note(REFUSED, 0)
        return REFUSED  # nobody listened: the server never had this call
    except httpx.TransportError as error:
        outcomes.note(type(error).__name__, 0)
        return "broken"
    status = str(answer.status_code)
    version = answer.json()["version"] if status == "200" else None
    outcomes.note(status, time.perf_counter() - started, version)
    return status


@contextmanager
def load(
    url: str,
    connections: int,
    choose: Callable[[int], str],
    *,
    texts: int = 1,
    per_second: float | None = None,
    patience: float | None = None,
) -> Iterator[Outcomes]:
    """Callers in threads of their own while the block runs; each asks again as soon as it was answered.

    With a rate they have a timetable instead, one after the other, and a caller who was kept waiting makes up for it.

    Args:
        url: Of the server.
        connections: How many callers.
        choose: The model that a caller asks at its nth call.
        texts: In each call.
        per_second: Calls a second, of all callers together.
        patience: Seconds that a caller will wait.
    """
    outcomes, stop = Outcomes(), threading.Event()
    begun: list[float] = []
    # Hundreds of clients take seconds to make, which are none of the load's.
    ready = threading.Barrier(connections + 1, action=lambda: begun.append(time.monotonic()))

    def due(caller: int, number: int) -> float:
        return begun[0] + ((number * connections + caller) / per_second if per_second else 0.0)

    def call(caller: int) -> None:
        with httpx.Client(base_url=url, timeout=120) as client:
            ready.wait()
            number = 0
            while not stop.wait(max(0.0, due(caller, number) - time.monotonic())):
                if ask(client, choose(number), texts, outcomes, patience) == REFUSED:
                    return
                number += 1

    threads = [threading.Thread(target=call, args=[caller]) for caller in range(connections)]
    for thread in threads:
        thread.start()
    ready.wait()
    try:
        yield outcomes
    finally:
        stop.set()
        for thread in threads:
            thread.join()
