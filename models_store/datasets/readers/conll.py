"""CoNLL columns: the token first, the tag last, a blank line between sentences; CoNLL-U with its comments."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from operator import methodcaller

from models_store.datasets.labels import label_problem
from models_store.datasets.readers.sentences import Sentence
from models_store.datasets.report import Report, excerpt
from models_store.datasets.source import MAX_LINE, SourceFile
from models_store.errors import Problem, quoted

_CONLL_U_COLUMNS = 10
_CONLL_U = re.compile(r"1(-[0-9]+)?\t[^\t]*\t[^\t]*\t[A-Z_]+\t")
_UPOS = 3
_WORD_NUMBER = re.compile(r"[0-9]+")  # and not 1-2 (a contraction, whose words follow) or 1.1 (a word left out)
_SNIFFED_LINES = 500
_BLOCK_CHARACTERS = 1024 * 1024
_DOCUMENT = "-DOCSTART-"


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
        lines = _Lines(self._source.name, report, self._is_comment, is_conll_u=self._is_conll_u)
        for number, block, ends in _blocks(self._source):
            if ends and (sentence := lines.at_once(number, block)) is not None:
                yield sentence
                continue
            for line, text in enumerate(block.split("\n"), start=number):
                if (sentence := lines.add(line, text.rstrip("\r"))) is not None:
                    yield sentence
            if ends and (sentence := lines.end()) is not None:
                yield sentence
        if (sentence := lines.end()) is not None:
            yield sentence

    def _is_comment(self, fields: list[str], sentence: Sentence) -> bool:
        """Comments stand before a sentence; ``#`` can be a token, too, and then has as many columns as any other."""
        return self._is_conll_u or (not sentence.tokens and len(fields) != self._width)


class _Lines:
    """Gathers lines into sentences.

    Args:
        name: Of the file.
        report: Of what is wrong.
        is_comment: Whether these columns, of a line that begins with ``#``, are none.
        is_conll_u: Which columns are read.
    """

    def __init__(
        self, name: str, report: Report, is_comment: Callable[[list[str], Sentence], bool], *, is_conll_u: bool
    ) -> None:
        self._name = name
        self._report = report
        self._is_comment = is_comment
        self._is_conll_u = is_conll_u
        self._sentence = Sentence()
        self._width = 0
        self._usual: set[str] = set()  # tags that are all right

    def at_once(self, number: int, block: str) -> Sentence | None:
        """The sentence that a block of lines is if there is nothing remarkable about any; nearly all are such."""
        if self._sentence.first or self._is_conll_u or not self._width or _is_remarkable(block):
            return None
        separator = "\t" if "\t" in block else " "
        lines = block.split("\n")
        if set(map(methodcaller("count", separator), lines)) != {self._width - 1}:
            return None
        fields = block.replace("\n", separator).split(separator)
        tokens, tags = fields[:: self._width], fields[self._width - 1 :: self._width]
        if not self._usual.issuperset(tags) or not all(map(str.strip, tokens)):
            return None
        return Sentence(list(range(number, number + len(lines))), tokens, tags, first=number)

    def add(self, number: int, text: str) -> Sentence | None:
        """Take a line in; the sentence that ends with it."""
        if not text.strip() or text.startswith(_DOCUMENT):
            return self.end()
        fields = _fields(text)
        if text.startswith("#") and self._is_comment(fields, self._sentence):
            return None
        if self._is_conll_u and not _WORD_NUMBER.fullmatch(fields[0]):
            return None
        self._width = self._width or (len(fields) if len(fields) > 1 else 0)
        problem = _problem(fields, self._width, self._name, number)
        if problem is not None:
            self._sentence.first = self._sentence.first or number
            self._report.wrong_row(problem, row=self._sentence.first)
            self._sentence.whole = False
            return None
        token, tag = (fields[1], fields[_UPOS]) if self._is_conll_u else (fields[0], fields[-1])
        self._sentence.add(number, token, tag)
        if "" not in fields:
            self._usual.add(tag)
        return None

    def end(self) -> Sentence | None:
        """The sentence so far, if there is one."""
        sentence, self._sentence = self._sentence, Sentence()
        return sentence if sentence.tokens else None


def _blocks(source: SourceFile) -> Iterator[tuple[int, str, bool]]:
    """The lines between empty ones, all at once: the number of the first, the lines, and whether an empty one follows.

    Where none comes for long, lines are handed on without it.
    """
    number, rest = 1, ""
    for chunk in source.chunks():
        text = (rest + chunk).replace("\r\n", "\n")
        end = text.rfind("\n\n") + 2
        if end == 1 and len(text) > _BLOCK_CHARACTERS:
            end = text.rfind("\n") + 1
        if end <= 1:
            if len(text) > MAX_LINE:
                raise source.line_too_long(number)
            rest = text
            continue
        *blocks, last = text[:end].split("\n\n")
        for block in blocks:
            if block:
                yield number, block, True
            number += block.count("\n") + 2
        if last:
            yield number, last.removesuffix("\n"), False
            number += last.count("\n")
        rest = text[end:]
    if rest:
        yield number, rest, False


def _is_remarkable(block: str) -> bool:
    """Whether it may hold comments, a document's begin, or what is refused."""
    return block.startswith(("#", _DOCUMENT)) or any(sign in block for sign in ("\n#", f"\n{_DOCUMENT}", "\0"))


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
