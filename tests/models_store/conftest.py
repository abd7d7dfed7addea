"""What the tests of `models_store` share: a real SQLite database, an artifact store, the packaged tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from sqlmodel import SQLModel
from tokenizers import Tokenizer

import models_store.tables  # noqa: F401 (fills SQLModel.metadata)
from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.encoders import EncoderCatalogue
from models_store.predictions import answering
from models_store.predictor import Predictor
from models_store.tokenizer import TOKENIZER_FILE, load_tokenizer
from tests.models_store.answers import Echo

settings.register_profile("thawline", deadline=None)  # how long an example takes says nothing on a busy machine
settings.load_profile("thawline")


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/t.db")
    SQLModel.metadata.create_all(database.engine)
    yield database
    database.dispose()


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture(scope="session")
def tokenizer_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Tokenizer]:
    """The tokenizer of MiniLM, cut off at the length given."""
    nowhere = tmp_path_factory.mktemp("no-encoders")
    path = EncoderCatalogue(nowhere, nowhere).find("minilm-l6").folder / TOKENIZER_FILE
    return lambda max_length: load_tokenizer(path, max_length)


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Echo:
    """A model in the place of every other one; parts have four rows."""
    model = Echo()
    monkeypatch.setattr(Predictor, "load", lambda *_: model)
    monkeypatch.setattr(ArtifactStore, "verified_path", ArtifactStore._path)
    monkeypatch.setattr(answering, "PART_ROWS", 4)
    return model
