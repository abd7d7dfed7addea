"""CoNLL columns: a token and its tag on each line, a blank line between sentences; CoNLL-U with its comments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from operator import methodcaller

from models_store.datasets.labels import label_problem
from models_store.datasets.readers.conll_layout import (
    DOCUMENT,
    UNCOUNTED,
    WORD_NUMBER,
    Layout,
    fields_of,
    layout_of,
)
from models_store.datasets.readers.sentences import Sentence
from models_store.datasets.report import Report, excerpt
from models_store.datasets.source import MAX_LINE, SourceFile
from models_store.errors import Problem, quoted

_BLOCK_CHARACTERS = 1024 * 1024


class ConllFile:
    """A file of CoNLL columns, parted by blanks or tabs.

    Args:
        source: The file.
        mapping: ``token`` and ``tag`` → the number of the column, from 1, or its name, as far as the uploader told.

    Raises:
        UnreadableFileError: The file cannot be decoded, or is a table of another kind; now or while it is read.
        InvalidDatasetError: It has not the columns that were named.
    """

    def __init__(self, source: SourceFile, mapping: Mapping[str, str]) -> None:
        self._source = source
        self._layout = layout_of(source, mapping)
        self.format = self._layout.format
        self.columns = self._layout.columns

    def sentences(self, report: Report) -> Iterator[Sentence]:
        """See `TaggedFile`."""
        if self._layout.nested is not None:
            read, other = self._layout.tag + 1, self._layout.nested + 1
            message = (
                f'columns {read} and {other} hold tags; {read} is read; columns={{"tag": "{other}"}} takes the other'
            )
            report.notice("several_tag_columns", message, self._source.name)
        lines = _Lines(self._source.name, report, self._layout, lambda: self._tags)
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

    @cached_property
    def _tags(self) -> set[str]:
        """The tags of all lines that are certainly no comments."""
        found: set[str] = set()
        inside = False
        for line in self._source.lines():
            inside = bool(line.strip()) and (inside or not line.startswith("#"))
            fields = fields_of(line.rstrip("\r\n")) if inside else []
            if fields and len(fields) == self._layout.width:
                found.add(fields[self._layout.tag])
        return found


class _Lines:
    """Gathers lines into sentences.

    Args:
        name: Of the file.
        report: Of what is wrong.
        layout: Which columns are read.
        tags: Gives the tags of all lines that are certainly no comments; asked only where a line may be one.
    """

    def __init__(self, name: str, report: Report, layout: Layout, tags: Callable[[], set[str]]) -> None:
        self._name = name
        self._report = report
        self._layout = layout
        self._tags = tags
        self._sentence = Sentence()
        self._width = layout.width
        self._usual: set[str] = set()  # tags that are all right

    def at_once(self, number: int, block: str) -> Sentence | None:
        """The sentence that a block of lines is if there is nothing remarkable about any; nearly all are such."""
        width, layout = self._width, self._layout
        is_plain = width and not layout.numbered and number > layout.header
        if self._sentence.first or not is_plain or _is_remarkable(block):
            return None
        separator = "\t" if "\t" in block else " "
        lines = block.split("\n")
        if set(map(methodcaller("count", separator), lines)) != {width - 1}:
            return None
        fields = block.replace("\n", separator).split(separator)
        tokens, tags = fields[layout.token :: width], fields[layout.tag % width :: width]
        if not self._usual.issuperset(tags) or not all(map(str.strip, tokens)):
            return None
        return Sentence(list(range(number, number + len(lines))), tokens, tags, first=number)

    def add(self, number: int, text: str) -> Sentence | None:
        """Take a line in; the sentence that ends with it."""
        fields = fields_of(text) if text.strip() else []
        if not fields or fields[0] == DOCUMENT or number == self._layout.header:
            return self.end()
        if text.startswith("#") and self._is_comment(number, text, fields):
            return None
        if self._layout.numbered and UNCOUNTED.fullmatch(fields[0]):
            return None
        self._width = self._width or (len(fields) if len(fields) > 1 else 0)
        problem = self._problem(fields, number)
        if problem is not None:
            self._sentence.first = self._sentence.first or number
            self._report.wrong_row(problem, row=self._sentence.first)
            self._sentence.whole = False
            return None
        token, tag = fields[self._layout.token], fields[self._layout.tag]
        self._sentence.add(number, token, tag)
        if "" not in fields:
            self._usual.add(tag)
        return None

    def end(self) -> Sentence | None:
        """The sentence so far, if there is one."""
        sentence, self._sentence = self._sentence, Sentence()
        return sentence if sentence.tokens else None

    def _is_comment(self, number: int, text: str, fields: list[str]) -> bool:
        """Whether a line that begins with ``#``, which can be a token, too, is a comment.

        Comments stand before a sentence. One with as many columns as any other line ends with what is no tag.
        """
        if self._layout.numbered or self._sentence.first:
            return self._layout.numbered
        if len(fields) != self._width:
            return True
        if not text.startswith(("# ", "#\t")) or fields[self._layout.tag] in self._tags():
            return False
        message = (
            "line(s) that begin with # were taken for comments: where tags stand they have what is no tag elsewhere"
        )
        self._report.notice("unclear_comments", message, self._name, number)
        return True

    def _problem(self, fields: list[str], line: int) -> Problem | None:
        if len(fields) < 2:
            message = f"only one column: {quoted(fields[0])} has no tag"
            return Problem("missing_label", message, self._name, line, "tag", excerpt(fields[0]))
        if len(fields) != self._width:
            message = f"{len(fields)} columns where the lines before have {self._width}"
            return Problem("ragged_row", message, self._name, line, value=excerpt(" ".join(fields)))
        due = str(len(self._sentence.tokens) + 1)
        is_number = WORD_NUMBER.fullmatch(fields[0]) is not None
        if self._layout.numbered and (fields[0] != due if self._sentence.whole else not is_number):
            message = f"{quoted(fields[0])} stands where the word's number is due, {due}: is a blank line missing?"
            return Problem("invalid_word_number", message, self._name, line, "1", excerpt(fields[0]))
        token, tag = fields[self._layout.token], fields[self._layout.tag]
        if not token.strip():
            return Problem("missing_text", "the token is empty", self._name, line, "token")
        if not tag.strip():
            return Problem("missing_label", "the tag is empty", self._name, line, "tag")
        if "\0" in token + tag:
            column = "token" if "\0" in token else "tag"
            return Problem("nul_byte", "the line holds a NUL byte", self._name, line, column)
        return label_problem(tag, (self._name, line, "tag"))


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
    return block.startswith(("#", DOCUMENT)) or any(sign in block for sign in ("\n#", f"\n{DOCUMENT}", "\0"))
