"""Models: what they know, which version is asked, and their answers."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Generic, TypedDict, TypeVar, Unpack, overload

from thawline.asking import Engine
from thawline.downloads import download
from thawline.engines import Async, AsyncEngine, Sync, SyncEngine
from thawline.errors import ConfigurationError, UnexpectedAnswer
from thawline.pages import pages
from thawline.parsing import member, parse
from thawline.plans import Plan, Stream, listing, operation
from thawline.predicting import One, Prediction, Predictions, is_one, item_of
from thawline.records import Alias, ModelInfo, Version
from thawline.requests import Request, segment

ModelT = TypeVar("ModelT", bound="ModelBase")
_GRACE_SECONDS = 5.0  # that a caller waits longer than the service was told that it would


class PredictOptions(TypedDict, total=False):
    """How a model is asked.

    Attributes:
        top_k: Labels to list with their scores, of a model that chooses among labels.
        threshold: Leave out of the answer what is less sure: labels and entities; a `label` becomes None.
        precision: ``fp32``, ``int8`` or ``fp16``, where the version has it beside the one that is served.
        timeout: Seconds to wait for the answer, at most.
        routing_key: Calls with the same key get the same version beside a canary.
    """

    top_k: int
    threshold: float | None
    precision: str | None
    timeout: float | None
    routing_key: str | None


_DEFAULTS: PredictOptions = {"top_k": 1, "threshold": None, "precision": None, "timeout": None, "routing_key": None}


class ModelBase:
    """A model by its reference: ``name``, ``name@3`` or ``name@alias``. Nothing is asked before a method is called.

    Attributes:
        reference: What was asked for.
        name: The same without a version or alias.
    """

    _engine: Engine

    def __init__(self, engine: Any, reference: str) -> None:
        self._engine = engine
        self.reference = reference
        self.name = reference.partition("@")[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.reference!r})"

    @operation
    def info(self) -> Plan[ModelInfo]:
        """The model with its versions and aliases."""
        return parse(ModelInfo, (yield from self._engine.ask(self._request("GET"))).json())

    @operation
    def versions(self) -> Plan[tuple[Version, ...]]:
        """Its versions, the newest first."""
        return parse(ModelInfo, (yield from self._engine.ask(self._request("GET"))).json()).versions

    @operation
    def version(self, version: int) -> Plan[Version]:
        """One of its versions."""
        return parse(Version, (yield from self._engine.ask(self._request("GET", f"/versions/{version}"))).json())

    @operation
    def report(self, version: int) -> Plan[dict[str, Any]]:
        """How a version was trained and how good it is, as docs/report.md describes."""
        answer = yield from self._engine.ask(self._request("GET", f"/versions/{version}/report"))
        report: dict[str, Any] = answer.json()
        return report

    @operation
    def aliases(self) -> Plan[dict[str, Alias]]:
        """Where each of its aliases points."""
        return parse(ModelInfo, (yield from self._engine.ask(self._request("GET"))).json()).alias_details

    @operation
    def promote(
        self,
        version: int,
        alias: str = "production",
        *,
        canary: tuple[int, float] | None = None,
        shadow: int | None = None,
    ) -> Plan[ModelInfo]:
        """Let an alias point at a version; ``production`` is what a bare name means.

        Args:
            version: The version.
            alias: The alias; it is made if there is none.
            canary: Another version, and the share of the calls (0 to 1) that it answers.
            shadow: Another version that is asked as well, and only compared.
        """
        body: dict[str, Any] = {"version": version, "shadow": shadow}
        if canary is not None:
            body["canary"] = {"version": canary[0], "weight": canary[1]}
        answer = yield from self._engine.ask(self._request("PUT", f"/aliases/{segment(alias)}", body))
        return parse(ModelInfo, answer.json())

    @operation
    def rollback(self, alias: str = "production", *, from_version: int | None = None) -> Plan[Alias]:
        """Let an alias point at what it pointed at before.

        Args:
            alias: The alias.
            from_version: Only if it points at this one; by default at the one that it points at now. Asked twice by a
                connection that breaks, it goes back once.

        Raises:
            Conflict: There is nothing to go back to.
        """
        path = f"/aliases/{segment(alias)}"
        if from_version is None:
            from_version = (yield from self._engine.ask(self._request("GET", path))).json()["version"]
        answer = yield from self._engine.ask(self._request("POST", f"{path}/rollback", {"from_version": from_version}))
        return parse(Alias, answer.json())

    @operation
    def export(self, version: int, path: str | os.PathLike[str] = ".", *, format: str = "onnx") -> Plan[Path]:
        """Download a version as a ZIP archive.

        Args:
            version: The version.
            path: The file to write, or a folder.
            format: ``onnx``: the files with a program that runs them; ``triton``: a model repository.
        """
        target = Path(path)
        target = target / f"{self.name}-{version}-{format}.zip" if target.is_dir() else target
        request = self._request("GET", f"/versions/{version}/export", params={"format": format})
        return download(self._engine, request, target)

    @operation
    def delete_version(self, version: int) -> Plan[None]:
        """Delete a version that no alias has."""
        yield from self._engine.ask(self._request("DELETE", f"/versions/{version}"))

    @operation
    def delete(self) -> Plan[None]:
        """Delete the model with all of its versions."""
        yield from self._engine.ask(self._request("DELETE"))

    def _predict(self, inputs: Any, options: PredictOptions) -> Plan[Any]:
        if not isinstance(inputs, Iterable) or hasattr(inputs, "columns"):  # a frame iterates over its columns' names
            told = type(inputs).__name__
            raise ConfigurationError(
                f"the inputs are a {told}", "give a text, a pair, or a list of them (frame['text'].tolist())"
            )
        if unknown := options.keys() - _DEFAULTS.keys():
            known = ", ".join(_DEFAULTS)
            raise ConfigurationError(f"predict takes no {', '.join(sorted(unknown))}", f"it takes {known}")
        items: Any = [inputs] if is_one(inputs) else list(inputs)
        given: dict[str, Any] = {**_DEFAULTS, **options}
        seconds = given["timeout"]
        request = Request(
            method="POST",
            path=f"/predict/{segment(self.reference)}",
            params={"precision": given["precision"], "timeout": seconds},
            body={"inputs": [item_of(item) for item in items], "top_k": given["top_k"]},
            headers={"Routing-Key": given["routing_key"]} if given["routing_key"] else {},
            repeatable=True,
            sends_data=True,
        )
        deadline = math.inf if seconds is None else time.monotonic() + seconds + _GRACE_SECONDS
        body = (yield from self._engine.ask(request, deadline=deadline)).json()
        answers = [parse(Prediction, answer) for answer in member(body, "predictions")]
        if len(answers) != len(items):
            raise UnexpectedAnswer(f"{len(answers)} answers came to {len(items)} inputs", None)
        if given["threshold"] is not None:
            answers = [answer.above(given["threshold"]) for answer in answers]
        if is_one(inputs):
            return answers[0]
        model, version, task = (member(body, name) for name in ("model", "version", "task"))
        return Predictions(model, version, task, tuple(items), tuple(answers))

    def _request(
        self, method: str, path: str = "", body: Any = None, params: Mapping[str, Any] | None = None
    ) -> Request:
        whole = f"/models/{segment(self.name)}{path}"
        # A roll-back names the version that it leaves, and an alias is set as a whole: to repeat either is no harm.
        return Request(method=method, path=whole, body=body, params=params or {}, repeatable=method == "POST")


class Model(ModelBase, Sync):
    """A model of a `Client`."""

    _engine: SyncEngine

    @overload
    def predict(self, inputs: One, **options: Unpack[PredictOptions]) -> Prediction: ...
    @overload
    def predict(self, inputs: list[Any], **options: Unpack[PredictOptions]) -> Predictions: ...
    def predict(self, inputs: One | list[Any], **options: Unpack[PredictOptions]) -> Prediction | Predictions:
        """The answer to one input, or the answers to a list of them.

        Args:
            inputs: A text; of a similarity model a pair as a tuple, or ``{"text": …, "text_pair": …}``; or a list of
                those. In a list, a list of words is a text that is parted already (tagging).
            options: `PredictOptions`.

        Raises:
            InvalidData: An input is none for this model, which `problems` tells.
            Unavailable: The service is busy, and stayed so.
        """
        answer: Prediction | Predictions = self._engine.run(self._predict(inputs, options))
        return answer


class AsyncModel(ModelBase, Async):
    """A model of an `AsyncClient`."""

    _engine: AsyncEngine

    @overload
    async def predict(self, inputs: One, **options: Unpack[PredictOptions]) -> Prediction: ...
    @overload
    async def predict(self, inputs: list[Any], **options: Unpack[PredictOptions]) -> Predictions: ...
    async def predict(self, inputs: One | list[Any], **options: Unpack[PredictOptions]) -> Prediction | Predictions:
        """The same as `Model.predict`."""
        answer: Prediction | Predictions = await self._engine.run(self._predict(inputs, options))
        return answer


class ModelCalls(Generic[ModelT]):
    """Models are looked for."""

    _engine: Engine
    _model_kind: type[ModelT]

    def model(self, reference: str) -> ModelT:
        """A model by ``name`` (its production version), ``name@3`` or ``name@alias``. Nothing is asked yet."""
        return self._model_kind(self._engine, reference)

    @listing
    def models(self) -> Stream[ModelInfo]:
        """All models by name, with their versions and aliases."""
        return pages(self._engine, "/models", {}, lambda item: parse(ModelInfo, item), key="name")
