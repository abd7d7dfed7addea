"""The parts that need no server: what is uploaded, what is drawn, what is imported."""

from __future__ import annotations

import json
import os
import sys
import threading
from datetime import UTC, datetime
from io import BytesIO, StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import thawline
from tests.api.test_imports import fresh
from thawline.displays import PlainLines, PlainTenths, RichBars, display
from thawline.events import EventStream
from thawline.parsing import parse
from thawline.phases import PhaseBars, sparkline
from thawline.predicting import Prediction, Predictions
from thawline.uploads import upload_of


def test_it_needs_httpx_and_nothing_else() -> None:
    code = (
        "import sys, httpx; before = set(sys.modules); import thawline;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names;"
        "print(sorted(name for name in new if not name.startswith('_')))"
    )

    assert fresh(code) == "['thawline']"


@pytest.mark.parametrize("url", ["nonsense", "http://127.0.0.1:abc", "http://[::1", "ftp://host"])
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(thawline.ConfigurationError, match="no URL"):
        thawline.Client(url)


@pytest.mark.parametrize("key", ["schlüssel", "a\nb"])
def test_a_key_that_is_none_is_not_told(key: str) -> None:
    with pytest.raises(thawline.ConfigurationError) as refused:
        thawline.Client(api_key=key)
    assert key not in str(refused.value)


def test_a_proxy_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    for kind in (thawline.Client, thawline.AsyncClient):
        with pytest.raises(thawline.ConfigurationError, match=r"httpx\[socks\]"):
            kind()


def test_misspelt_options_and_frames_are_refused_before_anything_is_sent() -> None:
    model = thawline.Client("http://127.0.0.1:9").model("m")
    with pytest.raises(thawline.ConfigurationError, match="topk"):
        model.predict("x", topk=2)  # type: ignore[call-overload]
    with pytest.raises(thawline.ConfigurationError, match="DataFrame"):
        model.predict(pd.DataFrame({"text": ["x"]}))
    with pytest.raises(thawline.ConfigurationError, match="NoneType"):
        model.predict(None)  # type: ignore[call-overload]


def test_pairs_have_columns_of_their_own() -> None:
    answers = Predictions("m", 1, "similarity", (("a", "b"),), (parse(Prediction, {"score": 1.0}),))
    assert answers.to_pandas()[["text", "text_pair"]].iloc[0].tolist() == ["a", "b"]


def test_help_shows_what_a_method_takes() -> None:
    import inspect

    with thawline.Client() as client:
        assert list(inspect.signature(client.job).parameters) == ["job_id"]
        assert client.upload.__doc__ == thawline.Client.upload.__doc__
        assert inspect.getdoc(client.upload) is not None


@pytest.mark.parametrize(
    "data",
    [
        [{"text": "ä", "n": np.int64(1)}, {"text": "b", "n": None}],
        pd.DataFrame({"text": ["ä", "b"], "n": [1, None]}),
    ],
    ids=["list", "frame"],
)
def test_rows_are_sent_as_json_lines(data: Any) -> None:
    upload = upload_of(data, "train")

    assert upload.name == "train.jsonl"
    with upload.opened() as file:
        assert [json.loads(line) for line in file] == [{"text": "ä", "n": 1}, {"text": "b", "n": None}]


def test_rows_hold_what_json_has_a_word_for() -> None:
    row = {"text": "a", "label": {"b"}, "at": datetime(2026, 1, 1, tzinfo=UTC)}
    (line,) = upload_of([row], "x").source.splitlines()  # type: ignore[union-attr]
    assert json.loads(line) == {"text": "a", "label": ["b"], "at": "2026-01-01T00:00:00+00:00"}
    with pytest.raises(thawline.ConfigurationError, match="holds a bytes"):
        upload_of([{"text": b"a"}], "x")


def test_a_pipe_is_sent_whole(tmp_path: Path) -> None:
    pipe = tmp_path / "rows.csv"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("text,label\n",))
    writer.start()
    upload = upload_of(pipe, "x")
    writer.join()
    assert (upload.name, upload.source) == ("rows.csv", b"text,label\n")


def test_files_are_sent_from_where_they_stand(tmp_path: Path) -> None:
    file = BytesIO(b"12345")
    file.read(2)
    upload = upload_of(file, "train")
    for _ in range(2):
        with upload.opened() as opened:
            assert opened.read() == b"345"
    with upload_of(StringIO("text"), "train").opened() as opened:
        assert opened.read() == b"text"
    with pytest.raises(FileNotFoundError):
        upload_of(tmp_path / "nothing.csv", "train")
    with pytest.raises(thawline.ConfigurationError, match="not int"):
        upload_of(3, "train")


