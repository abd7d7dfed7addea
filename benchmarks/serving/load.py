"""Load from wrk, a compiled client, and what it measures."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

# Bodies lie in a file, a line each. Each connection sends the next one as soon as the last was answered.
_SCRIPT = """
local requests, turn = {}, 0
function init(arguments)
  local headers = { ["Content-Type"] = "application/json" }
  for body in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format("POST", arguments[2], headers, body)
  end
end
function request()
  turn = turn % #requests + 1
  return requests[turn]
end
function done(summary, latency)
  local errors = summary.errors
  print(string.format('RESULT {"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "refused": %d, "broken": %d}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of the client.

    Attributes:
        per_second: Good answers a second.
        p50: Median latency, in milliseconds.
        p99: Of a hundred answers, the second slowest; in milliseconds.
        errors: Answers other than 2xx and 3xx, broken connections, timeouts.
    """

    per_second: float
    p50: float
    p99: float
    errors: int


class Wrk:
    """The client, with its files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._script = folder / "texts.lua"
        self._script.write_text(_SCRIPT, encoding="utf-8")

    def run(self, url: str, bodies: Sequence[bytes], connections: int, seconds: float) -> Measured:
        """POST the bodies in turn over so many connections.

        Raises:
            subprocess.CalledProcessError: wrk failed, as when nobody listens.
        """
        file = self._folder / "bodies.jsonl"
        file.write_bytes(b"\n".join(bodies))
        address = urlsplit(url)
        target = f"{address.path}?{address.query}" if address.query else address.path
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout=30s", f"-s{self._script}", url]
        command += ["--", str(file), target]
        printed = subprocess.run(command, check=True, capture_output=True, text=True)
        return parse(printed.stdout)


def parse(printed: str) -> Measured:
    """What the script's last function printed.

    Raises:
        ValueError: It printed nothing.
    """
    for line in printed.splitlines():
        if line.startswith("RESULT "):
            found = json.loads(line.removeprefix("RESULT "))
            good = found["requests"] - found["refused"]
            per_second = good / (found["microseconds"] / 1e6)
            errors = found["refused"] + found["broken"]
            return Measured(per_second, found["p50"] / 1e3, found["p99"] / 1e3, errors)
    raise ValueError(f"wrk printed no result: {printed!r}")
