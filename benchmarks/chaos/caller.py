"""Users who repeat a call until it is answered, and who remember what they were told."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from typing import Any

import httpx

_PATIENCE_SECONDS = 300.0
_CALL_SECONDS = 30.0  # longer than a writer waits for SQLite's lock
_REST_SECONDS = 0.3


class Caller:
    """Calls from any thread. `told` holds the ids that were answered 202 to each Idempotency-Key."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=_CALL_SECONDS)
        self._lock = threading.Lock()
        self.told: dict[str, set[str]] = defaultdict(set)
        self.cancelled: set[str] = set()
        self.unanswered: Counter[str] = Counter()

    def submit(self, key: str, body: dict[str, Any]) -> str:
        """Ask for a job under a key, until it is accepted; its id."""
        answer = self._insist("/jobs", json=body, headers={"Idempotency-Key": key})
        if answer.status_code != 202:
            raise RuntimeError(f"POST /jobs was answered {answer.status_code}: {answer.text}")
        job_id = str(answer.json()["id"])
        with self._lock:
            self.told[key].add(job_id)
        return job_id

    def cancel(self, job_id: str) -> None:
        """Cancel a job, unless it has ended."""
        if self._insist(f"/jobs/{job_id}/cancel").status_code == 200:
            with self._lock:
                self.cancelled.add(job_id)

    def pause(self, job_id: str) -> bool:
        """Pause a job; whether it will pause, and so has to be resumed one day."""
        return self._insist(f"/jobs/{job_id}/pause").status_code == 200

    def resume(self, job_id: str) -> None:
        """Resume a job, unless it has ended."""
        self._insist(f"/jobs/{job_id}/resume")

    def ids(self) -> list[str]:
        """All jobs that were accepted, the oldest first."""
        with self._lock:
            return sorted(job_id for ids in self.told.values() for job_id in ids)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _insist(self, path: str, **call: Any) -> httpx.Response:
        """POST until there is an answer that is neither an error of the server nor a request to come back."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                answer = self._client.post(path, **call)
            except httpx.TransportError as error:
                how = type(error).__name__
            else:
                if answer.status_code < 500 and answer.status_code != 429:
                    return answer
                how = str(answer.status_code)
            with self._lock:
                self.unanswered[how] += 1
            if time.monotonic() > until:
                raise TimeoutError(f"POST {path} was not answered within {_PATIENCE_SECONDS:.0f} s, last: {how}")
            time.sleep(_REST_SECONDS)
