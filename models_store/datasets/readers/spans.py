"""JSON with tagged text: tokens with tags, or a text with marked spans, as annotation tools export them.

Understood are, each as JSON Lines or one array:

* ``{"tokens": [...], "tags": [...]}``, also ``words`` and ``ner_tags``, ``labels`` or ``pos_tags``
* ``{"text": ..., "entities": [{"start", "end", "label"}]}``, also ``spans`` (Prodigy) or ``ents`` (spaCy), with
  ``start_offset`` and ``end_offset`` (Doccano), or each as ``[start, end, label]`` under ``label``, ``labels`` or
  ``entities`` (Doccano)
* ``["text", {"entities": [[start, end, label]]}]`` (spaCy 2)
* ``{"data": {"text": ...}, "annotations": [{"result": [{"value": {"start", "end", "labels"}}]}]}`` (Label Studio), and
  its JSON-MIN

Offsets count characters of the text, the end not included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models_store.characters import is_text
from models_store.datasets.columns import SPLIT
from models_store.datasets.labels import label_problem
from models_store.datasets.readers import label_studio
from models_store.datasets.readers.json_rows import json_records
from models_store.datasets.readers.marks import Fault, WrongRowError, cut_at, cuts_a_word, spans_of, trimmed
from models_store.datasets.readers.sentences import Sentence
from models_store.datasets.report import Report, excerpt
from models_store.datasets.source import SourceFile
from models_store.errors import Problem
from models_store.spellings import column_key
from models_store.tasks.words import WordSplitter

TOKENS = ("tokens", "words")
TAGS = ("tags", "ner_tags", "labels", "pos_tags", "upos")
TEXT = ("text", "data", "content", "sentence")
SPANS = ("entities", "ents", "spans", "label", "labels")
_ANSWER = "answer"  # of Prodigy's annotator
_REFUSED = ("reject", "ignore")
ASIDE = (_ANSWER, "annotations", "completions")


class SpansFile:
    """A JSON file of tagged text.

    Args:
        source: The file.
        mapping: Our field → the key under which it stands, as far as the uploader told.

    Raises:
        UnreadableFileError: The file cannot be decoded or parsed; while it is read.
    """

    format = "json"

    def __init__(self, source: SourceFile, mapping: Mapping[str, str]) -> None:
        self._source = source
        self._mapping = mapping
        self.columns: dict[str, str] = {}

    def sentences(self, report: Report) -> Iterator[Sentence]:
        """See `TaggedFile`."""
        reader = SpanReader(self._source.name, report, self._mapping)
        self.columns = reader.columns
        for line, record in json_records(self._source, report):
            if (sentence := reader.read(line, record)) is not None:
                yield sentence


class SpanReader:
    """Reads objects one by one. Texts become words, cut at the borders of their spans.

    Attributes:
        columns: Our field → the key under which it stood in the first row that could be read.
    """

    def __init__(self, name: str, report: Report, mapping: Mapping[str, str]) -> None:
        self._name = name
        self._report = report
        self._mapping = mapping
        self._splitter = WordSplitter()
        self.columns: dict[str, str] = {}

    def read(self, line: int, record: Any) -> Sentence | None:
        """The sentence that an object holds; None, and a report, where it holds none."""
        if isinstance(record, dict) and (record.get(_ANSWER) in _REFUSED or label_studio.is_cancelled(record)):
            message = "row(s) were rejected or skipped by the annotator and are not used"
            self._report.notice("rejected_rows", message, self._name, line)
            return None
        try:
            sentence = self._read(line, record)
        except WrongRowError as error:
            for fault in error.faults:
                value = None if fault.value is None else excerpt(fault.value)
                self._report.wrong_row(Problem(fault.code, fault.message, self._name, line, fault.column, value))
            return None
        tags = dict.fromkeys(sentence.tags)
        problems = [problem for tag in tags if (problem := label_problem(tag, (self._name, line, "tag")))]
        for problem in problems:
            self._report.wrong_row(problem)
        return None if problems else sentence

    def _read(self, line: int, record: Any) -> Sentence:
        if isinstance(record, list) and len(record) == 2 and isinstance(record[1], dict):
            record = {"text": record[0], **record[1]}
        if not isinstance(record, dict):
            raise WrongRowError(Fault("not_an_object", "every row is an object in braces", value=record))
        if self._has_tagged_tokens(record):
            sentence = self._of_tokens(line, record)
        elif label_studio.is_whole(record) and not self._is_marked_text(record):
            sentence = self._of_task(line, record)
        else:
            sentence = self._of_text(line, record)
        sentence.split = _split_of(record, self._mapping.get(SPLIT))
        return sentence

    def _has_tagged_tokens(self, record: Mapping[str, Any]) -> bool:
        """Whether tokens count; tools write them beside a text with spans, too."""
        if {"tokens", "tags", "text", "entities"} & self._mapping.keys():
            return bool({"tokens", "tags"} & self._mapping.keys())
        name = _named(record, TOKENS)
        if name is None:
            return False
        tokens = record[name]
        objects = isinstance(tokens, list) and any(isinstance(token, dict) for token in tokens)
        return _named(record, TEXT) is None or not (objects or _named(record, TAGS) is None)

    def _is_marked_text(self, record: Mapping[str, Any]) -> bool:
        """Whether a text stands in the row itself, with its spans; whatever else is there."""
        text = self._mapping.get("text") or _named(record, TEXT)
        spans = self._mapping.get("entities") or _named(record, SPANS)
        return text is not None and isinstance(record.get(text), str) and spans in record

    def _of_tokens(self, line: int, record: Mapping[str, Any]) -> Sentence:
        name = self._mapping.get("tokens") or _named(record, TOKENS) or "tokens"
        tag_name = self._mapping.get("tags") or _named(record, TAGS) or "tags"
        tokens, tags = record.get(name), record.get(tag_name)
        _check_tokens(name, tokens, tag_name, tags)
        if _named(record, TEXT) and _named(record, SPANS) and not self._mapping:
            message = "row(s) have both, tagged tokens and a text with spans: the tokens and their tags are read"
            self._report.notice("tags_and_spans", message, self._name, line)
        self._note_columns(tokens=name, tags=tag_name)
        return Sentence([line], tokens or [], tags or [])

    def _of_text(self, line: int, record: Mapping[str, Any]) -> Sentence:
        name = self._mapping.get("text") or _named(record, TEXT) or "text"
        text = _checked_text(record.get(name), name)
        mapped = self._mapping.get("entities")
        if mapped is None and label_studio.is_flattened(record):
            controls, given = label_studio.flattened_marks(record)
            return self._marked(line, text, given, name, ", ".join(controls))
        span_name = mapped or _named(record, SPANS)
        if span_name is None and record.get(_ANSWER) == "accept":
            return self._marked(line, text, [], name, "")  # Prodigy: looked at, and nothing found
        if span_name is None or span_name not in record:
            message = 'the row has no list of entities; where there are none in the text, write "entities": []'
            raise WrongRowError(Fault("missing_label", message, span_name or "entities"))
        given = record[span_name]
        if given is not None and not isinstance(given, list):
            raise WrongRowError(Fault("invalid_span", "the entities are a list", span_name, given))
        return self._marked(line, text, given or [], name, span_name)

    def _of_task(self, line: int, record: Mapping[str, Any]) -> Sentence:
        mapped = self._mapping.get("text")
        key = label_studio.text_key(record, (mapped,) if mapped else TEXT)
        text = _checked_text(record["data"][key], f"data.{key}")
        return self._marked(line, text, label_studio.marks(record), f"data.{key}", "annotations")

    def _marked(self, line: int, text: str, given: Sequence[Any], name: str, span_name: str) -> Sentence:
        spans = spans_of(text, given, span_name)
        exact = [trimmed(text, span) for span in spans]
        words = self._splitter.split(text)
        pieces, tags = cut_at(words, exact)
        for code, message, is_so in (
            ("spans_trimmed", "row(s) have entities with blanks at their ends, which were cut off", exact != spans),
            (
                "spans_inside_words",
                "row(s) have entities that begin or end inside a word, which is cut there",
                any(cuts_a_word(text, span, words) for span in exact),
            ),
            (
                "labels_like_tags",
                "row(s) have entities whose labels look like tags, such as B-PER, and are taken as they are",
                any(span.is_like_a_tag for span in spans),
            ),
        ):
            if is_so:
                self._report.notice(code, message, self._name, line)
        if span_name:
            self._note_columns(text=name, entities=span_name)
        return Sentence([line], [word.text for word in pieces], tags, text=text, starts=[word.start for word in pieces])

    def _note_columns(self, **columns: str) -> None:
        if not self.columns:
            self.columns.update(columns)


def _check_tokens(name: str, tokens: Any, tag_name: str, tags: Any) -> None:
    if not isinstance(tokens, list) or not isinstance(tags, list):
        message = f'a row needs both, a list of tokens and a list of tags: {{"{name}": ["…"], "{tag_name}": ["…"]}}'
        raise WrongRowError(Fault("missing_label", message, tag_name if isinstance(tokens, list) else name))
    if len(tokens) != len(tags):
        raise WrongRowError(Fault("ragged_row", f"{len(tokens)} tokens have {len(tags)} tags", tag_name, tags))
    for token in tokens:
        if not isinstance(token, str) or not token.strip() or "\0" in token or not is_text(token):
            raise WrongRowError(Fault("missing_text", "every token is a text that is not empty", name, token))
    for tag in tags:
        if not isinstance(tag, str) or not tag.strip() or not is_text(tag):
            message = "every tag is a text; where the tags are numbers, write the names that they stand for"
            raise WrongRowError(Fault("missing_label", message, tag_name, tag))
    if not tokens:
        raise WrongRowError(Fault("missing_text", "there are no tokens", name))


def _checked_text(text: Any, name: str) -> str:
    if not isinstance(text, str) or not text.strip():
        raise WrongRowError(Fault("missing_text", "the row has no text", name, text))
    if "\0" in text or not is_text(text):
        message = "the text holds a NUL byte or half of a surrogate pair (an escape such as \\ud83d)"
        raise WrongRowError(Fault("invalid_text", message, name))
    return text


def _split_of(record: Mapping[str, Any], mapped: str | None) -> Any:
    """What the row says it is for, if it has a column for that."""
    data = record.get("data")
    for keys in (record, data if isinstance(data, dict) else {}):
        name = mapped or next((key for key in keys if column_key(key) == SPLIT), None)
        if name is not None and name in keys:
            return keys[name]
    return None


def _named(record: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in record), None)
