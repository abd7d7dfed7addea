"""Settings come from the environment and `.env`, and refuse what would be dangerous."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from models_store import settings as settings_module
from models_store.encoders import EncoderCatalogue, HubRevision
from models_store.errors import ConfigurationError
from models_store.settings import Settings, default_home, get_settings, is_loopback
from tests.fixtures.receiver import SECRET
from tests.fixtures.servers import ROOT


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without a `.env` file."""
    monkeypatch.chdir(tmp_path)


def test_defaults_keep_everything_in_the_home_and_on_this_machine() -> None:
    settings = Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.home == default_home()
    assert settings.resolved_database_url == f"sqlite:///{settings.home}/thawline.db"
    assert settings.artifacts_dir == settings.home / "artifacts"
    assert settings.encoders == EncoderCatalogue(settings.home / "encoders", settings.home / "hub")
    settings.check_exposure()


def test_the_home_is_a_folder_of_the_checkout() -> None:
    assert (default_home().parent / "pyproject.toml").is_file()


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("THAWLINE_PORT=9001\nTHAWLINE_HOST=::1\nPOSTGRES_PASSWORD=other\n")
    code = "from models_store.settings import Settings; s = Settings(); print(s.host, s.port)"
    environment = {"PATH": "", "PYTHONPATH": str(ROOT), "THAWLINE_PORT": "9002"}
    command = [sys.executable, "-c", code]  # a process of its own, for which the file is not switched off
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["::1", "9002"]


