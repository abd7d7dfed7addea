"""Where the time of a prediction went."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """The stages of a call, in seconds.

    Attributes:
        started: When tokenising began, on the clock of `time.perf_counter`.
        tokenise: Until the word pieces were there.
        queue: How long the last of its texts waited for a runner.
        infer: How long their batches ran: the longest.
    """

    started: float
    tokenise: float
    queue: float
    infer: float

    def header(self) -> str:
        """The value of the header ``Server-Timing`` (W3C): milliseconds of each stage."""
        stages = {"tokenise": self.tokenise, "queue": self.queue, "infer": self.infer}
        return ", ".join(f"{name};dur={1000 * seconds:.2f}" for name, seconds in stages.items())
