"""Write constraints.txt: resolve the newest dependencies in a throw-away environment and note their versions."""

from __future__ import annotations

import json
import subprocess
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = "cpu,embedded,worker,dev,benchmarks"
# One shares its import name with `onnxruntime`, the needs of the other do not go with ours (decision 0026).
APART = ("onnxruntime-gpu", "openapi-python-client")
HEADER = """\
# The lock file: exact versions of everything, written by `make lock`.
# torch is pinned without a build tag, so that a CPU build at hand is taken and a GPU machine gets its own.
"""


def newest(python: str, name: str) -> str:
    """The version of a package that would be installed, whatever else it needs."""
    options = ["--quiet", "--dry-run", "--no-deps", "--report=-"]
    report = subprocess.run([python, "-m", "pip", "install", *options, name], check=True, stdout=subprocess.PIPE)
    version: str = json.loads(report.stdout)["install"][0]["metadata"]["version"]
    return version


def main() -> None:
    """Resolve, and write the file."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"{ROOT}[{EXTRAS}]"], check=True)
        listing = subprocess.run([python, "-m", "pip", "list", "--format=json"], check=True, stdout=subprocess.PIPE)
        versions = {entry["name"]: entry["version"].partition("+")[0] for entry in json.loads(listing.stdout)}
        versions |= {name: newest(python, name) for name in APART}
    for name in ("thawline", "pip", "setuptools"):
        versions.pop(name, None)
    lines = [f"{name}=={versions[name]}" for name in sorted(versions, key=str.lower)]
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
