"""Read one file in a process of its own, and tell how long that took and how much memory.

python -m benchmarks.ingest.once FORMAT FILE thawline|plain
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from models_store.tasks import TaskName


def _thawline(form: str, path: Path) -> int:
    """All that an upload goes through once it lies on the disk."""
    from models_store.artifacts import ArtifactStore
    from models_store.datasets import Upload, Wishes, dry_run

    task = TaskName.TAGGING if form == "conll" else TaskName.CLASSIFICATION
    with tempfile.TemporaryDirectory() as folder, path.open("rb") as stream:
        outcome, splits, _ = dry_run(ArtifactStore(Path(folder)), [Upload("train", path.name, stream)], Wishes(task))
    if outcome.report.errors.count:
        raise RuntimeError(outcome.report.errors.kept[0].message)
    return sum(split["rows"] for split in splits.values())


def _csv(path: Path) -> int:
    import pyarrow.csv

    return int(pyarrow.csv.read_csv(path).num_rows)


def _json_lines(path: Path) -> int:
    import pyarrow.json

    return int(pyarrow.json.read_json(path).num_rows)


def _json(path: Path) -> int:
    return len(json.loads(path.read_bytes()))


def _parquet(path: Path) -> int:
    import pyarrow.parquet

    return int(pyarrow.parquet.read_table(path).num_rows)


def _arrow(path: Path) -> int:
    import pyarrow as pa

    with pa.OSFile(str(path)) as file:
        return int(pa.ipc.open_file(file).read_all().num_rows)


def _workbook(path: Path) -> int:
    from python_calamine import CalamineWorkbook

    return len(CalamineWorkbook.from_path(str(path)).get_sheet_by_index(0).to_python()) - 1


def _conll(path: Path) -> int:
    """No library of the field reads this: its lines, split."""
    sentences = 0
    with path.open(encoding="utf-8") as file:
        for line in file:
            sentences += not line.split()
    return sentences


PLAIN: dict[str, Callable[[Path], int]] = {
    "csv": _csv,
    "csv.gz": _csv,
    "jsonl": _json_lines,
    "json": _json,
    "parquet": _parquet,
    "arrow": _arrow,
    "xlsx": _workbook,
    "conll": _conll,
}


def main() -> None:
    """Read, and print seconds, rows and MiB as JSON."""
    form, path, how = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    began = time.perf_counter()
    rows = _thawline(form, path) if how == "thawline" else PLAIN[form](path)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "rows": rows, "mib": peak}))


if __name__ == "__main__":
    main()
