"""``make demo``: the whole product in one go, on the sample data of all three tasks.

Starts the service (or uses the one that runs already), uploads, trains with progress bars, asks the finished models.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from models_store.encoders import DEFAULT_ENCODER
from models_store.process import guarded
from models_store.settings import Settings

EXAMPLES = Path(__file__).parent
STEPS = 1000  # of a progress bar


@dataclass(frozen=True, slots=True)
class Sample:
    """One task's files, the name of its model, and what to ask it."""

    task: str
    model: str
    suffix: str
    questions: list[Any]

    def file(self, split: str) -> Path:
        """The sample file of a split."""
        return EXAMPLES / self.task / f"{split}.{self.suffix}"


SAMPLES = [
    Sample(
        "classification",
        "support-intent",
        "csv",
        [
            "Good morning, could you tell me where my parcel is? It was due on Tuesday.",
            "I was charged twice for the same blender, please check my invoice.",
            "The display stays black, whatever button I press.",
        ],
    ),
    Sample(
        "tagging",
        "support-entities",
        "conll",
        [
            "Please send Maria Keller a new filter for order BK-20417 before Friday.",
            "My toaster arrived on 3 March, but #48213 also listed a kettle.",
        ],
    ),
    Sample(
        "similarity",
        "duplicate-questions",
        "csv",
        [
            {"text": "How do I send a product back?", "text_pair": "What is the procedure for returning an item?"},
            {"text": "Can I change my delivery address?", "text_pair": "How do I cancel my order?"},
        ],
    ),
]


def main() -> int:
    """Run the demo; the exit status is 0 when all three models answer."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--base-model", default=DEFAULT_ENCODER, help="encoder to train on (default: %(default)s)")
    base_model = parser.parse_args().base_model
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("The demo was stopped."))
    console = Console()
    settings = Settings()
    with _service(settings, console) as (client, ours):
        jobs = [(sample, _submit(client, sample, base_model)) for sample in SAMPLES]
        console.print("\nTraining: first the head on the frozen encoder, then head and encoder together.")
        if not _watch(client, jobs, console):
            return 1
        for sample, job_id in jobs:
            _show(client, sample, job_id, console)
        address = f"http://{settings.host}:{settings.port}"
        how = "Start it again with [bold]make serve[/]; then open" if ours else "It goes on running; open"
        console.print(f"\n{how} [bold]{address}[/] for the web page, {address}/docs for the HTTP reference.")
        console.print("Ask from a shell:")
        question = f"""curl {address}/predict/support-intent --json '{{"inputs": ["Where is my parcel?"]}}'"""
        console.print(Text(f"  {question}"))
    return 0


@contextlib.contextmanager
def _service(settings: Settings, console: Console) -> Iterator[tuple[httpx.Client, bool]]:
    """The running service, or one of our own for as long as the demo lasts."""
    headers = {"Authorization": f"Bearer {settings.api_key.get_secret_value()}"} if settings.api_key else {}
    with httpx.Client(base_url=f"http://{settings.host}:{settings.port}", headers=headers, timeout=60) as client:
        if _is_ready(client):
            console.print(f"Using the service at {client.base_url}")
            yield client, False
            return
        if _port_taken(settings):
            sys.exit(f"Port {settings.port} is taken by another program; set THAWLINE_PORT to a free one.")
        log_path = settings.home / "demo.log"
        settings.home.mkdir(parents=True, exist_ok=True)
        console.print(f"Starting the service (state: {settings.home}, log: {log_path})")
        with log_path.open("wb") as log:
            command = guarded([sys.executable, "-m", "api.cli", "serve"], signal.SIGTERM)  # it does not outlive us
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            while not _is_ready(client):
                if process.poll() is not None:
                    sys.exit(f"The service ended with status {process.returncode}; see {log_path}")
                time.sleep(0.2)
            yield client, True
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _is_ready(client: httpx.Client) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return client.get("/readyz").status_code == 200
    return False


def _port_taken(settings: Settings) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((settings.host, settings.port)) == 0


def _submit(client: httpx.Client, sample: Sample, base_model: str) -> str:
    with sample.file("train").open("rb") as train, sample.file("validation").open("rb") as validation:
        files = {"file": train, "validation_file": validation}
        form = {"task": sample.task, "name": sample.model}
        dataset = _checked(client.post("/datasets", data=form, files=files))
    request = {"dataset_id": dataset["id"], "model": sample.model, "base_model": base_model}
    job = _checked(client.post("/jobs", json=request))
    return str(job["id"])


def _watch(client: httpx.Client, jobs: list[tuple[Sample, str]], console: Console) -> bool:
    """Draw a bar per job until all have ended; whether all succeeded."""
    columns = (
        TextColumn("{task.description:<20}"),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        bars = {job_id: progress.add_task(sample.model, total=STEPS, start=False, note="") for sample, job_id in jobs}
        states: dict[str, dict[str, Any]] = {}
        while len(states) < len(jobs) or any(s["status"] in ("queued", "running") for s in states.values()):
            for _, job_id in jobs:
                if states.get(job_id, {}).get("status") not in ("succeeded", "failed", "cancelled"):
                    states[job_id] = _checked(client.get(f"/jobs/{job_id}"))
                    _draw(progress, bars[job_id], states[job_id])
            time.sleep(0.5)
    for job in states.values():
        if job["error"]:
            console.print(f"{job['model']['name']} failed: {job['error']['message']}", style="red")
    return all(job["status"] == "succeeded" for job in states.values())


def _draw(progress: Progress, bar: TaskID, job: dict[str, Any]) -> None:
    where = job["progress"]
    note = job["phase"] or job["status"]
    if job["phase"] in ("head", "full") and where["epochs"]:
        note += f" · epoch {where['epoch']} of at most {where['epochs']}"
    if job["status"] == "running" and where["eta_seconds"] is not None:
        note += f" · about {where['eta_seconds']} s left"
    if job["status"] == "running":
        progress.start_task(bar)
    progress.update(bar, completed=round(where["fraction"] * STEPS), note=note)
    if job["status"] not in ("queued", "running"):
        progress.stop_task(bar)


def _show(client: httpx.Client, sample: Sample, job_id: str, console: Console) -> None:
    result = _checked(client.get(f"/jobs/{job_id}"))["result"]
    metrics = ", ".join(f"{name} {value:.3f}" for name, value in result["metrics"]["validation"].items())
    console.print(f"\n[bold]{sample.model}[/] ({sample.task}; validation {metrics})")
    answers = _checked(client.post(f"/predict/{sample.model}", json={"inputs": sample.questions}))["predictions"]
    table = Table(box=None, show_header=False, padding=(0, 2))
    for question, answer in zip(sample.questions, answers, strict=True):
        asked = question if isinstance(question, str) else f"{question['text']}\n{question['text_pair']}"
        table.add_row(Text(asked), Text(_describe(answer)))
    console.print(table)


def _describe(answer: dict[str, Any]) -> str:
    if "entities" in answer:
        return "\n".join(f"{e['label']}: {e['text']} ({e['score']:.2f})" for e in answer["entities"]) or "no entity"
    return f"{answer['label']} ({answer['score']:.2f})"


def _checked(response: httpx.Response) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    if response.is_error:
        sys.exit(f"{response.request.method} {response.request.url}: {body.get('detail')}\n{body.get('errors', '')}")
    return body


if __name__ == "__main__":
    sys.exit(main())
