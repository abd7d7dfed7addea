"""The peers' environments: one for each set of versions that work together, made once and kept."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

# Versions that ran together under Python 3.11. torch is the same everywhere; other versions than Thawline's own
# would bring gigabytes of CUDA libraries besides.
PINS: dict[str, tuple[str, ...]] = {
    "transformers": (
        "transformers==4.57.6",
        "optimum-onnx[onnxruntime]==0.1.0",
        "torch==2.13.0",
        "fastapi==0.165.0",
        "uvicorn==0.54.0",
        "litserve==0.2.19",
    ),
    # Its version 6 wants transformers 5, which no release of optimum-onnx takes: no ONNX backend can be had for it.
    "sentence-transformers": (
        "sentence-transformers==5.7.0",
        "transformers==4.57.6",
        "optimum-onnx[onnxruntime]==0.1.0",
        "torch==2.13.0",
        "fastapi==0.165.0",
        "uvicorn==0.54.0",
    ),
    "pytriton": (
        "nvidia-pytriton==0.7.0",
        "transformers==4.57.6",
        "optimum-onnx[onnxruntime]==0.1.0",
        "torch==2.13.0",
        "numpy==1.26.4",
    ),
    "infinity": (
        "infinity-emb[server]==0.0.78",
        "transformers==4.48.3",
        "optimum==1.24.0",
        "sentence-transformers==3.4.1",
        "torch==2.13.0",
        "onnxruntime==1.20.1",
        "onnx==1.17.0",
        "numpy==1.26.4",
        "datasets==3.2.0",
        "pyarrow==17.0.0",
    ),
    "mlserver": (
        "mlserver==1.7.1",
        "mlserver-huggingface==1.7.1",
        "transformers==4.41.2",
        "optimum==1.24.0",
        "torch==2.13.0",
        "onnxruntime==1.20.1",
        "onnx==1.17.0",
        "numpy==1.26.4",
        "pandas==2.2.3",
    ),
}
_TAIL = 600  # characters of what pip says


class InstallError(RuntimeError):
    """An environment cannot be made here; the message is the end of what pip says."""


def prepare(name: str, root: Path) -> Path:
    """Make an environment unless it is there already.

    Args:
        name: Of `PINS`.
        root: Folder of all environments; an environment's own name says what is pinned in it.

    Returns:
        The folder of its programs.

    Raises:
        InstallError: pip failed.
    """
    pins = PINS[name]
    folder = root / f"{name}-{hashlib.sha256(' '.join(pins).encode()).hexdigest()[:12]}"
    finished = folder / "finished"
    if not finished.exists():
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *pins])
        finished.touch()
    return folder / "bin"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InstallError((done.stderr or done.stdout)[-_TAIL:].strip())
