"""How a listening socket leaves without a connection that is made and never served."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h; Linux alone has it
_FLAGS = 13  # offset in the TCP header (RFC 9293, section 3.1)
_SYN, _ACK = 0x02, 0x10
# Classic BPF (linux/filter.h): drop what asks for a new connection, take what belongs to one that is being made.
_NO_NEW_CONNECTIONS = [
    (0x30, 0, 0, _FLAGS),  # load the byte
    (0x54, 0, 0, _SYN | _ACK),  # keep these two bits
    (0x15, 0, 1, _SYN),  # if it is a SYN alone …
    (0x06, 0, 0, 0),  # … drop it
    (0x06, 0, 0, 0xFFFF),  # else take it
]


def refuse_new_connections(listening: socket.socket) -> None:
    """Let the kernel make no more connections for a listening socket; those that are made can still be accepted.

    To close it with connections in its queue would reset them: their callers would have asked in vain. Who tries to
    connect meanwhile tries again for a second, and finds nobody then. Where the kernel cannot do this, nothing happens.
    """
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in _NO_NEW_CONNECTIONS))
    pointer = struct.pack("HP", len(_NO_NEW_CONNECTIONS), ctypes.addressof(program))
    with contextlib.suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)
