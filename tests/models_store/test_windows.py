"""Windows: every piece is answered for once, no word is torn, and the special tokens are those of the text."""

from __future__ import annotations

from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.processors import PostProcessor, RobertaProcessing, TemplateProcessing

from models_store.tasks import Encoded
from models_store.tasks.bio import Scheme
from models_store.tasks.classification import ClassificationTask
from models_store.tasks.tagging import TaggingExample, TaggingTask
from models_store.tasks.words import WordSplitter
from models_store.windows import Window, Windowing, merge, whole, windows
from tests.fixtures.encoders import build_tokenizer

LENGTHS = st.integers(8, 40)
STRIDES = st.integers(1, 40)
SPECIAL = st.tuples(st.integers(0, 3), st.integers(0, 3))
WORDS = st.lists(st.integers(1, 50), min_size=1, max_size=60)  # pieces of each word


def text(pieces: list[int], special: tuple[int, int], *, words: bool = True) -> Encoded:
    """A text whose ids are its positions; special tokens have negative ids."""
    front, behind = special
    starts = list(accumulate(pieces, initial=front))
    ids = [*(-1 - i for i in range(front)), *range(front, starts[-1]), *(-101 - i for i in range(behind))]
    return Encoded(ids, [0] * len(ids), truncated=False, first_pieces=starts[:-1] if words else None, special=special)


def content(window: Window, special: tuple[int, int]) -> list[int]:
    return list(window.encoded.input_ids[special[0] : len(window) - special[1]])


