"""HTTP to wherever users say: to public addresses alone, unless the operator allows others, and never for long.

A name is resolved once, its addresses are checked, and exactly these are connected to: a name that leads elsewhere a
moment later (DNS rebinding) leads nowhere. TLS still verifies the name. Redirects are not followed, proxies that the
environment names are not used, and nothing of an answer but its status is read.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpcore

# What Python's `ipaddress` takes for public, and is not: protocol assignments (RFC 6890), the relays of 6to4, which was
# given up (RFC 7526: the address leads to whoever announces it), and documentation (RFC 9637).
_NOT_PUBLIC = tuple(ipaddress.ip_network(block) for block in ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20"))


class ForbiddenAddressError(Exception):
    """The host has an address that is not public."""


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    seconds: float,
    allow_private: bool,
    context: ssl.SSLContext,
) -> int:
    """The HTTP status that a POST is answered with.

    Args:
        url: An ``http`` or ``https`` URL in its normal form, as pydantic's ``HttpUrl`` writes it.
        body: What is sent.
        headers: What is sent before it.
        seconds: Time for all of it, from the name's lookup to the status.
        allow_private: Whether addresses that are not public will do.
        context: For ``https``.

    Raises:
        ForbiddenAddressError: The host has an address that is not public.
        httpcore.TimeoutException: There was no status in time.
        httpcore.NetworkError: There was no connection, or it broke.
        httpcore.ProtocolError: What came is no HTTP.
    """
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    where = httpcore.URL(scheme=parts.scheme, host=parts.hostname or "", port=parts.port, target=target)
    network = CheckedNetwork(deadline=time.monotonic() + seconds, allow_private=allow_private)
    with (
        httpcore.ConnectionPool(ssl_context=context, network_backend=network) as pool,
        pool.stream("POST", where, headers=[("Host", parts.netloc), *headers.items()], content=body) as response,
    ):
        return response.status


class CheckedNetwork(httpcore.NetworkBackend):
    """Connects to addresses that were checked, and lets nothing last beyond the deadline."""

    def __init__(self, *, deadline: float, allow_private: bool, network: httpcore.NetworkBackend | None = None) -> None:
        """Prepare for one request.

        Args:
            deadline: On the clock of `time.monotonic`.
            allow_private: Whether addresses that are not public will do.
            network: What connects to an address; by default the operating system's sockets.
        """
        self._deadline = deadline
        self._allow_private = allow_private
        self._network = network or httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first of the host's addresses that answers."""
        addresses = _resolve(host, port)
        if not self._allow_private and not all(is_public(address) for address in addresses):
            # The address itself is not told: it would let users ask for names of the inner network.
            raise ForbiddenAddressError("the host has an address that is not public")
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for place, address in enumerate(addresses):
            share = _seconds_until(self._deadline, httpcore.ConnectTimeout) / (len(addresses) - place)
            try:
                stream = self._network.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _TimedStream(stream, self._deadline)
        raise failure


class _TimedStream(httpcore.NetworkStream):
    """A connection whose every step ends by the deadline: a receiver that sends a byte a second gets no more time."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _seconds_until(self._deadline, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _seconds_until(self._deadline, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        seconds = _seconds_until(self._deadline, httpcore.ConnectTimeout)
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, seconds), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _seconds_until(deadline: float, late: type[httpcore.TimeoutException]) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise late("the time is over")
    return left


def _resolve(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # the latter for a name that cannot be one
        raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_public(address: str) -> bool:
    """Whether an address belongs to the internet: not to this machine, its network, a group, or no one yet."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip.sixtofour or ip  # the address that is reached in the end
    inner = isinstance(ip, ipaddress.IPv6Address) and ip.is_site_local
    return ip.is_global and not (
        ip.is_multicast or ip.is_reserved or inner or any(ip in block for block in _NOT_PUBLIC)
    )
