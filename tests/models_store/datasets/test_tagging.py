"""Tagged text: how its columns were read is shown, texts are kept to the letter, and exports are read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dataset_schemas import DatasetOut, shown
from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.datasets import ExportFormat, exported, rows_of
from models_store.errors import ConflictError
from models_store.tables import Dataset
from models_store.tasks import Row, TaskName
from tests.models_store.datasets.corpus import lines, spans
from tests.models_store.datasets.corpus_tagging import scheme_and_columns
from tests.models_store.datasets.files import source, store_files
from tests.models_store.datasets.reading import read_whole

TAGGING = TaskName.TAGGING
READ = scheme_and_columns()
SPACED = {"text": "Don't  stop\tAda-Lou  Smith!", "entities": [{"start": 12, "end": 26, "label": "PER"}]}
PARTS = (
    *("a", "B", "1", " ", "\t", "\n", "\r\n", "\r", "\u00a0", "\u3000", "-", ".", "#", "'", "e\u0301", "\u0301", "ß"),
    *(
        "👩\u200d👧",
        "👍🏽",
        "🇩🇪",
        "日",
        "か",
        "ع",
        "\u200b",
        "\u200d",
        "\u0600",
        "\u0915\u094d\u0937\u093f",
        "\u1112\u1161\u11ab",
    ),
)
HOSTILE = st.lists(st.sampled_from(PARTS), min_size=1, max_size=25).map("".join)


def read(folder: Path, content: bytes) -> list[Row]:
    table, problems = read_whole(source(folder, content), TAGGING)
    assert problems.kept == []
    return [row.values for row in table.rows]


def written(rows: Sequence[Row], form: ExportFormat) -> bytes:
    nothing: dict[str, Any] = {"columns": {}, "schema_": {}, "labels": [], "splits": {}, "warnings": []}
    dataset = Dataset(name="x", task=TAGGING, format="", size_bytes=0, sha256="", **nothing)
    return "".join(exported(dataset, rows, form)).encode()


@pytest.mark.parametrize("name", READ)
def test_how_a_file_was_read_is_shown(tmp_path: Path, name: str) -> None:
    content, scheme, columns = READ[name]

    table, problems = read_whole(source(tmp_path, content), TAGGING)

    assert (problems.kept, table.scheme, table.columns) == ([], scheme, columns)


def test_a_data_set_tells_its_scheme(sqlite: Database, store: ArtifactStore) -> None:
    dataset = store_files(sqlite, store, lines(spans()), TAGGING)

    assert DatasetOut.of(dataset).scheme == "bio"


def test_a_preview_shows_text_and_offsets_as_they_were_uploaded(sqlite: Database, store: ArtifactStore) -> None:
    dataset = store_files(sqlite, store, lines([SPACED, *spans()]), TAGGING, validation=lines([SPACED]))
    (row,) = rows_of(store, dataset, "validation")

    assert [row["text"][start : start + len(token)] for start, token in zip(row["starts"], row["tokens"], strict=True)]
    assert row["tokens"] == ["Don't", "stop", "Ada-Lou", "Smith", "!"]
    assert shown(dict(row)) == {
        "tokens": row["tokens"],
        "tags": ["O", "O", "B-PER", "I-PER", "O"],
        "text": SPACED["text"],
        "entities": [{"label": "PER", "start": 12, "end": 26, "text": "Ada-Lou  Smith"}],
    }


def test_tokens_in_a_file_with_texts_have_a_text_too(tmp_path: Path) -> None:
    rows = read(tmp_path, lines([{"tokens": ["Ada", "Lee"], "tags": ["B-PER", "I-PER"]}, SPACED]))

    assert [row["starts"] for row in rows] == [[0, 4], [0, 7, 12, 21, 26]]
    assert [row["text"] for row in rows] == ["Ada Lee", SPACED["text"]]


@st.composite
def marked_texts(draw: st.DrawFn) -> dict[str, Any]:
    """A text whose spans begin and end anywhere."""
    text = draw(HOSTILE.filter(lambda text: text.strip() != ""))
    borders = sorted(draw(st.lists(st.integers(0, len(text)), max_size=6, unique=True)))
    pairs = zip(borders[::2], borders[1::2], strict=False)
    labels = st.sampled_from(["X", "Y", "B-Z", "e-mail"])
    return {"text": text, "entities": [{"start": s, "end": e, "label": draw(labels)} for s, e in pairs]}


@given(st.lists(marked_texts(), min_size=1, max_size=6))
def test_texts_with_entities_are_exported_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, given_rows: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    table, problems = read_whole(source(folder, lines([*given_rows, SPACED])), TAGGING)
    rows = [row.values for row in table.rows]

    for row in rows:
        pieces = [row["text"][at : at + len(token)] for at, token in zip(row["starts"], row["tokens"], strict=True)]
        assert pieces == row["tokens"]
    wrong = {problem.line for problem in problems.kept}
    sound = [one for line, one in enumerate([*given_rows, SPACED], start=1) if line not in wrong]
    assert [row["text"] for row in rows] == [one["text"] for one in sound]
    assert read(folder, written(rows, ExportFormat.JSONL)) == rows


@pytest.mark.parametrize(
    ("tokens", "tags"),
    [
        (["-DOCSTART-", "a"], ["O", "B-X"]),
        (["a\tb"], ["B-X"]),
        (["a\nb"], ["B-X"]),
        (["a"], ["B-X\tY"]),
        (["#", "a"], ["B-X", "O"]),
        (["word", "a"], ["NER", "X"]),
    ],
)
def test_what_conll_would_not_give_back_is_not_exported_so(tokens: list[str], tags: list[str]) -> None:
    with pytest.raises(ConflictError, match="would not be read back") as refused:
        written([{"tokens": tokens, "tags": tags}], ExportFormat.CONLL)

    assert refused.value.code == "unsuitable_format"


# Whatever an uploader may call a token: the export refuses it, or it is read back the same.
any_token = st.text(
    st.sampled_from([*"ab# -_1\t\n\r", "\ufeff", "\u00a0", "é", "日"]), min_size=1, max_size=5
) | st.sampled_from(["-DOCSTART-", "# x", "1", "2", "word", "#"])
any_sentence = st.lists(
    st.tuples(any_token.filter(lambda token: token.strip() != ""), st.sampled_from(["O", "B-X", "B-Y"])),
    min_size=1,
    max_size=4,
)


@given(st.lists(any_sentence, min_size=1, max_size=4))
def test_conll_is_read_back_or_refused(
    tmp_path_factory: pytest.TempPathFactory, given_sentences: list[list[tuple[str, str]]]
) -> None:
    rows = [{"tokens": [token for token, _ in s], "tags": [tag for _, tag in s]} for s in given_sentences]
    try:
        content = written(rows, ExportFormat.CONLL)
    except ConflictError:
        return
    assert [row["tokens"] for row in read(tmp_path_factory.getbasetemp(), content)] == [row["tokens"] for row in rows]
