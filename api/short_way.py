"""The short way of the usual prediction: past the framework's routing, dependencies and response objects.

They take as long as a third of the model itself. Only what is plainly ``POST /predict/{model}`` with a JSON body, and
perhaps a precision, goes this way; all that has something to be refused, or looked at twice, takes the long way through
the route of the same name, which alone knows how. A test asks everything both ways.
"""

from __future__ import annotations

from pydantic import ValidationError
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import handler_of
from api.routes.predict import ROUTE, answer_in_json
from api.schemas import PredictIn
from models_store.precision import Precision

_PREFIX = "/predict/"
_JSON = b"application/json"
_QUERIES = {b"": None, **{f"precision={one}".encode(): one for one in Precision}}


class ShortWay:
    """An ASGI middleware: answers the usual prediction, and hands everything else on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if not _usual(scope):
            await self._app(scope, receive, send)
            return
        scope["route"] = ROUTE
        request = Request(scope, receive)
        messages: list[Message] = []
        try:
            messages, content = await _read(receive)
            body = PredictIn.model_validate_json(content)
            model, precision = scope["path"].removeprefix(_PREFIX), _QUERIES[scope["query_string"]]
            answer = await answer_in_json(request, model, body, precision)
        except ValidationError:
            await self._app(scope, _replay(messages, receive), send)
            return
        except Exception as error:
            handler = handler_of(request, error)
            if handler is None:
                raise
            await (await handler(request, error))(scope, receive, send)
            return
        headers = [(b"content-type", _JSON), (b"content-length", str(len(answer.content)).encode()), *answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.content})


def _usual(scope: Scope) -> bool:
    """Whether it is a prediction with nothing out of the ordinary."""
    return (
        scope["type"] == "http"
        and scope["method"] == "POST"
        and scope["path"].startswith(_PREFIX)
        and scope["path"] != _PREFIX
        and "/" not in scope["path"][len(_PREFIX) :]
        and scope["query_string"] in _QUERIES
        and (b"content-type", _JSON) in scope["headers"]
        and not any(name == b"routing-key" for name, _ in scope["headers"])
    )


async def _read(receive: Receive) -> tuple[list[Message], bytes]:
    """The messages of the body, and what they hold."""
    messages = [await receive()]
    while messages[-1].get("more_body"):
        messages.append(await receive())
    return messages, b"".join(message.get("body", b"") for message in messages)


def _replay(messages: list[Message], receive: Receive) -> Receive:
    """Give the messages once more, and then what follows."""
    again = iter(messages)

    async def receive_again() -> Message:
        return next(again, None) or await receive()

    return receive_again
