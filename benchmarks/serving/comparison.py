"""The whole run: environments, the one model, and for each precision the servers that take turns."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.serving import conversion, environments, servers, texts, thawline
from benchmarks.serving.limit import CORES, Loop
from benchmarks.serving.load import Wrk
from benchmarks.serving.measure import LimitTarget, Plan, Server, ServerTarget, Target, compare, measure, warm_up
from benchmarks.serving.peers import PEERS, Model, Start, environment, thawline_api
from benchmarks.serving.processes import ServerError, free_port, running
from benchmarks.serving.results import LIMIT, OURS, Run
from benchmarks.serving.thawline import MODEL, Published, Thawline
from models_store.precision import ONNX_FILES, Precision
from models_store.tokenizer import TOKENIZER_FILE, load_tokenizer

_COMPARED = 16  # texts of each kind
_EXPORTER = "transformers"  # the environment whose optimum exports the model for all
_IDLE_SECONDS = 3.0
AUTO = "auto"
PRECISIONS = (AUTO, Precision.FP32.value, Precision.INT8.value)


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
        precisions: Of `PRECISIONS`, one after the other.
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
    precisions: Sequence[str]
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
        settings = train(wanted, service, tell)
        folder = settings[0].ours.folder
        model = _convert(folder, root, programs[_EXPORTER]) if programs else None
        comparison = _Comparison(root, service, model, programs, wanted.plan(folder / TOKENIZER_FILE), tell)
        for setting in settings:
            yield from comparison.measure(wanted.peers, setting)


class Setting(NamedTuple):
    """What is compared under one name of a precision.

    Attributes:
        name: Of `PRECISIONS`.
        ours: Thawline's model.
        asked: What it is asked for; None for what it serves by itself.
        peers: What the peers calculate in.
    """

    name: str
    ours: Published
    asked: Precision | None
    peers: Precision

    @property
    def served(self) -> Precision:
        """What Thawline calculates in."""
        return self.asked or self.ours.served


def train(wanted: Wanted, service: Thawline, tell: Callable[[str], None]) -> list[Setting]:
    """One classifier for all, its precision left to Thawline. Where that took no 8 bits and they are wanted, one more.

    Raises:
        ServerError: A job failed, or the second training gave other weights.
    """
    tell("training the classifier")
    published = service.train(wanted.data, wanted.rows, wanted.seed, MODEL, "auto")
    tell(f"auto serves it in {published.served}: {published.reason}")
    in_8_bits = published
    if Precision.INT8.value in wanted.precisions and not published.has(Precision.INT8):
        tell("training it again, with int8 asked for")
        in_8_bits = service.train(wanted.data, wanted.rows, wanted.seed, f"{MODEL}-int8", "int8")
        one, other = ((version.folder / ONNX_FILES[Precision.FP32]).read_bytes() for version in (published, in_8_bits))
        if one != other:
            raise ServerError("trained again with the same seed, the classifier has other weights")
    made = {
        AUTO: Setting(AUTO, published, None, Precision.FP32),
        "fp32": Setting("fp32", published, Precision.FP32, Precision.FP32),
        "int8": Setting("int8", in_8_bits, Precision.INT8, Precision.INT8),
    }
    return [made[name] for name in wanted.precisions]


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
    model: Model | None
    programs: dict[str, Path]
    plan: Plan
    tell: Callable[[str], None]

    def measure(self, peers: Sequence[str], setting: Setting) -> Iterator[Run]:
        """Start the peers that have the precision, compare answers, and load all in turn."""
        client = Wrk(self.root)
        with ExitStack() as stack:
            targets: dict[str, Target] = {OURS: ServerTarget(self._ours(setting), client)}
            for name in peers:
                if (target := self._enter(stack, name, setting, client)) is not None:
                    targets[name] = target
            targets[LIMIT] = _limit(setting)
            warm_up(targets, self.plan)
            self.tell(f"{setting.name}: with no load, {_busy(_IDLE_SECONDS):.0%} of the CPU is busy with other work")
            yield from measure(targets, self.plan, setting.name)

    def _ours(self, setting: Setting) -> Server:
        return Server(self.service.url, thawline_api(setting.ours.model, setting.asked))

    def _enter(self, stack: ExitStack, name: str, setting: Setting, client: Wrk) -> ServerTarget | None:
        """A peer that was started for as long as the stack lasts, and whose answers are right; or nothing."""
        peer = PEERS[name]
        if self.model is None or peer.environment not in self.programs or setting.peers not in peer.precisions:
            return None
        folder, port = self.root / f"{name}-{setting.name}", free_port()
        folder.mkdir()
        start = Start(self.programs[peer.environment], self.model, setting.peers, folder, port)
        server = Server(f"http://127.0.0.1:{port}", peer.api)
        sample = [text for kind in self.plan.texts.values() for text in kind[:_COMPARED]]
        with ExitStack() as own:
            try:
                group = own.enter_context(
                    running(
                        peer.command(start), environment(folder), folder / "log.txt", server.url + peer.ready, folder
                    )
                )
                exact = setting.served is setting.peers is Precision.FP32
                said = compare(self._ours(setting).answers(sample), server.answers(sample), exact=exact)
            except ServerError as error:
                self.tell(f"{name}, {setting.name}, is left out: {error}")
                return None
            self.tell(f"{name}, {setting.name}: {said}")
            group.pause()
            stack.push(own.pop_all())
        return ServerTarget(server, client, group)


def _limit(setting: Setting) -> LimitTarget:
    folder, precision = setting.ours.folder, setting.served
    return LimitTarget(
        alone=Loop(folder, precision, threads=1, intra=CORES),
        parallel=Loop(folder, precision, threads=CORES, intra=1),
    )


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
