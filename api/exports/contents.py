"""Which files an export has, and where they lie in it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from api.exports.archive import Entry
from api.exports.triton import CONFIG_FILE as TRITON_FILE
from api.exports.triton import LABELS_FILE, config_pbtxt, labels_of
from api.exports.usage import USAGE_FILE, onnx_usage, triton_usage
from models_store.artifacts import MANIFEST
from models_store.precision import ONNX_FILES, Precision
from models_store.predictor import CONFIG_FILE, Predictor
from models_store.reports import CARD_FILE
from models_store.tables import ModelVersion
from models_store.tokenizer import TOKENIZER_FILE

_COPIED = (*ONNX_FILES.values(), CONFIG_FILE, TOKENIZER_FILE, CARD_FILE, MANIFEST)


class ArchiveFormat(StrEnum):
    """What an export is for."""

    ONNX = "onnx"
    TRITON = "triton"


def entries_of(kind: ArchiveFormat, version: ModelVersion, predictor: Predictor, folder: Path) -> list[Entry]:
    """The files of an export.

    Args:
        kind: What it is for.
        version: The version.
        predictor: Its model in the precision that is served.
        folder: Where its files lie.
    """
    return _CONTENTS[kind](version, predictor, folder)


def _onnx(version: ModelVersion, predictor: Predictor, folder: Path) -> list[Entry]:
    """The artifact's own files but for the report and the golden rows, which quote rows of the data."""
    copied = [Entry(name, folder / name) for name in _COPIED if (folder / name).is_file()]
    return [*copied, Entry(USAGE_FILE, onnx_usage(version, predictor).encode())]


def _triton(version: ModelVersion, predictor: Predictor, folder: Path) -> list[Entry]:
    """A model repository with this one model in it."""
    labels = "".join(f"{label}\n" for label in labels_of(predictor.task))
    files: dict[str, Path | bytes] = {
        TRITON_FILE: config_pbtxt(version, predictor).encode(),
        **({LABELS_FILE: labels.encode()} if labels else {}),
        f"{version.version}/{ONNX_FILES[Precision.FP32]}": folder / ONNX_FILES[predictor.precision],
        TOKENIZER_FILE: folder / TOKENIZER_FILE,
        CONFIG_FILE: folder / CONFIG_FILE,
        USAGE_FILE: triton_usage(version, predictor, labelled=bool(labels)).encode(),
    }
    return [Entry(f"{version.model}/{name}", content) for name, content in files.items()]


_CONTENTS: dict[ArchiveFormat, Callable[[ModelVersion, Predictor, Path], list[Entry]]] = {
    ArchiveFormat.ONNX: _onnx,
    ArchiveFormat.TRITON: _triton,
}
