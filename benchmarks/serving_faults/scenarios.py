"""What befalls the endpoint. Each scenario gives the lines of the table that tell of it."""

from __future__ import annotations

import math
import random
import signal
import time
from collections import Counter
from collections.abc import Callable

from benchmarks.serving_faults.home import BURDENS, Home, Running, running
from benchmarks.serving_faults.load import REFUSED, TEXTS, Outcomes, load

Lines = list[tuple[str, str]]

_OVERLOAD = 4.5  # times the capacity: under a full load it gets more done than four callers let it
_MEMORY = 256 * 2**20  # for models, less than one of those that are oversized
_PATIENCE = 1.0  # seconds that callers of a slow model wait
_SLOW_SECONDS = 5.0
_TRIES = 10
_CACHE = 5
_MODELS = 20


def swaps(home: Home, number: int) -> Lines:
    """Production goes back and forth between two versions while callers ask."""
    for _ in range(2):
        home.publish("swapped")
    with running(home) as api, load(api.url, 8, lambda _: "swapped") as outcomes:
        _until(lambda: outcomes.statuses["200"] > 100)
        refused = 0
        for turn in range(number):
            answer = api.client.put("/models/swapped/aliases/production", json={"version": 1 + turn % 2})
            refused += answer.status_code != 200
            time.sleep(0.1)
    return [
        (f"{number} hot swaps, 8 callers", _told(outcomes)),
        ("… answered by version", ", ".join(f"{v}: {n}" for v, n in sorted(outcomes.versions.items()))),
        ("… swaps refused", str(refused)),
        ("… p50, p99", _latency(outcomes)),
    ]


def overload(home: Home, seconds: float) -> Lines:
    """Over four times as many texts a second as it gets done, with a queue for a quarter of a second's work."""
    home.publish("overrun")
    texts = 16
    with running(home) as api:
        with load(api.url, 4, lambda _: "overrun", texts=texts) as calm:
            time.sleep(seconds / 6)
        capacity = texts * calm.statuses["200"] / (seconds / 6)
    with running(home, predict_queue_items=max(64, int(capacity / 4))) as api:
        with load(api.url, 1, lambda _: "overrun"):
            time.sleep(1)
        with (
            api.watched() as memory,
            load(api.url, 192, lambda _: "overrun", texts=texts, per_second=_OVERLOAD * capacity / texts) as outcomes,
        ):
            time.sleep(seconds)
    asked = texts * sum(outcomes.statuses.values()) / seconds
    answered = texts * outcomes.statuses["200"] / seconds
    over = asked / answered if answered else math.inf
    return [
        ("capacity, 4 callers of 16 texts", f"{capacity:.0f} texts/s"),
        (f"overload for {seconds:.0f} s", f"{asked:.0f} texts/s asked ({asked / capacity:.1f} × the capacity)"),
        ("… answered", f"{answered:.0f} texts/s (asked {over:.1f} ×)"),
        ("… statuses", ", ".join(f"{status}: {n}" for status, n in sorted(outcomes.statuses.items()))),
        ("… p50, p99 of what was accepted", _latency(outcomes)),
        ("… memory before, highest, after", f"{memory[0]:.0f}, {max(memory):.0f}, {memory[-1]:.0f} MiB"),
    ]


def rotation(home: Home, seconds: float) -> Lines:
    """Twenty models asked in turn, with memory for five."""
    names = [f"one-of-{number}" for number in range(_MODELS)]
    for name in names:
        home.publish(name)
    draw = random.Random(7)
    size = (home.store.root / home.original.artifact / "model.int8.onnx").stat().st_size
    with running(home, model_cache_bytes=2 * size * _CACHE) as api:
        with load(api.url, 4, lambda _: draw.choice(names)) as outcomes:
            time.sleep(seconds)
        loaded = _metric(api, "thawline_loaded_bytes") / 2**20
        memory = api.rss
    room = 2 * size * _CACHE / 2**20
    return [
        (f"{_MODELS} models in turn, memory for {_CACHE}", _told(outcomes)),
        ("… p50, p99 (most calls load their model)", _latency(outcomes)),
        ("… loaded at the end, memory of the process", f"{loaded:.0f} of {room:.0f}, {memory:.0f} MiB"),
    ]