def test_events_end_where_the_standard_says() -> None:
    stream = EventStream()

    assert list(stream.feed(b"data: a\r\ndata: b\r")) == []
    assert list(stream.feed(b"\n\r")) == []
    assert list(stream.feed(b"\n: comment\n\ndata:c\n\nda")) == ["a\nb", "c"]
    assert list(stream.feed("ta: \x85\u2028\n\n".encode())) == ["\x85\u2028"]


def test_an_answer_without_what_is_unsure() -> None:
    answer = parse(Prediction, {"label": "a", "score": 0.6, "scores": [{"label": "a", "score": 0.6}]})

    assert answer.above(0.5) == answer
    assert (answer.above(0.7).label, answer.above(0.7).scores) == (None, ())
    assert parse(Prediction, {"score": 0.1}).above(0.5).score == 0.1  # a grade


def test_predictions_as_a_frame() -> None:
    entity = {"label": "PER", "text": "Ada", "start": 0, "end": 3, "score": 0.9}
    tokens = [{"text": "Ada", "start": 0, "end": 3, "tag": "B-PER", "score": 0.9}]
    tagged = parse(Prediction, {"entities": [entity], "tokens": tokens})
    failed = parse(Prediction, {"error": {"code": "x", "message": "no number"}})
    frame = Predictions("m", 1, "tagging", ("Ada", ["Ada"]), (tagged, failed)).to_pandas()

    assert frame["predicted_tags"][0] == '["B-PER"]'
    assert json.loads(frame["predicted_entities"][0])[0]["text"] == "Ada"
    assert frame["prediction_error"][1] == "no number"


def job(**values: Any) -> Any:
    progress = thawline.Progress(**values.pop("progress", {}))
    given = {"status": "running", "phase": None, "waiting_reason": None, "queue_position": None, **values}
    return SimpleNamespace(model=SimpleNamespace(name="m"), spec={"strategy": "hybrid"}, progress=progress, **given)


def news(kind: str, **data: Any) -> thawline.Event:
    return thawline.Event(
        id=1, created_at=datetime(2026, 1, 1, tzinfo=UTC), type=kind, message=f"{kind} news", data=data
    )


def test_both_phases_as_bars() -> None:
    bars = PhaseBars()
    whole, head, full = bars.update(job(status="queued", waiting_reason="no worker is running"), [])
    assert (whole.note, head.fraction, full.fraction) == ("queued · no worker is running", 0.0, 0.0)

    told = [news("phase", phase="head"), news("metrics", phase="head", metrics={"accuracy": 0.5})]
    progress = {"fraction": 0.2, "epoch": 2, "epochs": 4, "step": 5, "steps": 10, "eta_seconds": 9}
    whole, head, full = bars.update(job(phase="head", progress=progress), told)
    assert (whole.fraction, whole.note) == (0.2, "head · about 9 s left")
    assert (head.fraction, head.note) == (0.375, "accuracy 0.500 ▁ · epoch 2 of at most 4")

    whole, head, full = bars.update(job(phase="full", progress=progress), [news("phase", phase="full")])
    assert (head.fraction, full.fraction) == (1.0, 0.0)  # the epochs are still those of the head
    assert [bar.fraction for bar in bars.update(job(status="succeeded"), [])][1:] == [1.0, 1.0]


def test_a_curve() -> None:
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█"
    assert sparkline([0.3] * 20) == "▁" * 16


def test_lines_where_nothing_can_be_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    shown = display()
    assert isinstance(shown, PlainLines)
    shown.show(job(), [news("message")])
    tenths = PlainTenths()
    for fraction in (0.0, 0.05, 0.1):
        at = SimpleNamespace(fraction=fraction, rows_done=int(fraction * 100))
        tenths.show(SimpleNamespace(file_name="f.csv", progress=at))

    assert capsys.readouterr().err == "00:00:00 m: message news\nf.csv: 0 %, 0 rows\nf.csv: 10 %, 10 rows\n"


def test_bars_in_a_terminal() -> None:
    from rich.console import Console

    file = StringIO()
    shown = RichBars(Console(file=file, force_terminal=True, width=100))
    shown.show(job(phase="head"), [])
    shown.close()

    assert "2 head and encoder" in file.getvalue()


def test_no_rich_no_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)

    assert isinstance(display(), PlainLines)


def test_no_pandas_no_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(thawline.ConfigurationError, match="pip install pandas"):
        thawline.to_pandas([])
