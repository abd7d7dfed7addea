"""The API key: asked of every call when one is set."""

from __future__ import annotations

import hmac

from fastapi.security import HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param
from pydantic import SecretStr
from starlette.requests import Request
from starlette.types import Scope

from api.errors import ProblemResponse, problem

# A dependency of every keyed route, so that the OpenAPI document tells of the key; `refusal` is what asks for it.
bearer = HTTPBearer(auto_error=False, description="The value of THAWLINE_API_KEY, where one is set")

# What needs no key: the page and the documentation (which show nothing by themselves) and the probes.
_OPEN = ("/", "/healthz", "/readyz", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json")
_OPEN_FOLDERS = ("/web/", "/static-offline-docs/")


def refusal(scope: Scope, authorization: str | None, key: SecretStr | None) -> ProblemResponse | None:
    """The 401 for a call without the key, compared in constant time; None where it may pass."""
    path = scope["path"]
    if key is None or path in _OPEN or path.startswith(_OPEN_FOLDERS):
        return None
    scheme, given = get_authorization_scheme_param(authorization)
    if scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), key.get_secret_value().encode()):
        return None
    detail = "a valid API key is needed: send the header 'Authorization: Bearer <THAWLINE_API_KEY>'"
    return problem(Request(scope), 401, detail, code="api_key_needed", headers={"WWW-Authenticate": "Bearer"})
