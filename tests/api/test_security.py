"""Who may call: the key, the host, the site a page comes from; and what each answer tells a browser."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from models_store.settings import get_settings
from tests.api.checks import problem_of
from tests.api.conftest import AppFactory
from tests.fixtures.servers import ROOT, Service, wait_for

KEY = "a-long-random-secret"
OPEN = {"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"}


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """Nothing here depends on the kind of database."""
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture
def keyed(start_app: AppFactory) -> TestClient:
    return start_app(api_key=KEY)


def test_every_operation_asks_for_the_key(keyed: TestClient) -> None:
    paths = keyed.get("/openapi.json").json()["paths"]
    operations = [(method, path) for path, methods in paths.items() for method in methods]
    asked = {path for method, path in operations if keyed.request(method, path).status_code == 401}

    assert {path for _, path in operations} - asked == OPEN
    for path, methods in paths.items():  # and the documentation says so
        for operation in methods.values():
            assert ("security" in operation) == (path not in OPEN)


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", KEY, f"Basic {KEY}"],
)
@pytest.mark.parametrize("path", ["/jobs", "/metrics", "/nowhere"])
def test_without_the_right_key_nothing_is_told(keyed: TestClient, header: str | None, path: str) -> None:
    answer = keyed.get(path, headers={"Authorization": header} if header is not None else {})

    assert "Authorization: Bearer" in problem_of(answer, 401)["detail"]
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/jobs", "/datasets", "/models", "/metrics"])
def test_the_right_key_opens(keyed: TestClient, path: str) -> None:
    for scheme in ("Bearer", "bearer"):
        assert keyed.get(path, headers={"Authorization": f"{scheme} {KEY}"}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/web/app.js", "/docs", "/redoc", "/openapi.json", "/healthz", "/v2/health/live"]
)
def test_the_page_its_files_and_the_probes_need_no_key(keyed: TestClient, path: str) -> None:
    assert keyed.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/web/../jobs", "/healthz/../jobs", "//jobs", "/jobs/", "/JOBS", "/docs/../jobs"])
def test_no_spelling_of_a_path_goes_around_the_key(keyed: TestClient, path: str) -> None:
    request = keyed.build_request("GET", "http://127.0.0.1/")
    request.url = request.url.copy_with(raw_path=path.encode())

    assert keyed.send(request, follow_redirects=True).status_code in (401, 404)


def test_a_call_without_the_key_is_refused_before_its_body_is_read(tmp_path: Path) -> None:
    # Otherwise anybody could fill the disk: an upload is spooled to a file while it comes in.
    api = Service(tmp_path, {"THAWLINE_API_KEY": KEY}, [sys.executable, "-m", "api.cli", "api"])
    api.start(ready=False)
    try:
        answer = _answer_to_headers_alone(api)
    finally:
        api.stop()
        api.client.close()

    assert answer.startswith(b"HTTP/1.1 401 ")


def _answer_to_headers_alone(api: Service) -> bytes:
    def connect() -> socket.socket | None:
        try:
            return socket.create_connection(("127.0.0.1", api.port), timeout=20)
        except OSError:
            return None

    with wait_for(connect, what="the port") as connection:
        connection.sendall(
            b"POST /datasets HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
        )
        received: bytes = connection.recv(4096)
    return received


def run_cli(folder: Path, command: str, settings: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    """A command that is expected to end by itself, in a folder without a `.env` file."""
    return subprocess.run(
        [sys.executable, "-m", "api.cli", command, *options],
        cwd=folder,
        env={"PATH": "", "PYTHONPATH": str(ROOT), **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", ["api", "serve"])
def test_nobody_listens_beyond_this_machine_without_a_key(tmp_path: Path, command: str) -> None:
    ended = run_cli(tmp_path, command, {"THAWLINE_HOME": str(tmp_path), "THAWLINE_HOST": "0.0.0.0"})

    assert ended.returncode == 2
    assert "THAWLINE_API_KEY" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "settings", "words"),
    [
        ("serve", {"THAWLINE_PORT": "abc"}, "THAWLINE_PORT=abc"),
        ("worker", {"THAWLINE_HEARTBEAT_SECONDS": "50"}, "THAWLINE_LEASE_SECONDS"),
        ("migrate", {"THAWLINE_DATABASE_URL": "mysql://u:secret@h/b"}, "THAWLINE_DATABASE_URL"),
        ("serve", {"THAWLINE_DATABASE_URL": "postgresql://u:secret@127.0.0.1:1/b"}, "THAWLINE_DATABASE_URL"),
        ("serve", {"THAWLINE_HOME": "/proc/thawline"}, "/proc/thawline"),
    ],
)
def test_what_keeps_a_process_from_starting_is_said_in_one_line(
    tmp_path: Path, command: str, settings: dict[str, str], words: str
) -> None:
    ended = run_cli(tmp_path, command, {"THAWLINE_HOME": str(tmp_path), **settings})

    assert ended.returncode == 2
    assert words in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert "secret" not in ended.stderr


@pytest.mark.parametrize("queues", ["", ","])
def test_a_worker_without_a_queue_is_not_given_the_default(tmp_path: Path, queues: str) -> None:
    ended = run_cli(tmp_path, "worker", {"THAWLINE_HOME": str(tmp_path)}, "--queues", queues)

    assert ended.returncode == 2
    assert "names no queue; say cpu, gpu or cpu,gpu" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["worker", "serve"])
def test_a_worker_for_gpus_does_not_start_where_there_is_none(tmp_path: Path, command: str) -> None:
    settings = {"THAWLINE_HOME": str(tmp_path), "THAWLINE_WORKER_QUEUES": "gpu", "CUDA_VISIBLE_DEVICES": ""}

    ended = run_cli(tmp_path, command, settings)

    assert ended.returncode == 2
    assert "no GPU" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


# ---- hosts and sites ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "LOCALHOST:8000", "[::1]", "[::1]:8000", "my.host"])
def test_known_hosts_are_served(start_app: AppFactory, host: str) -> None:
    assert start_app(allowed_hosts="My.Host").get("/jobs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil", ""])
def test_other_hosts_are_refused(client: TestClient, host: str) -> None:
    for path in ("/jobs", "/", "/healthz"):
        body = problem_of(client.get(path, headers={"Host": host}), 400)
        assert "THAWLINE_ALLOWED_HOSTS" in body["detail"]


def test_a_page_of_another_site_may_not_change_anything(client: TestClient) -> None:
    # A form can send multipart to 127.0.0.1 from any page, without asking and without CORS.
    files = {"file": ("a.csv", b"text,label\na,x\nb,y\nc,x\nd,y\n")}
    form = {"task": "classification"}

    foreign = client.post("/datasets", data=form, files=files, headers={"Sec-Fetch-Site": "cross-site"})
    own = client.post("/datasets", data=form, files=files, headers={"Sec-Fetch-Site": "same-origin"})

    problem_of(foreign, 403)
    assert own.status_code == 201
    assert len(client.get("/datasets").json()["data"]) == 1


def test_no_other_origin_may_read_an_answer(client: TestClient) -> None:
    answer = client.get("/jobs", headers={"Origin": "https://evil.example"})

    assert not [name for name in answer.headers if name.startswith("access-control-")]


# ---- headers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/jobs", "/nowhere", "/docs", "/metrics", "/web/app.js"])
def test_every_answer_carries_safe_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert ("unsafe-inline" in headers["content-security-policy"]) == (path == "/docs")


def test_the_callers_request_id_comes_back(client: TestClient) -> None:
    answer = client.get("/nowhere", headers={"X-Request-ID": "order-17"})

    assert problem_of(answer, 404)["request_id"] == "order-17"


@pytest.mark.parametrize("asked", ["", "a b", "x" * 65, "<script>", "a;b"])
def test_a_request_id_that_could_do_harm_is_replaced(client: TestClient, asked: str) -> None:
    given = client.get("/healthz", headers={"X-Request-ID": asked}).headers["x-request-id"]

    assert given != asked
    assert len(given) == 26


def test_no_two_requests_share_an_id(client: TestClient) -> None:
    assert len({client.get("/healthz").headers["x-request-id"] for _ in range(20)}) == 20


def test_the_tests_do_not_see_a_developers_settings() -> None:
    assert get_settings().api_key is None
