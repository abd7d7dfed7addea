"""JSON with tagged text: tokens with tags, or a text with marked spans, as annotation tools export them.

Understood are, each as JSON Lines or one array:

* ``{"tokens": [...], "tags": [...]}``, also ``words`` and ``ner_tags``, ``labels`` or ``pos_tags``
* ``{"text": ..., "entities": [{"start", "end", "label"}]}``, also ``spans`` (spaCy, Prodigy), with ``start_offset`` and
  ``end_offset`` (Doccano), or each as ``[start, end, label]`` under ``label``, ``labels`` or ``entities`` (Doccano)
* ``["text", {"entities": [[start, end, label]]}]`` (spaCy 2)
* ``{"data": {"text": ...}, "annotations": [{"result": [{"value": {"start", "end", "labels"}}]}]}`` (Label Studio)

Offsets count characters of the text, the end not included.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from models_store.datasets.labels import label_problem
from models_store.datasets.readers.json_rows import is_text, json_records
from models_store.datasets.readers.sentences import Sentence
from models_store.datasets.report import Report, excerpt
from models_store.datasets.source import SourceFile
from models_store.errors import Problem, quoted
from models_store.tasks.words import Word, WordSplitter

_TOKENS = ("tokens", "words")
_TAGS = ("tags", "ner_tags", "labels", "pos_tags", "upos")
_TEXT = ("text", "data", "content", "sentence")
_SPANS = ("entities", "spans", "label", "labels")
_STARTS, _ENDS, _LABELS = ("start", "start_offset"), ("end", "end_offset"), ("label", "labels", "type", "tag")


@dataclass(frozen=True, slots=True)
class Span:
    """A marked part of a text: ``text[start:end]``."""

    start: int
    end: int
    label: str


class _WrongRowError(Exception):
    """A row that cannot be read."""

    def __init__(self, code: str, message: str, column: str | None = None, value: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.column = column
        self.value = value


class SpansFile:
    """A JSON file of tagged text.

    Raises:
        UnreadableFileError: The file cannot be decoded or parsed; while it is read.
    """

    format = "json"
    columns: dict[str, str] = {}  # noqa: RUF012 (it has none)

    def __init__(self, source: SourceFile) -> None:
        self._source = source

    def sentences(self, report: Report) -> Iterator[Sentence]:
        """See `TaggedFile`."""
        reader = SpanReader(self._source.name, report)
        for line, record in json_records(self._source, report):
            if (sentence := reader.read(line, record)) is not None:
                yield sentence


class SpanReader:
    """Reads objects one by one. Texts become words, cut at the borders of their spans."""

    def __init__(self, name: str, report: Report) -> None:
        self._name = name
        self._report = report
        self._splitter = WordSplitter()

    def read(self, line: int, record: Any) -> Sentence | None:
        """The sentence that an object holds; None, and a report, where it holds none."""
        try:
            tokens, tags = self._read(record)
        except _WrongRowError as error:
            value = None if error.value is None else excerpt(error.value)
            self._report.wrong_row(Problem(error.code, str(error), self._name, line, error.column, value))
            return None
        problems = [p for tag in dict.fromkeys(tags) if (p := label_problem(tag, (self._name, line, "tag")))]
        for problem in problems:
            self._report.wrong_row(problem)
        return None if problems else Sentence([line], tokens, tags)

    def _read(self, record: Any) -> tuple[list[str], list[str]]:
        if isinstance(record, list) and len(record) == 2 and isinstance(record[1], dict):
            record = {"text": record[0], **record[1]}
        if not isinstance(record, dict):
            raise _WrongRowError("not_an_object", "every row is an object in braces", value=record)
        if (name := _named(record, _TOKENS)) is not None:
            return _tokens_and_tags(record, name)
        text, spans = _text_and_spans(record)
        check_spans(text, spans)
        return words_and_tags(text, spans, self._splitter)


def _tokens_and_tags(record: Mapping[str, Any], name: str) -> tuple[list[str], list[str]]:
    tokens, tag_name = record[name], _named(record, _TAGS)
    tags = record[tag_name] if tag_name else None
    if not isinstance(tokens, list) or not isinstance(tags, list):
        message = f'a row needs both, a list of tokens and a list of tags: {{"{name}": ["…"], "tags": ["…"]}}'
        raise _WrongRowError("missing_label", message, tag_name or "tags")
    if len(tokens) != len(tags):
        message = f"{len(tokens)} tokens have {len(tags)} tags"
        raise _WrongRowError("ragged_row", message, tag_name, tags)
    for token in tokens:
        if not isinstance(token, str) or not token.strip() or "\0" in token or not is_text(token):
            raise _WrongRowError("missing_text", "every token is a text that is not empty", name, token)
    for tag in tags:
        if not isinstance(tag, str) or not tag.strip() or not is_text(tag):
            message = "every tag is a text; where the tags are numbers, write the names that they stand for"
            raise _WrongRowError("missing_label", message, tag_name, tag)
    if not tokens:
        raise _WrongRowError("missing_text", "there are no tokens", name)
    return tokens, tags


def _text_and_spans(record: Mapping[str, Any]) -> tuple[str, list[Span]]:
    if isinstance(record.get("data"), dict) or "annotations" in record:
        return _of_label_studio(record)
    name, span_name = _named(record, _TEXT), _named(record, _SPANS)
    text = record[name] if name else None
    if not isinstance(text, str) or not text.strip():
        raise _WrongRowError("missing_text", "the row has no text", name or "text", text)
    if "\0" in text or not is_text(text):
        message = "the text holds a NUL byte or half of a surrogate pair (an escape such as \\ud83d)"
        raise _WrongRowError("invalid_text", message, name)
    if span_name is None:
        message = 'the row has no list of entities; where there are none in the text, write "entities": []'
        raise _WrongRowError("missing_label", message, "entities")
    given = record[span_name]
    if given is None:
        given = []
    if not isinstance(given, list):
        raise _WrongRowError("invalid_span", "the entities are a list", span_name, given)
    return text, [_span(text, one, span_name) for one in given]


def _of_label_studio(record: Mapping[str, Any]) -> tuple[str, list[Span]]:
    data = record.get("data")
    texts = [value for value in (data if isinstance(data, dict) else {}).values() if isinstance(value, str)]
    if len(texts) != 1 or not texts[0].strip() or "\0" in texts[0] or not is_text(texts[0]):
        raise _WrongRowError("missing_text", "the row's data hold one text", "data", data)
    annotations = record.get("annotations") or record.get("completions") or []
    done = [one for one in annotations if isinstance(one, dict) and not one.get("was_cancelled")]
    if not done:
        raise _WrongRowError("missing_label", "nobody has annotated this row", "annotations")
    results = done[-1].get("result") or []
    values = [result.get("value") for result in results if isinstance(result, dict) and "value" in result]
    return texts[0], [_span(texts[0], value, "annotations") for value in values]


def _span(text: str, given: Any, column: str) -> Span:
    if isinstance(given, list) and len(given) == 3:
        start, end, label = given
    elif isinstance(given, dict):
        start, end, label = (_first(given, names) for names in (_STARTS, _ENDS, _LABELS))
    else:
        message = 'an entity is {"start": 0, "end": 3, "label": "…"} or [0, 3, "…"]'
        raise _WrongRowError("invalid_span", message, column, given)
    if isinstance(label, list) and len(label) == 1:
        label = label[0]
    numbers = isinstance(start, int) and isinstance(end, int) and not isinstance(start, bool)
    if not numbers or not isinstance(label, str) or not label.strip():
        message = "an entity has a start and an end, which are whole numbers, and a label"
        raise _WrongRowError("invalid_span", message, column, given)
    if isinstance(given, dict) and isinstance(said := given.get("text"), str) and text[start:end] != said:
        message = (
            f"the entity is said to be {quoted(said)}, and from {start} to {end} the text has "
            f"{quoted(text[start:end])}: offsets count characters, not bytes"
        )
        raise _WrongRowError("misaligned_span", message, column, given)
    return Span(start, end, label.strip())


def check_spans(text: str, spans: Sequence[Span]) -> None:
    """Refuse spans that mark nothing, that overlap, or that begin or end within a character as readers see it."""
    for span in spans:
        place = f"{span.label} from {span.start} to {span.end}"
        if not 0 <= span.start < span.end <= len(text):
            message = f"{place}: the text has {len(text)} characters, and a span at least one"
            raise _WrongRowError("span_out_of_bounds", message, "entities", [span.start, span.end, span.label])
        if not text[span.start : span.end].strip():
            message = f"{place} marks nothing but blanks"
            raise _WrongRowError("empty_span", message, "entities", [span.start, span.end, span.label])
        if any(at < len(text) and _goes_on(text, at) for at in (span.start, span.end)):
            message = f"{place} begins or ends between a letter and its accent, or within an emoji"
            raise _WrongRowError("misaligned_span", message, "entities", [span.start, span.end, span.label])
    for first, second in pairwise(sorted(spans, key=lambda span: (span.start, span.end))):
        if second.start < first.end:
            message = (
                f"{first.label} from {first.start} to {first.end} and {second.label} from {second.start} to "
                f"{second.end} overlap; a word has one tag"
            )
            raise _WrongRowError("overlapping_spans", message, "entities", [second.start, second.end, second.label])


def _goes_on(text: str, at: int) -> bool:
    """Whether the character at this place belongs to the one before it."""
    character = text[at]
    joins = character == "\u200d" or (at > 0 and text[at - 1] == "\u200d")
    return at > 0 and (joins or unicodedata.combining(character) != 0 or "\ufe00" <= character <= "\ufe0f")


def words_and_tags(text: str, spans: Sequence[Span], splitter: WordSplitter) -> tuple[list[str], list[str]]:
    """The words of a text, cut where a span begins or ends, and their tags in BIO."""
    borders = sorted({border for span in spans for border in (span.start, span.end)})
    words = [piece for word in splitter.split(text) for piece in _cut(word, borders)]
    ordered = sorted(spans, key=lambda span: span.start)
    tags, index, begun = [], 0, -1
    for word in words:
        while index < len(ordered) and ordered[index].end <= word.start:
            index += 1
        if index == len(ordered) or word.start < ordered[index].start:
            tags.append("O")
            continue
        tags.append(f"{'I' if begun == index else 'B'}-{ordered[index].label}")
        begun = index
    return [word.text for word in words], tags


def _cut(word: Word, borders: Sequence[int]) -> Iterator[Word]:
    cuts = [word.start, *(border for border in borders if word.start < border < word.end), word.end]
    for start, end in pairwise(cuts):
        if (piece := word.text[start - word.start : end - word.start]).strip():
            yield Word(piece, start, end)


def _named(record: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in record), None)


def _first(record: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((record[name] for name in names if name in record), None)
