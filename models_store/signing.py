"""Signatures of webhooks: a receiver sees that a call comes from here, and that nobody has changed it.

A secret is replaced without a lost call by signing with the new and the old one for a while.

The format is that of Standard Webhooks (github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

from models_store.errors import ConfigurationError

_PREFIX = "whsec_"
_SHORTEST, _LONGEST = 24, 64  # bytes of a key, as the specification has them


def keys_of(secrets: str) -> tuple[bytes, ...]:
    """The keys within secrets, each of which is ``whsec_`` and a key in base64, with blanks between them.

    Raises:
        ConfigurationError: There is none, or one is no such secret.
    """
    return tuple(_key_of(secret) for secret in secrets.split() or [""])


def _key_of(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith(_PREFIX) or not _SHORTEST <= len(key) <= _LONGEST:
        # The value is not repeated: it may be a secret all the same.
        raise ConfigurationError(
            f"THAWLINE_WEBHOOK_SECRET must be `{_PREFIX}` and {_SHORTEST} to {_LONGEST} random bytes in base64 "
            "(or several such, with blanks between them); "
            f'make one with: echo "{_PREFIX}$(openssl rand -base64 32)"'
        )
    return key


def sign(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """The value of the header ``webhook-signature``: a signature for each key.

    Args:
        keys: What `keys_of` hands out.
        message_id: The header ``webhook-id``.
        timestamp: The header ``webhook-timestamp``, in seconds since 1970.
        body: The very bytes that are sent.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys)
    return " ".join(f"v1,{signature}" for signature in signatures)
