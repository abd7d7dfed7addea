"""Raw text → words: offsets are exact, nothing is lost, signs are kept as in the training data."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models_store.tasks import words
from models_store.tasks.words import WordSplitter

_SCRIPTS = st.sampled_from(
    [
        *"aZé0_ \t\n.,-'#@$()/:",
        "😀",
        "👨‍👩‍👧",
        "🇩🇪",
        "你",
        "ひ",
        "カ",
        "한",
        "مر",
        "حبا",
        "שָׁ",
        "e\u0301",
        "ก็",
        "\u200d",
        "\u00a0",
        "\0",
    ]
)
texts = st.lists(_SCRIPTS, max_size=30).map("".join) | st.text(max_size=30)
signs = st.text(alphabet="'’-_.#@$]^\\&[\u0301", max_size=5)


@given(texts, signs, signs)
@example("see http://example.org/a?b=c, or www.example.org", "", "")
@example(" \u0301a", "'", "#")
def test_words_are_slices_in_order_that_leave_only_blanks(text: str, joiners: str, prefixes: str) -> None:
    words = WordSplitter(joiners, prefixes).split(text)
    covered = 0
    for word in words:
        assert text[word.start : word.end] == word.text
        assert word.text.strip()
        assert not text[covered : word.start].strip()
        assert word.start >= covered
        covered = word.end
    assert not text[covered:].strip()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ada met Bob.", ["Ada", "met", "Bob", "."]),
        ("Ada's BK-204, please", ["Ada's", "BK-204", ",", "please"]),
        ("#204 costs $5.00!", ["#204", "costs", "$5.00", "!"]),
        ("(wait...)", ["(", "wait", "...", ")"]),
        ("at https://example.org/x?y=1 now", ["at", "https://example.org/x?y=1", "now"]),
        ("www.example.org", ["www.example.org"]),
        ("(see https://example.org/a.)", ["(", "see", "https://example.org/a", ".", ")"]),
        ("the U.S. at 9 a.m. today.", ["the", "U.S.", "at", "9", "a.m.", "today", "."]),
        ("plan B. Done", ["plan", "B", ".", "Done"]),
        ("你好世界", ["你", "好", "世", "界"]),
        ("Café cafe\u0301", ["Café", "cafe\u0301"]),
        ("ok 😀👨‍👩‍👧", ["ok", "😀", "👨‍👩‍👧"]),
        ("مرحبا بالعالم", ["مرحبا", "بالعالم"]),
        (" \t\r\n ", []),
    ],
)
def test_default_splitting(text: str, words: list[str]) -> None:
    assert [word.text for word in WordSplitter().split(text)] == words


def test_signs_are_kept_where_the_training_data_keeps_them() -> None:
    splitter = WordSplitter.from_words([["BK-204", "x-y", "#204", "#7", "done"]])
    assert [word.text for word in splitter.split("#99 a-b a'b")] == ["#99", "a-b", "a", "'", "b"]


def test_signs_that_mostly_stand_alone_are_split_off() -> None:
    splitter = WordSplitter.from_words([["a-b", "c-d", "-", "-", "-", "#1", "#2", "#", "#", "#"]])
    assert splitter == WordSplitter(joiners="", prefixes="")


def test_one_occurrence_teaches_nothing() -> None:
    assert WordSplitter.from_words([["a-b", "#1"]]) == WordSplitter("", "")


@given(st.lists(st.lists(st.text(min_size=1, max_size=6), max_size=4), max_size=4), texts)
def test_any_training_data_gives_a_splitter_that_works(sentences: list[list[str]], text: str) -> None:
    splitter = WordSplitter.from_words(sentences)
    assert "".join("".join(w.text.split()) for w in splitter.split(text)) == "".join(text.split())


def test_config_round_trip() -> None:
    splitter = WordSplitter(joiners="]^", prefixes="\\")
    assert WordSplitter.from_config(splitter.to_config()) == splitter
    assert [word.text for word in splitter.split("a]b a^b \\c")] == ["a]b", "a^b", "\\c"]


def test_a_long_text_is_split_like_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "Ada met Bob 👩‍🔬 at www.example.com/a_b?c=1 today. U.S. 東京 e\u0301te\u0301,  it's #1\n" * 300
    whole = WordSplitter().split(text[: words._STRETCH])
    monkeypatch.setattr(words, "_STRETCH", 50)

    parted = WordSplitter().split(text)

    assert parted[: len(whole) - 1] == whole[:-1]  # the last one may have been cut
    assert all(text[word.start : word.end] == word.text for word in parted)