def bad_models(home: Home) -> Lines:
    """Broken versions and odd inputs, each answered for itself while others are served."""
    home.publish("good")
    damages = ("truncated", "altered", "missing", "wrong")
    for damage in (*damages, *BURDENS):
        home.publish(f"bad-{damage}", damage=damage)
    lines = []
    with running(home, model_cache_bytes=_MEMORY) as api, load(api.url, 4, lambda _: "good") as outcomes:
        _until(lambda: outcomes.statuses["200"] > 50)
        for damage in damages:
            answer = api.client.post(f"/predict/bad-{damage}", json={"inputs": TEXTS[0]})
            lines.append((f"a model that is {damage}", f"{answer.status_code} {answer.json()['detail'][-70:]}"))
        lines += _oversized(api) + _slow(api)
        inputs = {
            "a text of 1 MB": "long " * 200_000,
            "an empty text": "",
            "10,000 items": [TEXTS[0]] * 10_000,
            "1,000 items": [TEXTS[0]] * 1_000,
            "a body of 9 MB": "long " * 1_800_000,
        }
        for name, value in inputs.items():
            answer = api.client.post("/predict/good", json={"inputs": value})
            told = "" if answer.status_code == 200 else f" {answer.json()['detail'][:80]}"
            lines.append((name, f"{answer.status_code}{told}"))
    lines.append(("… callers of the good model meanwhile", _told(outcomes)))
    lines.append(("… their p50, p99", _latency(outcomes)))
    return lines


def _oversized(api: Running) -> Lines:
    told = _asked(api, "bad-oversized")
    loaded = _metric(api, "thawline_loaded_bytes") / 2**20
    return [(f"a model larger than the memory for all, {_MEMORY / 2**20:.0f} MiB", f"{told}; {loaded:.0f} MiB loaded")]


def _slow(api: Running) -> Lines:
    """A caller who does not wait while it loads, one who does, and more than it gets done."""
    impatient, patient = _asked(api, "bad-slow", timeout=_PATIENCE), [_asked(api, "bad-slow")]
    while not patient[-1].startswith("200") and len(patient) < _TRIES:
        patient.append(_asked(api, "bad-slow"))
    alone = _asked(api, "bad-slow")
    with load(api.url, 16, lambda _: "bad-slow", patience=_PATIENCE) as outcomes:
        time.sleep(_SLOW_SECONDS)
    statuses = ", ".join(f"{status}: {n}" for status, n in sorted(outcomes.statuses.items()))
    return [
        (f"a model that is slow, being loaded: a caller who waits for {_PATIENCE:.0f} s", impatient),
        ("… one who waits", "; ".join(patient)),
        ("… one when it is loaded", alone),
        (f"… 16 who wait for {_PATIENCE:.0f} s, for {_SLOW_SECONDS:.0f} s", statuses),
    ]


def _asked(api: Running, model: str, **options: float) -> str:
    """What a call of one text was answered, and when."""
    started = time.monotonic()
    answer = api.client.post(f"/predict/{model}", params=options, json={"inputs": TEXTS[0]})
    told = "200" if answer.status_code == 200 else f"{answer.status_code} {answer.json()['type'].rpartition(':')[2]}"
    return f"{told} after {time.monotonic() - started:.1f} s"


def leaving(home: Home, times: int) -> Lines:
    """SIGTERM under load."""
    home.publish("left")
    answered = lost = 0
    ends: Counter[str] = Counter()
    for _ in range(times):
        with running(home) as api, load(api.url, 16, lambda _: "left") as outcomes:
            _until(lambda seen=outcomes: seen.statuses["200"] > 50)  # type: ignore[misc]
            api.process.send_signal(signal.SIGTERM)
            api.process.wait(60)
        answered += outcomes.statuses["200"]
        lost += outcomes.failed - outcomes.statuses[REFUSED]  # each caller ends with one of these
        ends.update({how: n for how, n in outcomes.statuses.items() if how != "200"})
    told = ", ".join(f"{how}: {n}" for how, n in ends.items())
    return [(f"SIGTERM under load, {times} times, 16 callers", f"{answered} answered, {lost} lost {told}")]


def idleness(home: Home, seconds: float) -> Lines:
    """What a server with a loaded model costs when nobody asks."""
    home.publish("idle")
    with running(home) as api:
        api.client.post("/predict/idle", json={"inputs": TEXTS[0]})
        time.sleep(2)
        before = api.cpu_seconds()
        time.sleep(seconds)
        share = (api.cpu_seconds() - before) / seconds
    return [(f"CPU when idle, over {seconds:.0f} s", f"{100 * share:.2f} % of one core")]


def _told(outcomes: Outcomes) -> str:
    return f"{sum(outcomes.statuses.values())} calls, {outcomes.failed} failed"


def _latency(outcomes: Outcomes) -> str:
    return f"{outcomes.milliseconds(50):.0f}, {outcomes.milliseconds(99):.0f} ms"


def _until(condition: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("the server answers nobody")
        time.sleep(0.05)


def _metric(api: Running, name: str) -> float:
    lines = api.client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])