@given(pieces=WORDS, special=SPECIAL, max_length=LENGTHS, stride=STRIDES, words=st.booleans())
def test_windows_fit_keep_the_special_tokens_and_leave_nothing_out(
    pieces: list[int], special: tuple[int, int], max_length: int, stride: int, words: bool
) -> None:
    encoded = text(pieces, special, words=words)

    parts = Windowing(max_length, stride).windows(encoded)

    front, behind = special
    for part in parts:
        assert len(part) <= max_length
        assert part.encoded.input_ids[:front] == [-1 - i for i in range(front)]
        assert part.encoded.input_ids[len(part) - behind :] == [-101 - i for i in range(behind)]
        inside = content(part, special)
        assert inside == list(range(inside[0], inside[-1] + 1))
    assert {piece for part in parts for piece in content(part, special)} == set(range(front, front + sum(pieces)))
    assert len(parts) <= 1 + 2 * -(-sum(pieces) // min(stride, max_length - front - behind))


@given(pieces=WORDS, special=SPECIAL, max_length=LENGTHS, stride=STRIDES, words=st.booleans())
def test_each_piece_gets_the_logits_of_its_own_place(
    pieces: list[int], special: tuple[int, int], max_length: int, stride: int, words: bool
) -> None:
    encoded = text(pieces, special, words=words)
    parts = Windowing(max_length, stride).windows(encoded)

    merged = merge(parts, [np.asarray(part.encoded.input_ids)[:, None] for part in parts], per_token=True)

    assert merged[:, 0].tolist() == encoded.input_ids
    assert [part.stop for part in parts[:-1]] == [part.start for part in parts[1:]]


@given(pieces=WORDS, special=SPECIAL, max_length=LENGTHS, stride=STRIDES)
def test_a_word_that_fits_is_whole_in_the_window_that_answers_for_it(
    pieces: list[int], special: tuple[int, int], max_length: int, stride: int
) -> None:
    encoded = text(pieces, special)
    room = max_length - sum(special)
    parts = Windowing(max_length, stride).windows(encoded)

    assert encoded.first_pieces is not None
    for length, start in zip(pieces, encoded.first_pieces, strict=True):
        word = set(range(start, start + length))
        if length <= room:
            assert any(word <= set(content(part, special)) for part in parts)
        if max(pieces) <= min(stride, room - stride):  # then no window need tear anything
            (answering,) = [part for part in parts if part.start <= start < part.stop]
            assert word <= set(content(answering, special))


@given(n=st.integers(1, 300), max_length=LENGTHS, stride=STRIDES)
def test_between_two_windows_the_one_with_more_context_answers(n: int, max_length: int, stride: int) -> None:
    parts = Windowing(max_length, stride).windows(text([1] * n, (1, 1), words=False))

    for left, right in pairwise(parts):
        for piece in set(content(left, (1, 1))) & set(content(right, (1, 1))):
            behind, ahead = content(left, (1, 1))[-1] - piece, piece - content(right, (1, 1))[0]
            assert piece >= left.stop or behind >= ahead
            assert piece < right.start or ahead >= behind


def test_a_text_that_fits_is_itself() -> None:
    encoded = text([2, 3], (1, 1))

    (only,) = Windowing(7, 3).windows(encoded)

    assert only.encoded is encoded
    logits = np.ones((7, 2))
    assert merge([only], [logits], per_token=True) is logits


def test_without_a_stride_a_text_is_left_to_the_tokenizer() -> None:
    encoded = text([20], (1, 1))

    assert Windowing(8, None).windows(encoded) == [whole(encoded)]
    assert (Windowing(8, None).truncation, Windowing(8, 4).truncation) == (8, None)


def test_windows_are_as_full_as_they_can_be() -> None:
    parts = windows(text([1] * 20, (1, 1), words=False), 10, 6)

    assert [(part.encoded.input_ids[1], len(part)) for part in parts] == [(1, 10), (7, 10), (13, 10)]
    assert [(part.start, part.stop) for part in parts] == [(0, 8), (8, 14), (14, 22)]


def test_the_answer_for_a_text_is_the_mean_of_its_windows() -> None:
    parts = windows(text([1] * 20, (1, 1), words=False), 10, 6)
    logits = [np.asarray([float(i), -1.0], dtype=np.float32) for i in range(3)]

    assert merge(parts, logits, per_token=False).tolist() == [1.0, -1.0]


def test_special_tokens_that_leave_no_room_are_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        windows(text([9], (2, 2)), 4, 2)


_IDS = [("[UNK]", 1), ("[CLS]", 2), ("[SEP]", 3)]


@pytest.mark.parametrize(
    ("processor", "front", "behind"),
    [
        (None, ["[CLS]"], ["[SEP]"]),
        (RobertaProcessing(("[SEP]", 3), ("[CLS]", 2)), ["[CLS]"], ["[SEP]"]),
        (TemplateProcessing("[CLS] [UNK] $A [SEP]", None, _IDS), ["[CLS]", "[UNK]"], ["[SEP]"]),
        (TemplateProcessing("$A [SEP]", None, _IDS), [], ["[SEP]"]),
    ],
    ids=["bert", "roberta", "two in front", "none in front"],
)
def test_the_special_tokens_are_learnt_from_the_tokenizer(
    processor: PostProcessor | None, front: list[str], behind: list[str]
) -> None:
    tokenizer = build_tokenizer()
    if processor is not None:
        tokenizer.post_processor = processor
    tokenizer.no_truncation()
    # A text that names a special token is text all the same.
    example = "ada met bob [SEP] " * 10

    (encoded,) = ClassificationTask(("a", "b")).encode(tokenizer, [example])
    parts = windows(encoded, 12, 6)

    assert encoded.special == (len(front), len(behind))
    for part in parts:
        tokens = [tokenizer.id_to_token(piece) for piece in part.encoded.input_ids]
        assert tokens[: len(front)] == front
        assert tokens[len(tokens) - len(behind) :] == behind


def test_words_without_a_piece_do_not_disturb() -> None:
    tokenizer = build_tokenizer()
    task = TaggingTask(("O",), Scheme.PLAIN, WordSplitter())
    example = TaggingExample.from_tokens(["ada", "\u200b", "bob", "\x07"] * 10)

    (encoded,) = task.encode(tokenizer, [example])
    parts = windows(encoded, 8, 4)

    assert encoded.first_pieces is not None
    assert -1 in encoded.first_pieces
    assert len(parts) > 2
    seen = [sum(part.start <= place < part.stop for part in parts) for place in encoded.first_pieces if place >= 0]
    assert set(seen) == {1}
