"""What a version's files say of it, without the model being loaded."""

from __future__ import annotations

import json
from typing import Any

from models_store.artifacts import ArtifactStore
from models_store.errors import ArtifactCorruptError
from models_store.predictor import CONFIG_FILE
from models_store.tables import ModelVersion


def config_of(store: ArtifactStore, version: ModelVersion) -> dict[str, Any]:
    """The configuration that its predictor is loaded with.

    Raises:
        NotFoundError: The version was deleted meanwhile.
        ArtifactCorruptError: The file differs from what was published, or there is none.
    """
    content = store.read(version.artifact, CONFIG_FILE)
    if content is None:
        raise ArtifactCorruptError(f"artifact {version.artifact!r} has no {CONFIG_FILE}")
    config: dict[str, Any] = json.loads(content)
    return config
