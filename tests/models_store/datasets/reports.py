"""Write down what is said of every file of the corpus; whoever does it reads the difference, line by line."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from models_store.artifacts import ArtifactStore
from tests.models_store.datasets.test_corpus import CASES, REPORTS, dry_run, report_of


def main() -> None:
    """Write the file."""
    with tempfile.TemporaryDirectory() as folder:
        store = ArtifactStore(Path(folder))
        reports = {case.name: report_of(dry_run(store, case)) for case in CASES}
    REPORTS.write_text(json.dumps(reports, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
