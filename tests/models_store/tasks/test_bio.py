"""Tagging schemes: recognition, conversion to BIO, complaints, spans."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_store.tasks.bio import (
    BadTag,
    Scheme,
    check_tags,
    detect_scheme,
    disguised_entities,
    entity_spans,
    split_tag,
    to_bio,
)

Entity = tuple[str, int, int]


@st.composite
def sentences(draw: st.DrawFn, *, apart: bool = False) -> tuple[list[Entity], int]:
    """Entities of a sentence and its length; ``apart`` leaves a word between neighbours of one label."""
    entities: list[Entity] = []
    position = 0
    for label in draw(st.lists(st.sampled_from(["PER", "LOC", "B-cell", "I"]), max_size=5)):
        gap = draw(st.integers(0, 2))
        if apart and entities and entities[-1][0] == label:
            gap += 1
        start = position + gap
        position = start + draw(st.integers(1, 3))
        entities.append((label, start, position))
    return entities, position + draw(st.integers(0, 2))


def bio(entities: list[Entity], length: int) -> list[str]:
    tags = ["O"] * length
    for label, start, end in entities:
        tags[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
    return tags


def iob1(entities: list[Entity], length: int) -> list[str]:
    tags = ["O"] * length
    for label, start, end in entities:
        touches = start > 0 and tags[start - 1].partition("-")[2] == label
        tags[start:end] = [f"{'B' if touches else 'I'}-{label}", *[f"I-{label}"] * (end - start - 1)]
    return tags


def bioes(entities: list[Entity], length: int, last: str = "E", single: str = "S") -> list[str]:
    tags = ["O"] * length
    for label, start, end in entities:
        prefixes = ["B", *"I" * (end - start - 2), last] if end - start > 1 else [single]
        tags[start:end] = [f"{prefix}-{label}" for prefix in prefixes]
    return tags


def io(entities: list[Entity], length: int) -> list[str]:
    tags = ["O"] * length
    for label, start, end in entities:
        tags[start:end] = [f"I-{label}"] * (end - start)
    return tags


@given(sentences())
def test_spans_of_bio_tags_are_the_entities(sentence: tuple[list[Entity], int]) -> None:
    entities, length = sentence
    assert entity_spans(bio(entities, length)) == entities


@given(sentences())
def test_every_scheme_that_parts_neighbours_keeps_all_entities(sentence: tuple[list[Entity], int]) -> None:
    entities, length = sentence
    expected = bio(entities, length)
    assert to_bio(expected, Scheme.BIO) == expected
    assert to_bio(iob1(entities, length), Scheme.IOB1) == expected
    assert to_bio(bioes(entities, length), Scheme.BIOES) == expected
    assert to_bio(bioes(entities, length, "L", "U"), Scheme.BIOES) == expected


@given(sentences(apart=True))
def test_io_keeps_entities_that_do_not_touch_their_like(sentence: tuple[list[Entity], int]) -> None:
    entities, length = sentence
    assert to_bio(io(entities, length), Scheme.IO) == bio(entities, length)


@given(sentences())
def test_valid_tags_are_not_complained_about(sentence: tuple[list[Entity], int]) -> None:
    entities, length = sentence
    assert list(check_tags(bio(entities, length), Scheme.BIO)) == []
    assert list(check_tags(bioes(entities, length), Scheme.BIOES)) == []


def test_io_without_prefixes_names_the_label_alone() -> None:
    assert to_bio(["PER", "PER", "O", "LOC", "PER"], Scheme.IO) == ["B-PER", "I-PER", "O", "B-LOC", "B-PER"]


def test_plain_tags_stay_as_they_are() -> None:
    assert to_bio(["NOUN", "O", "I-x"], Scheme.PLAIN) == ["NOUN", "O", "I-x"]


@pytest.mark.parametrize(
    ("file", "scheme"),
    [
        ("B-PER I-PER O B-PER", Scheme.BIO),
        ("B-PER O B-LOC", Scheme.BIO),
        ("B-PER O I-PER", Scheme.BIO),  # one mistake does not make it IOB1
        ("I-PER B-PER O I-LOC", Scheme.IOB1),
        ("I-PER I-LOC B-LOC", Scheme.IOB1),
        ("I-PER I-PER O I-LOC", Scheme.IO),
        ("PER PER O", Scheme.IO),
        ("B-PER E-PER O", Scheme.BIOES),
        ("S-PER O", Scheme.BIOES),
        ("B-PER L-PER U-LOC", Scheme.BIOES),
        ("NOUN VERB DET", Scheme.PLAIN),
        ("O O O", Scheme.PLAIN),
        ("B-cell protein O", Scheme.PLAIN),
        ("", Scheme.PLAIN),
    ],
)
def test_scheme_is_recognised(file: str, scheme: Scheme) -> None:
    assert detect_scheme([file.split()]) is scheme


def test_scheme_is_that_of_the_whole_file() -> None:
    assert detect_scheme([["I-PER", "B-PER"], ["O"], ["B-LOC", "I-LOC"]]) is Scheme.BIO


def test_a_sentence_starts_afresh() -> None:
    """An I at the start of a sentence begins an entity even if the sentence before ended in one."""
    assert detect_scheme([["I-PER", "B-PER"], ["I-PER"]]) is Scheme.IOB1


@pytest.mark.parametrize(
    ("tags", "scheme", "indices"),
    [
        ("O I-PER", Scheme.BIO, [1]),
        ("I-PER O", Scheme.BIO, [0]),
        ("B-PER I-LOC I-LOC", Scheme.BIO, [1]),
        ("B-PER I-PER O", Scheme.BIOES, [2]),
        ("B-PER B-PER E-PER", Scheme.BIOES, [1]),
        ("B-PER S-LOC", Scheme.BIOES, [1]),
        ("O E-PER", Scheme.BIOES, [1]),
        ("S-PER I-PER E-PER", Scheme.BIOES, [1]),
        ("O B-PER", Scheme.BIOES, [1]),
        ("I-PER", Scheme.IOB1, []),
        ("I-PER I-LOC", Scheme.IO, []),
        ("X Y", Scheme.PLAIN, []),
    ],
)
def test_complaints(tags: str, scheme: Scheme, indices: list[int]) -> None:
    assert [bad.index for bad in check_tags(tags.split(), scheme)] == indices


def test_complaint_names_the_tag_and_the_one_before() -> None:
    assert list(check_tags(["B-PER", "I-LOC"], Scheme.BIO)) == [
        BadTag(1, "'I-LOC' continues no entity: the tag before it is 'B-PER'")
    ]
    assert list(check_tags(["I-LOC"], Scheme.BIO)) == [
        BadTag(0, "'I-LOC' continues no entity: the tag before it is the start of the sentence")
    ]


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("O I-PER I-PER", [("PER", 1, 3)]),
        ("B-PER I-LOC", [("PER", 0, 1), ("LOC", 1, 2)]),
        ("B-PER B-PER", [("PER", 0, 1), ("PER", 1, 2)]),
        ("B-PER O I-PER", [("PER", 0, 1), ("PER", 2, 3)]),
        ("O O", []),
    ],
)
def test_spans_of_what_a_model_may_emit(tags: str, spans: list[Entity]) -> None:
    assert entity_spans(tags.split()) == spans


@pytest.mark.parametrize(
    ("tag", "parts"),
    [("B-PER", ("B", "PER")), ("I-B-cell", ("I", "B-cell")), ("O", ("O", "")), ("X-PER", ("X-PER", ""))],
)
def test_split_tag(tag: str, parts: tuple[str, str]) -> None:
    assert split_tag(tag) == parts


@pytest.mark.parametrize("mistake", ["0", "B-", "PER", "Person"])
def test_a_mistyped_tag_in_an_entity_file_is_reported_and_does_not_make_it_plain(mistake: str) -> None:
    sentences = [["B-PER", "I-PER", "O"], ["O", mistake, "B-LOC"]]

    scheme = detect_scheme(sentences)

    assert scheme is Scheme.BIO
    assert [bad.index for bad in check_tags(sentences[1], scheme)] == [1]
    assert list(check_tags(sentences[0], scheme)) == []


def test_a_tag_set_that_looks_like_bio_in_places_stays_plain() -> None:
    assert detect_scheme([["NOUN", "VERB", "B-X"], ["NOUN", "ADJ", "NOUN"]]) is Scheme.PLAIN


@pytest.mark.parametrize(
    ("tags", "instead"),
    [
        ({"o", "b-per", "i-per"}, {"b-per": "B-per", "i-per": "I-per", "o": "O"}),
        ({"o", "B-PER", "I-PER"}, {"o": "O"}),
        ({"O", "B_PER", "I_PER"}, {"B_PER": "B-PER", "I_PER": "I-PER"}),
        ({"O", "PER-B", "PER-I"}, {"PER-B": "B-PER", "PER-I": "I-PER"}),
        ({"O", "B-PER", "M-PER", "E-PER", "S-PER"}, {"M-PER": "I-PER"}),
        ({"O", "B-PER", "I-PER", "S-LOC"}, {}),
        ({"NOUN", "VERB", "B_X", "I_X"}, {}),  # no tag for the rest: these are no entities
        ({"O", "PER", "LOC"}, {}),
        ({"O", "M-SIZE", "L-SIZE"}, {}),
    ],
)
def test_entity_tags_in_another_dress_are_recognised(tags: set[str], instead: dict[str, str]) -> None:
    assert disguised_entities(tags) == instead
    # Who follows the advice is understood.
    assert disguised_entities({instead.get(tag, tag) for tag in tags}) == {}
    assert not instead or detect_scheme([[instead.get(tag, tag) for tag in sorted(tags)]]) is not Scheme.PLAIN