def test_a_test_does_not_see_the_file_of_a_developer(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("THAWLINE_PORT=9001\n")
    assert Settings().port == 8000


def test_the_home_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative folders would mean another place after a change of directory."""
    monkeypatch.setenv("THAWLINE_HOME", "state/../state")
    monkeypatch.setenv("THAWLINE_ENCODERS_DIR", "encoders")
    settings = Settings()
    assert settings.home == tmp_path / "state"
    assert settings.encoders.folder == tmp_path / "encoders"


@pytest.mark.parametrize(
    ("url", "resolved"),
    [
        ("postgres://u:p@db/t", "postgresql+psycopg://u:p@db/t"),
        ("postgresql://u:p@db/t", "postgresql+psycopg://u:p@db/t"),
        ("postgresql+psycopg://db/t", "postgresql+psycopg://db/t"),
        ("sqlite:////tmp/x.db", "sqlite:////tmp/x.db"),
    ],
)
def test_database_urls(monkeypatch: pytest.MonkeyPatch, url: str, resolved: str) -> None:
    monkeypatch.setenv("THAWLINE_DATABASE_URL", url)
    assert Settings().resolved_database_url == resolved


@pytest.mark.parametrize("url", ["{}/files", "file://{}/files", "files"])
def test_artifacts_lie_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("THAWLINE_ARTIFACTS_URL", url.format(tmp_path))
    assert Settings().artifacts_dir == tmp_path / "files"


@pytest.mark.parametrize("url", ["s3://bucket/prefix", "https://example.org/x"])
def test_other_artifact_stores_are_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("THAWLINE_ARTIFACTS_URL", url)
    with pytest.raises(ConfigurationError, match=f"THAWLINE_ARTIFACTS_URL='{url}'"):
        _ = Settings().artifacts_dir


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.7", False),
        ("example.org", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_listening_beyond_this_machine_needs_a_key(
    monkeypatch: pytest.MonkeyPatch, host: str, *, loopback: bool
) -> None:
    assert is_loopback(host) is loopback
    monkeypatch.setenv("THAWLINE_API_KEY", "secret")
    Settings(host=host).check_exposure()
    monkeypatch.delenv("THAWLINE_API_KEY")
    if loopback:
        Settings(host=host).check_exposure()
    else:
        with pytest.raises(ConfigurationError, match="set THAWLINE_API_KEY"):
            Settings(host=host).check_exposure()


def test_a_worker_for_gpus_does_not_start_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    settings = Settings(_env_file=None, worker_queues=["gpu"])
    settings.check_consistency()  # the API may have the same settings, and run elsewhere

    with pytest.raises(ConfigurationError, match="no GPU"):
        settings.check_worker()
    Settings(_env_file=None, worker_queues=["cpu"]).check_worker()


def test_the_key_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THAWLINE_API_KEY", "hunter2")
    settings = Settings()
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "hunter2"
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_the_secret_of_webhooks_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().webhook_keys == ()
    monkeypatch.setenv("THAWLINE_WEBHOOK_SECRET", SECRET)
    settings = Settings()
    assert settings.webhook_keys == (bytes(range(32)),)
    assert SECRET.removeprefix("whsec_") not in f"{settings!r} {settings} {settings.model_dump_json()}"
    assert repr(settings.webhook_keys[0]) not in f"{settings!r} {settings} {settings.model_dump()}"


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THAWLINE_ALLOWED_HOSTS", "a.example.org, b.example.org,")
    assert Settings().allowed_hosts == ["a.example.org", "b.example.org"]


def test_encoders_from_the_hub_are_none_unless_they_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().encoders.hub == {}
    monkeypatch.setenv("THAWLINE_HUB_ENCODERS", f"tiny=acme/tiny@{'0' * 40}")
    assert Settings().encoders.hub == {"tiny": HubRevision("acme/tiny", "0" * 40)}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "65536"),
        ("HUB_ENCODERS", "tiny=acme/tiny@main"),
        ("PORT", "http"),
        ("MAX_UPLOAD_BYTES", "0"),
        ("WORKER_CONCURRENCY", "0"),
        ("LEASE_SECONDS", "0"),
        ("DEVICE", "tpu"),
        ("LOG_LEVEL", "chatty"),
    ],
)
def test_values_out_of_range_are_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"THAWLINE_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_a_process_reads_its_settings_once(monkeypatch: pytest.MonkeyPatch) -> None:
    get_settings.cache_clear()
    first = get_settings()
    monkeypatch.setenv("THAWLINE_PORT", "9003")
    assert get_settings() is first
    get_settings.cache_clear()


def test_a_lease_outlives_several_heartbeats() -> None:
    settings = Settings()
    assert settings.lease_seconds >= 3 * settings.heartbeat_seconds


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THAWLINE_API_KEY", "")
    monkeypatch.setenv("THAWLINE_HOST", "0.0.0.0")

    settings = Settings(_env_file=None)

    assert settings.api_key is None
    with pytest.raises(ConfigurationError, match="THAWLINE_API_KEY"):
        settings.check_exposure()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("heartbeat_seconds", 31.0, "THAWLINE_LEASE_SECONDS"),
        ("database_url", "mysql://user:hunter2@host/base", "THAWLINE_DATABASE_URL"),
        ("database_url", "garbage", "THAWLINE_DATABASE_URL"),
        ("artifacts_url", "s3://bucket", "THAWLINE_ARTIFACTS_URL"),
        ("webhook_secret", "hunter2", "THAWLINE_WEBHOOK_SECRET .* make one with"),
    ],
)
def test_settings_that_no_process_should_start_with(field: str, value: object, words: str) -> None:
    Settings(_env_file=None).check_consistency()

    with pytest.raises(ConfigurationError, match=words) as caught:
        Settings.model_validate({field: value}).check_consistency()

    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    ("settings", "driver", "queues"),
    [
        ({}, False, ["cpu"]),
        ({}, True, ["gpu", "cpu"]),
        ({"device": "cpu"}, True, ["cpu"]),
        ({"device": "cuda"}, False, ["gpu", "cpu"]),
        ({"worker_queues": "gpu"}, True, ["gpu"]),
        ({"worker_queues": "cpu, gpu"}, False, ["cpu", "gpu"]),
    ],
)
def test_a_worker_takes_what_its_device_can_do_unless_it_is_told(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], driver: bool, queues: list[str]
) -> None:
    monkeypatch.setattr(settings_module, "gpu_present", lambda: driver)

    assert Settings(_env_file=None, **settings).queues == queues


def test_a_queue_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValidationError, match="worker_queues"):
        Settings(_env_file=None, worker_queues="tpu")


@pytest.mark.parametrize("queues", ["", ",", " , "])
def test_queues_that_are_none_are_not_taken_for_the_default(queues: str) -> None:
    with pytest.raises(ValidationError, match="names no queue; say cpu, gpu or cpu,gpu"):
        Settings(_env_file=None, worker_queues=queues)
