"""The whole run: environments, the one model, and for each precision the servers that take turns."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving import conversion, environments, servers, texts, thawline
from benchmarks.serving.limit import CORES, Loop
from benchmarks.serving.load import Wrk
from benchmarks.serving.measure import LimitTarget, Plan, Server, ServerTarget, Target, compare, measure, warm_up
from benchmarks.serving.peers import PEERS, Model, Start, environment, thawline_api
from benchmarks.serving.processes import ServerError, free_port, running
from benchmarks.serving.results import LIMIT, OURS, Run
from benchmarks.serving.thawline import Thawline
from models_store.precision import Precision
from models_store.tokenizer import TOKENIZER_FILE, load_tokenizer

_COMPARED = 16  # texts of each kind
_EXPORTER = "transformers"  # the environment whose optimum exports the model for all
_IDLE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to compare.

    Attributes:
        data: A CSV file with the columns ``text`` and ``label``.
        rows: That the classifier learns from.
        seed: Of the job, its rows, and the texts of the load.
        peers: Of `PEERS`.
        venvs: Folder of the peers' environments.
        texts: Of `texts.KINDS`.
        precisions: One after the other.
        connections: How many at a time.
        seconds: Of one run.
        rounds: How often each is measured.
    """

    data: Path
    rows: int
    seed: int
    peers: Sequence[str]
    venvs: Path
    texts: Sequence[str]
    precisions: Sequence[Precision]
    connections: Sequence[int]
    seconds: int
    rounds: int

    def plan(self, tokenizer_file: Path) -> Plan:
        """The texts, and how they are sent."""
        source, tokenizer = thawline.read_texts(self.data), load_tokenizer(tokenizer_file, None)
        made = {name: texts.make(texts.KINDS[name], source, tokenizer, self.seed) for name in self.texts}
        return Plan(made, self.connections, self.seconds, self.rounds)


def run(wanted: Wanted, root: Path, tell: Callable[[str], None]) -> Iterator[Run]:
    """Do everything, in an empty folder ``root``; ``tell`` gets what is worth reading meanwhile.

    Raises:
        ServerError: Thawline itself failed.
    """
    programs = _install(wanted, tell)
    with thawline.served(root / "home") as service:
        tell("training the classifier")
        published = service.train(wanted.data, wanted.rows, wanted.seed)
        model = _convert(published, root, programs[_EXPORTER]) if programs else None
        plan = wanted.plan(published / TOKENIZER_FILE)
        comparison = _Comparison(root, service, published, model, programs, plan, tell)
        for precision in wanted.precisions:
            yield from comparison.measure(wanted.peers, precision)


def _install(wanted: Wanted, tell: Callable[[str], None]) -> dict[str, Path]:
    """The programs of each environment that can be made; none at all without the one that exports the model."""
    programs: dict[str, Path] = {}
    for name in dict.fromkeys([_EXPORTER, *(PEERS[peer].environment for peer in wanted.peers)] if wanted.peers else []):
        tell(f"environment {name}: {', '.join(environments.PINS[name])}")
        try:
            programs[name] = environments.prepare(name, wanted.venvs)
        except environments.InstallError as error:
            tell(f"cannot be installed, and its peers are left out: {error}")
            if name == _EXPORTER:
                return {}
    return programs


def _convert(published: Path, root: Path, programs: Path) -> Model:
    """The published model as the peers want it."""
    torch = root / "torch"
    exported = {precision: root / precision.value for precision in Precision}
    conversion.convert(published, torch, thawline.MAX_LENGTH)
    script = Path(servers.__file__).with_name("export.py")
    command = [programs / "python", script, torch, exported[Precision.FP32], exported[Precision.INT8]]
    subprocess.run(command, check=True, env=environment(root), capture_output=True)
    return Model(torch, exported)


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Everything that stays the same from one precision to the next; without a ``model`` there are no peers."""

    root: Path
    service: Thawline
    published: Path
    model: Model | None
    programs: dict[str, Path]
    plan: Plan
    tell: Callable[[str], None]

    def measure(self, peers: Sequence[str], precision: Precision) -> Iterator[Run]:
        """Start the peers that have this precision, compare answers, and load all in turn."""
        client = Wrk(self.root)
        with ExitStack() as stack:
            targets: dict[str, Target] = {OURS: ServerTarget(self._ours(precision), client)}
            for name in peers:
                if (target := self._enter(stack, name, precision, client)) is not None:
                    targets[name] = target
            targets[LIMIT] = self._limit(precision)
            warm_up(targets, self.plan)
            self.tell(f"{precision}: with no load, {_busy(_IDLE_SECONDS):.0%} of the CPU is busy with other work")
            yield from measure(targets, self.plan, precision)

    def _ours(self, precision: Precision) -> Server:
        return Server(self.service.url, thawline_api(precision))

    def _limit(self, precision: Precision) -> LimitTarget:
        return LimitTarget(
            alone=Loop(self.published, precision, threads=1, intra=CORES),
            parallel=Loop(self.published, precision, threads=CORES, intra=1),
        )

    def _enter(self, stack: ExitStack, name: str, precision: Precision, client: Wrk) -> ServerTarget | None:
        """A peer that was started for as long as the stack lasts, and whose answers are right; or nothing."""
        peer = PEERS[name]
        if self.model is None or peer.environment not in self.programs or precision not in peer.precisions:
            return None
        folder, port = self.root / f"{name}-{precision}", free_port()
        folder.mkdir()
        start = Start(self.programs[peer.environment], self.model, precision, folder, port)
        server = Server(f"http://127.0.0.1:{port}", peer.api)
        sample = [text for kind in self.plan.texts.values() for text in kind[:_COMPARED]]
        with ExitStack() as own:
            try:
                group = own.enter_context(
                    running(
                        peer.command(start), environment(folder), folder / "log.txt", server.url + peer.ready, folder
                    )
                )
                said = compare(self._ours(precision).answers(sample), server.answers(sample), precision)
            except ServerError as error:
                self.tell(f"{name}, {precision}, is left out: {error}")
                return None
            self.tell(f"{name}, {precision}: {said}")
            group.pause()
            stack.push(own.pop_all())
        return ServerTarget(server, client, group)


def _busy(seconds: float) -> float:
    """Share of all cores' time in which something ran, whoever's it was (Linux)."""
    idle, total = _cpu_times()
    time.sleep(seconds)
    idle_then, total_then = _cpu_times()
    return 1 - (idle_then - idle) / (total_then - total)


def _cpu_times() -> tuple[int, int]:
    """Idle and total time of all cores so far (proc(5))."""
    _, *fields = Path("/proc/stat").read_text(encoding="utf-8").partition("\n")[0].split()
    user, nice, system, idle, waiting, *rest = map(int, fields[:8])
    return idle + waiting, user + nice + system + idle + waiting + sum(rest)
