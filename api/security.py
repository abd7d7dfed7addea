"""The API key: asked of every call when one is set."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import Depends, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.services import ServicesDep

_bearer = HTTPBearer(auto_error=False, description="The value of THAWLINE_API_KEY, where one is set")


def require_key(
    services: ServicesDep, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    """Refuse a call without the key; compared in constant time."""
    key = services.settings.api_key
    if key is None:
        return
    given = credentials.credentials if credentials else ""
    if not hmac.compare_digest(given.encode(), key.get_secret_value().encode()):
        raise HTTPException(
            401,
            "a valid API key is needed: send the header 'Authorization: Bearer <THAWLINE_API_KEY>'",
            headers={"WWW-Authenticate": "Bearer"},
        )
