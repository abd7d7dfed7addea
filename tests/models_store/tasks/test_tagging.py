"""Tagging: a tag for every word, read as entities or as plain tags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from models_store.tasks import PredictOptions, task_from_config
from models_store.tasks.base import IGNORED_TARGET, Encoded, FloatArray
from models_store.tasks.bio import Scheme
from models_store.tasks.tagging import TaggingExample, TaggingTask
from models_store.tasks.words import Word, WordSplitter

ENTITIES = TaggingTask(("O", "B-PER", "I-PER"), Scheme.BIO, WordSplitter())
PLAIN = TaggingTask(("DET", "NOUN", "VERB"), Scheme.PLAIN, WordSplitter())
OPTIONS = PredictOptions()


def logits_for(task: TaggingTask, encoded: Encoded, tags: list[str], probability: float = 0.8) -> FloatArray:
    """Logits that give every word its tag with the same probability; pieces without a word are noise."""
    logits = np.full((len(encoded), len(task.tags)), 9.0, dtype=np.float32)
    rest = (1 - probability) / (len(task.tags) - 1)
    for tag, position in zip(tags, encoded.first_pieces or [], strict=True):
        if position >= 0:
            logits[position] = [np.log(probability if t == tag else rest) for t in task.tags]
    return logits


def test_shape_of_the_task() -> None:
    assert (ENTITIES.n_outputs, ENTITIES.per_token, ENTITIES.primary_metric) == (3, True, "f1")
    assert PLAIN.primary_metric == "accuracy"


def test_a_text_is_split_into_words() -> None:
    example = ENTITIES.parse("Ada met Bob.")
    assert example.words == [Word("Ada", 0, 3), Word("met", 4, 7), Word("Bob", 8, 11), Word(".", 11, 12)]


def test_tokens_are_taken_as_they_are() -> None:
    example = ENTITIES.parse(["New York", "!"])
    assert example == TaggingExample("New York !", [Word("New York", 0, 8), Word("!", 9, 10)])


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("", "the text is empty"),
        (" \n", "the text is empty"),
        ([], "the token list is empty"),
        (["a", " "], "a token is empty"),
        (["a", 1], "expected a text"),
        (7, "expected a text"),
        ({"text": "a"}, "expected a text"),
    ],
)
def test_what_is_no_sentence_is_refused(item: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ENTITIES.parse(item)


def test_first_pieces_point_at_the_words(tokenizer_of: Callable[[int], Tokenizer]) -> None:
    example = TaggingExample.from_tokens(["unaffable", "\u200b", "Ada"])
    (encoded,) = ENTITIES.encode(tokenizer_of(32), [example])
    assert encoded.first_pieces == [1, -1, len(encoded) - 2]
    assert len(encoded) > 5  # the long word has several pieces
    assert not encoded.truncated


def test_targets_stand_at_the_first_piece_of_each_word(tokenizer_of: Callable[[int], Tokenizer]) -> None:
    row = {"tokens": ["unaffable", "\u200b", "Ada"], "tags": ["O", "O", "B-PER"]}
    (encoded,) = ENTITIES.encode(tokenizer_of(32), [ENTITIES.example(row)])
    target = ENTITIES.target(row, encoded)
    assert target[1] == 0
    assert target[-2] == 1
    assert target[0] == target[-1] == IGNORED_TARGET
    assert target.count(IGNORED_TARGET) == len(encoded) - 2


def test_a_word_that_the_tokenizer_makes_nothing_of_does_not_part_an_entity(
    tokenizer_of: Callable[[int], Tokenizer],
) -> None:
    tokens = ["\u200b", "Ada", "\u200b", "\xad", "Lovelace", "\u200b", "met", "\u200b"]
    example = TaggingExample.from_tokens(tokens)
    (encoded,) = ENTITIES.encode(tokenizer_of(32), [example])
    wanted = ["O", "B-PER", "O", "O", "I-PER", "O", "O", "O"]

    prediction = ENTITIES.decode(logits_for(ENTITIES, encoded, wanted), example, encoded, OPTIONS)

    assert [token["tag"] for token in prediction["tokens"]] == ["O", "B-PER", "I-PER", "I-PER", "I-PER", "O", "O", "O"]
    assert [entity["text"] for entity in prediction["entities"]] == [" ".join(tokens[1:5])]


def test_entities_have_offsets_into_the_text_as_sent(tokenizer_of: Callable[[int], Tokenizer]) -> None:
    text = "  😀 Ada  Lovelace met Bob."
    example = ENTITIES.parse(text)
    (encoded,) = ENTITIES.encode(tokenizer_of(32), [example])
    tags = ["O", "B-PER", "I-PER", "O", "B-PER", "O"]
    prediction = ENTITIES.decode(logits_for(ENTITIES, encoded, tags), example, encoded, OPTIONS)
    assert [token["tag"] for token in prediction["tokens"]] == tags
    assert [text[e["start"] : e["end"]] for e in prediction["entities"]] == ["Ada  Lovelace", "Bob"]
    assert prediction["entities"][0] == {
        "label": "PER",
        "text": "Ada  Lovelace",
        "start": 4,
        "end": 17,
        "score": pytest.approx(0.8),
    }
    assert prediction["tokens"][1] == {"text": "Ada", "start": 4, "end": 7, "tag": "B-PER", "score": pytest.approx(0.8)}


def test_score_of_an_entity_is_the_mean_over_its_words() -> None:
    example = TaggingExample.from_tokens(["Ada", "Lovelace"])
    encoded = Encoded([101, 7, 8, 102], [0] * 4, truncated=False, first_pieces=[1, 2])
    shares = np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.5, 0.25, 0.25]])
    (entity,) = ENTITIES.decode(np.log(shares), example, encoded, OPTIONS)["entities"]
    assert entity["score"] == pytest.approx(0.7)


def test_words_that_were_cut_away_are_outside(tokenizer_of: Callable[[int], Tokenizer]) -> None:
    example = ENTITIES.parse("one two three four five six seven Ada")
    (encoded,) = ENTITIES.encode(tokenizer_of(8), [example])
    prediction = ENTITIES.decode(logits_for(ENTITIES, encoded, ["B-PER"] * 8), example, encoded, OPTIONS)
    assert encoded.truncated
    assert [token["tag"] for token in prediction["tokens"]] == ["B-PER"] * 6 + ["O"] * 2
    assert prediction["tokens"][-1]["score"] == 0.0
    assert len(prediction["entities"]) == 6


def test_plain_tags_make_no_entities(tokenizer_of: Callable[[int], Tokenizer]) -> None:
    example = PLAIN.parse("the dog barks")
    (encoded,) = PLAIN.encode(tokenizer_of(32), [example])
    prediction = PLAIN.decode(logits_for(PLAIN, encoded, ["DET", "NOUN", "VERB"]), example, encoded, OPTIONS)
    assert prediction["entities"] == []
    assert [token["tag"] for token in prediction["tokens"]] == ["DET", "NOUN", "VERB"]


def test_metrics_of_entities_and_of_plain_tags(tokenizer_of: Callable[[int], Tokenizer]) -> None:
    row = {"tokens": ["Ada", "met", "Bob"], "tags": ["B-PER", "O", "B-PER"]}
    (encoded,) = ENTITIES.encode(tokenizer_of(32), [ENTITIES.example(row)])
    metrics = ENTITIES.score([logits_for(ENTITIES, encoded, ["B-PER", "O", "O"])], [row], [encoded])
    assert metrics == {
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
        "accuracy": pytest.approx(2 / 3),
    }
    row = {"tokens": ["the", "dog", "barks"], "tags": ["DET", "NOUN", "VERB"]}
    (encoded,) = PLAIN.encode(tokenizer_of(32), [PLAIN.example(row)])
    assert PLAIN.score([logits_for(PLAIN, encoded, ["DET", "NOUN", "NOUN"])], [row], [encoded]) == {
        "accuracy": pytest.approx(2 / 3),
        "f1_macro": pytest.approx((1 + 2 / 3 + 0) / 3),
    }


@pytest.mark.parametrize("task", [ENTITIES, PLAIN])
def test_config_round_trip(task: TaggingTask) -> None:
    assert task_from_config(task.to_config()) == task
