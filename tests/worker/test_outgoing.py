"""HTTP to wherever users say: which addresses, how long, and what is left unread."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpcore
import pytest

from tests.fixtures.receiver import Receiver
from tests.fixtures.servers import free_port
from worker.outgoing import CheckedNetwork, ForbiddenAddressError, is_public, post

CONTEXT = httpcore.default_ssl_context()
PUBLIC, OTHER = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"


def send(url: str, *, allow_private: bool = True, seconds: float = 10.0, context: ssl.SSLContext = CONTEXT) -> int:
    headers = {"Content-Type": "application/json"}
    return post(url, b"{}", headers, seconds=seconds, allow_private=allow_private, context=context)


class Recorder(httpcore.NetworkBackend):
    """Notes where it was to connect, and does not."""

    def __init__(self) -> None:
        self.addresses: list[str] = []

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        self.addresses.append(host)
        raise httpcore.ConnectError("nobody there")


def connect(recorder: Recorder, host: str, *, allow_private: bool = False) -> None:
    network = CheckedNetwork(deadline=time.monotonic() + 10, allow_private=allow_private, network=recorder)
    network.connect_tcp(host, 443)


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Lets names lead to addresses, a list of them for each time that one is asked for; tells which were."""
    real, asked = socket.getaddrinfo, []

    def use(**names: list[list[str]]) -> list[str]:
        def getaddrinfo(host: str, port: Any, *arguments: Any, **options: Any) -> list[Any]:
            name = host.removesuffix(".test")
            if name == host:
                return real(host, port, *arguments, **options)
            asked.append(host)
            answers = names[name]
            addresses = answers.pop(0) if len(answers) > 1 else answers[0]
            return [found for address in addresses for found in real(address, port, type=socket.SOCK_STREAM)]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return asked

    return use


def read_request(connection: socket.socket) -> None:
    """Read a request to the end of its body: a server that closes before that resets the connection."""
    received = b""
    while not received.endswith(b"{}") and (part := connection.recv(65536)):
        received += part


@contextmanager
def raw_server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server of one connection that says what it likes; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            with suppress(OSError):  # the client goes away
                connection, _ = listener.accept()
                with connection:
                    read_request(connection)
                    serve(connection)

        thread = threading.Thread(target=run)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join(10)
        assert not thread.is_alive()


# ---- addresses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", OTHER, "::ffff:8.8.8.8", "2002:808:808::1", "192.0.1.1"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254",
        "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1",
        "192.0.0.1", "192.0.0.9", "192.0.0.255", "192.88.99.1", "::ffff:192.88.99.1", "2002:c058:6301::1",
        "3fff::1", "3fff:fff:ffff::1",
        "::", "::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::127.0.0.1", "fe80::1", "fe80::1%1", "fc00::1",
        "fd00:ec2::254", "fec0::1", "ff02::1", "ff0e::1", "2001:db8::1", "2002:a00:1::1", "64:ff9b::a00:1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "127.0.0.1", "[::1]", "169.254.169.254", "[::ffff:10.0.0.1]", "[::ffff:127.0.0.1]", "0.0.0.0",
        "2130706433", "0177.0.0.1", "0x7f.0.0.1", "127.1",  # all of them 127.0.0.1 to the system's resolver
    ],
)  # fmt: skip
def test_private_hosts_are_refused_unless_they_are_allowed(receiver: Receiver, host: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        send(f"http://{host}:{receiver.port}/", allow_private=False)

    assert receiver.calls == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "2130706433"])
def test_private_hosts_that_are_allowed_are_called(receiver: Receiver, host: str) -> None:
    assert send(f"http://{host}:{receiver.port}/a;b/?c=d&e") == 204

    (call,) = receiver.calls
    assert (call.path, call.headers["host"], call.body) == ("/a;b/?c=d&e", f"{host}:{receiver.port}", b"{}")


def test_exactly_what_was_checked_is_connected_to(resolve: Callable[..., list[str]]) -> None:
    asked = resolve(rebinding=[[PUBLIC], ["127.0.0.1"]])  # public when it is checked, private a moment later
    recorder = Recorder()

    with pytest.raises(httpcore.ConnectError):
        connect(recorder, "rebinding.test")

    assert recorder.addresses == [PUBLIC]
    assert asked == ["rebinding.test"]
    with pytest.raises(ForbiddenAddressError):
        connect(recorder, "rebinding.test")
    assert recorder.addresses == [PUBLIC]


