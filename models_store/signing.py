"""Signatures of webhooks: a receiver sees that a call comes from here, and that nobody has changed it.

The format is that of Standard Webhooks (github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md).
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from models_store.errors import ConfigurationError

_PREFIX = "whsec_"
_SHORTEST, _LONGEST = 24, 64  # bytes of a key, as the specification has them


def key_of(secret: str) -> bytes:
    """The key within a secret, which is ``whsec_`` and the key in base64.

    Raises:
        ConfigurationError: It is no such secret.
    """
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith(_PREFIX) or not _SHORTEST <= len(key) <= _LONGEST:
        # The value is not repeated: it may be a secret all the same.
        raise ConfigurationError(
            f"THAWLINE_WEBHOOK_SECRET must be `{_PREFIX}` and {_SHORTEST} to {_LONGEST} random bytes in base64; "
            f'make one with: echo "{_PREFIX}$(openssl rand -base64 32)"'
        )
    return key


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of the header ``webhook-signature``.

    Args:
        key: What `key_of` hands out.
        message_id: The header ``webhook-id``.
        timestamp: The header ``webhook-timestamp``, in seconds since 1970.
        body: The very bytes that are sent.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
