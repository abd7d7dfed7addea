"""The compose file is valid, keeps no secret and names only settings that exist. No container is started."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from models_store.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"
TEXT = COMPOSE_FILE.read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
SECRETS = {"THAWLINE_API_KEY": "k" * 64, "POSTGRES_PASSWORD": "p" * 64, "REDIS_PASSWORD": "r" * 64}

ONE_SHOT = {"migrate"}
SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|KEY|AUTH")
INTERPOLATION = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?P<operator>[:?+-]*)")  # `$$` is a literal dollar
REQUIRED = re.compile(r"\$\{\w+:\?[^}]*\}")

each_service = pytest.mark.parametrize("name", SERVICES)


def environment_names(*, handed_on: bool = False) -> set[str]:
    """The variables of all services, or only those that compose hands on from the caller's environment."""
    variables = [item for service in SERVICES.values() for item in service.get("environment", {}).items()]
    return {name for name, value in variables if value is None or not handed_on}


def interpolated_names() -> set[str]:
    return {match["name"] for match in INTERPOLATION.finditer(TEXT)}


def test_follows_the_compose_specification() -> None:
    options = f"-m check_jsonschema --builtin-schema vendor.compose-spec {COMPOSE_FILE.name}".split()
    checked = subprocess.run([sys.executable, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def compose(command: str, secrets: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the docker client's compose plugin without the caller's ``.env``; this needs no engine."""
    environment = {name: value for name, value in os.environ.items() if name not in interpolated_names()}
    return subprocess.run(
        ["docker", "compose", "--env-file", os.devnull, *command.split()],
        cwd=ROOT, env=environment | (secrets or {}), capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def compose_plugin() -> None:
    if shutil.which("docker") is None or compose("version").returncode != 0:
        pytest.skip("no docker client with the compose plugin")


@pytest.mark.usefixtures("compose_plugin")
def test_compose_resolves_the_file_and_publishes_on_loopback_only() -> None:
    resolved = compose("--profile gpu config", SECRETS)
    assert resolved.returncode == 0, resolved.stderr
    services = yaml.safe_load(resolved.stdout)["services"]
    assert services.keys() == SERVICES.keys()
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published.keys() == {"api"}
    assert [port["host_ip"] for port in published["api"]] == ["127.0.0.1"]


@pytest.mark.usefixtures("compose_plugin")
@pytest.mark.parametrize("missing", SECRETS)
def test_compose_refuses_to_start_without_a_secret(missing: str) -> None:
    refused = compose("--profile gpu config", SECRETS | {missing: ""})
    assert refused.returncode != 0
    assert missing in refused.stderr


@each_service
def test_the_build_exists(name: str) -> None:
    build = SERVICES[name].get("build")
    if build is None:
        assert re.search(r":\d+\.\d+", SERVICES[name]["image"]), "pinned to a version"
    else:
        assert (ROOT / build["context"] / build["dockerfile"]).is_file()


@each_service
def test_a_service_comes_back_and_says_how_it_is(name: str) -> None:
    service = SERVICES[name]
    if name in ONE_SHOT:
        assert service["restart"] == "no"
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"]


@each_service
def test_a_service_has_few_rights(name: str) -> None:
    service = SERVICES[name]
    assert not service.get("privileged", False)
    assert "cap_add" not in service
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert not service["user"].startswith(("0", "root"))


@each_service
def test_no_secret_has_a_value_of_its_own(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        if SECRET_NAME.search(variable):
            assert value is None or REQUIRED.fullmatch(value), variable  # None: handed on, where it is set
        for password in re.findall(r"://[^/@:]*:(.*)@", str(value)):
            assert REQUIRED.fullmatch(password), variable


def test_every_use_of_a_secret_demands_it() -> None:
    operators = {match["operator"] for match in INTERPOLATION.finditer(TEXT) if SECRET_NAME.search(match["name"])}
    assert operators == {":?"}


def test_every_thawline_variable_is_a_setting() -> None:
    settings = {f"THAWLINE_{field.upper()}" for field in Settings.model_fields}
    named = {name for name in environment_names() | interpolated_names() if name.startswith("THAWLINE_")}
    assert named <= settings


def test_the_example_lists_every_variable_and_no_secret() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8")
    example = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", lines, re.MULTILINE))
    assert example.keys() == interpolated_names() | environment_names(handed_on=True)
    assert {example[name] for name in SECRETS} == {""}