def test_one_private_address_among_public_ones_is_enough(resolve: Callable[..., list[str]]) -> None:
    resolve(mixed=[[PUBLIC, "10.0.0.1"]])
    recorder = Recorder()

    with pytest.raises(ForbiddenAddressError) as refused:
        connect(recorder, "mixed.test")

    assert recorder.addresses == []
    assert "10.0.0.1" not in str(refused.value)


def test_the_next_address_is_tried_where_one_does_not_answer(
    resolve: Callable[..., list[str]], receiver: Receiver
) -> None:
    resolve(several=[[PUBLIC, OTHER]], half=[["127.0.0.2", "127.0.0.1"]])
    recorder = Recorder()

    with pytest.raises(httpcore.ConnectError, match="nobody there"):
        connect(recorder, "several.test")

    assert recorder.addresses == [PUBLIC, OTHER]
    assert send(f"http://half.test:{receiver.port}/") == 204  # the receiver listens on the second alone


@pytest.mark.parametrize("host", ["unknown.example.org", "a" * 70 + ".example.org"])
def test_a_name_that_leads_nowhere(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    if host.startswith("unknown"):

        def unknown(*_: Any, **__: Any) -> Any:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)

    with pytest.raises(httpcore.ConnectError, match="cannot be resolved"):
        send(f"http://{host}/")


# ---- TLS ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of ``hooks.test``, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    subject = ["-subj", "/CN=hooks.test", "-addext", "subjectAltName=DNS:hooks.test"]
    subject += ["-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@contextmanager
def tls_server(folder: Path, names: list[str | None]) -> Iterator[int]:
    """Answers one request, if the handshake gets so far; its port. Notes the name that it was asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")

    def note(_socket: Any, name: str | None, _context: Any) -> None:
        names.append(name)

    context.sni_callback = note
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            with suppress(OSError):
                connection, _ = listener.accept()
                with context.wrap_socket(connection, server_side=True) as stream:
                    read_request(stream)
                    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=run)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


def test_tls_verifies_the_name_and_not_the_address(certificate: Path, resolve: Callable[..., list[str]]) -> None:
    resolve(hooks=[["127.0.0.1"]], other=[["127.0.0.1"]])
    trusting = ssl.create_default_context(cafile=certificate / "certificate.pem")
    names: list[str | None] = []

    with tls_server(certificate, names) as port:
        assert send(f"https://hooks.test:{port}/", context=trusting) == 200
    with tls_server(certificate, names) as port, pytest.raises(httpcore.ConnectError, match="Hostname mismatch"):
        send(f"https://other.test:{port}/", context=trusting)
    with (
        tls_server(certificate, names) as port,
        pytest.raises(httpcore.ConnectError, match="certificate verify failed"),
    ):
        send(f"https://hooks.test:{port}/")

    assert names == ["hooks.test", "other.test", "hooks.test"]


# ---- time, and what is left unread ----------------------------------------------------------------------------------


def test_a_receiver_that_sends_a_byte_at_a_time_gets_no_more_time() -> None:
    gone = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while not gone.wait(0.05):
            connection.sendall(b"x")

    started = time.monotonic()
    with raw_server(drip) as url:
        with pytest.raises(httpcore.ReadTimeout):
            send(url, seconds=0.5)
        gone.set()

    assert time.monotonic() - started >= 0.5


def test_a_receiver_that_says_nothing() -> None:
    gone = threading.Event()

    def wait(_: socket.socket) -> None:
        gone.wait(30)

    with raw_server(wait) as url:
        with pytest.raises(httpcore.ReadTimeout):
            send(url, seconds=0.2)
        gone.set()


def test_time_that_is_over_before_there_is_a_connection() -> None:
    with pytest.raises(httpcore.ConnectTimeout):
        send("http://127.0.0.1:1/", seconds=0.0)


def test_an_endless_body_is_not_read() -> None:
    sent = []

    def pour(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            sent.append(65536)

    with raw_server(pour) as url:
        assert send(url) == 202

    assert sum(sent) < 64 * 1024 * 1024  # what the system's buffers took


@pytest.mark.parametrize(
    "noise", [b"\x00\x01 this is no HTTP\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 50000]
)
def test_what_is_no_http(noise: bytes) -> None:
    with (
        raw_server(lambda connection: connection.sendall(noise)) as url,
        pytest.raises((httpcore.RemoteProtocolError, httpcore.ReadError)),
    ):
        send(url)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(receiver: Receiver, status: int) -> None:
    receiver.answers.append(status)

    assert send(receiver.url) == status

    assert len(receiver.calls) == 1


def test_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")

    assert send(receiver.url) == 204
