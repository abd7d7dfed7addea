"""An application inside the test's own process: for faults that must be injected, and for PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from models_store.database import Database
from models_store.settings import Settings

AppFactory = Callable[..., TestClient]


@pytest.fixture
def start_app(db: Database, tmp_path: Path) -> Iterator[AppFactory]:
    """Starts an application with these settings, without a broker, on each kind of database."""
    with ExitStack() as stack:

        def start(**settings: Any) -> TestClient:
            chosen = Settings(_env_file=None, home=tmp_path, database_url=db.url, **settings)
            return stack.enter_context(TestClient(create_app(chosen), base_url="http://127.0.0.1"))

        yield start


@pytest.fixture
def client(start_app: AppFactory) -> TestClient:
    """An application on its defaults."""
    return start_app()
