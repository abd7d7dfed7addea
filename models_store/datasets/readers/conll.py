"""CoNLL columns: the token first, the tag last, a blank line between sentences; CoNLL-U with its comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from models_store.datasets.labels import label_problem
from models_store.datasets.readers.sentences import Sentence
from models_store.datasets.report import Report, excerpt
from models_store.datasets.source import SourceFile
from models_store.errors import Problem, quoted

_CONLL_U_COLUMNS = 10
_CONLL_U = re.compile(r"1(-[0-9]+)?\t[^\t]*\t[^\t]*\t[A-Z_]+\t")
_UPOS = 3
_WORD_NUMBER = re.compile(r"[0-9]+")  # and not 1-2 (a contraction, whose words follow) or 1.1 (a word left out)
_SNIFFED_LINES = 500


class ConllFile:
    """A file of CoNLL columns, parted by blanks or tabs. Of CoNLL-U the word forms and UPOS are read.

    Raises:
        UnreadableFileError: The file cannot be decoded; while it is read.
    """

    columns: dict[str, str] = {}  # noqa: RUF012 (it has none)

    def __init__(self, source: SourceFile) -> None:
        self._source = source
        first = _first_line(source)
        self._is_conll_u = _CONLL_U.match(first) is not None and first.count("\t") == _CONLL_U_COLUMNS - 1
        self._width = len(_fields(first.rstrip("\r\n")))
        self.format = "conllu" if self._is_conll_u else "conll"

    def sentences(self, report: Report) -> Iterator[Sentence]:
        """See `TaggedFile`."""
        sentence = Sentence()
        width = 0
        usual: set[str] = set()  # tags that are all right: nearly all lines have one of them, and need no closer look
        for number, raw in enumerate(self._source.lines(), start=1):
            text = raw.rstrip("\r\n")
            fields = text.split("\t" if "\t" in text else " ")
            if len(fields) == width and fields[-1] in usual and text[0] not in "#-" and not self._is_conll_u:
                token = fields[0]
                if token and not token.isspace() and "\0" not in token:
                    sentence.add(number, token, fields[-1])
                    continue
            if not text.strip() or text.startswith("-DOCSTART-"):
                if sentence.tokens:
                    yield sentence
                sentence = Sentence()
                continue
            fields = _fields(text)
            if text.startswith("#") and self._is_comment(fields, sentence):
                continue
            if self._is_conll_u and not _WORD_NUMBER.fullmatch(fields[0]):
                continue
            width = width or (len(fields) if len(fields) > 1 else 0)
            problem = _problem(fields, width, self._source.name, number)
            if problem is not None:
                sentence.first = sentence.first or number
                report.wrong_row(problem, row=sentence.first)
                sentence.whole = False
                continue
            token, tag = (fields[1], fields[_UPOS]) if self._is_conll_u else (fields[0], fields[-1])
            sentence.add(number, token, tag)
            if "" not in fields:
                usual.add(fields[-1])
        if sentence.tokens:
            yield sentence

    def _is_comment(self, fields: list[str], sentence: Sentence) -> bool:
        """Comments stand before a sentence; ``#`` can be a token, too, and then has as many columns as any other."""
        return self._is_conll_u or (not sentence.tokens and len(fields) != self._width)


def _first_line(source: SourceFile) -> str:
    """The first line that is neither blank nor a comment, or nothing."""
    return next((line for line in islice(source.lines(), _SNIFFED_LINES) if line.strip() and line[0] != "#"), "")


def _fields(text: str) -> list[str]:
    """Columns parted by tabs or by blanks; other white space, such as a no-break space, belongs to the token."""
    return text.rstrip("\t ").split("\t") if "\t" in text else [part for part in text.split(" ") if part]


def _problem(fields: list[str], width: int, name: str, line: int) -> Problem | None:
    if len(fields) < 2:
        message = f"only one column: {quoted(fields[0])} has no tag"
        return Problem("missing_label", message, name, line, "tag", excerpt(fields[0]))
    if len(fields) != width:
        message = f"{len(fields)} columns where the lines before have {width}"
        return Problem("ragged_row", message, name, line, value=excerpt(" ".join(fields)))
    if not fields[0].strip():
        return Problem("missing_text", "the token is empty", name, line, "token")
    if "\0" in fields[0] + fields[-1]:
        return Problem("nul_byte", "the line holds a NUL byte", name, line, "token" if "\0" in fields[0] else "tag")
    return label_problem(fields[-1], (name, line, "tag"))
