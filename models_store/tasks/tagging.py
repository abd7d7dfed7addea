"""Tagging: a tag for every word, read as entities (BIO) or as plain tags such as parts of speech."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from models_store.tasks.base import (
    IGNORED_TARGET,
    Encoded,
    FloatArray,
    ObjectiveName,
    Prediction,
    PredictOptions,
    Row,
    TaskName,
    encoded_from,
    softmax,
)
from models_store.tasks.bio import OUTSIDE, Scheme, entity_spans, split_tag
from models_store.tasks.metrics import entity_metrics, label_metrics
from models_store.tasks.viterbi import Scores, Transitions, best_path, is_legal, marginals
from models_store.tasks.words import Word, WordSplitter


@dataclass(frozen=True, slots=True)
class TaggingExample:
    """A text and its words. A list of tokens becomes the text in which one blank parts them."""

    text: str
    words: list[Word]

    @classmethod
    def from_tokens(cls, tokens: Sequence[str]) -> Self:
        """The example of an already tokenised sentence."""
        words, position = [], 0
        for token in tokens:
            words.append(Word(token, position, position + len(token)))
            position += len(token) + 1
        return cls(" ".join(tokens), words)

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """The sentence of a row: in its own text, where that was uploaded, with ``starts`` of its tokens."""
        if "starts" not in row:
            return cls.from_tokens(row["tokens"])
        places = zip(row["tokens"], row["starts"], strict=True)
        return cls(row["text"], [Word(token, start, start + len(token)) for token, start in places])


@dataclass(frozen=True)
class TaggingTask:
    """Every word gets one of ``tags``; for entity schemes these are BIO tags.

    Attributes:
        tags: The tags, index = output of the network.
        scheme: How the training file was tagged; anything but ``plain`` means entities.
        splitter: Splits raw texts at prediction time as the training data was split.
        transitions: What a CRF head has learnt of which tag follows which.
    """

    name: ClassVar[TaskName] = TaskName.TAGGING
    windowed: ClassVar[bool] = True
    per_token: ClassVar[bool] = True
    ranks_labels: ClassVar[bool] = False
    objective: ClassVar[ObjectiveName] = ObjectiveName.TOKEN_CROSS_ENTROPY

    tags: tuple[str, ...]
    scheme: Scheme
    splitter: WordSplitter
    transitions: Transitions | None = None

    @property
    def n_outputs(self) -> int:
        """One logit a tag."""
        return len(self.tags)

    @property
    def primary_metric(self) -> str:
        """Entity F1, or token accuracy for plain tags."""
        return "accuracy" if self.scheme is Scheme.PLAIN else "f1"

    @cached_property
    def _index(self) -> dict[str, int]:
        return {tag: index for index, tag in enumerate(self.tags)}

    @cached_property
    def _default(self) -> str:
        """The tag of a word that the encoder does not see (cut away, or nothing but control characters)."""
        return OUTSIDE if self.scheme is not Scheme.PLAIN else self.tags[0]

    def parse(self, item: Any) -> TaggingExample:
        """A text, or a list of tokens taken as they are."""
        if isinstance(item, str):
            example = TaggingExample(item, self.splitter.split(item))
        elif isinstance(item, list) and all(isinstance(token, str) for token in item):
            if not item:
                raise ValueError("the token list is empty")
            if not all(token.strip() for token in item):
                raise ValueError("a token is empty")
            example = TaggingExample.from_tokens(item)
        else:
            raise ValueError("expected a text (a JSON string) or a list of tokens")
        if not example.words:
            raise ValueError("the text is empty")
        return example

    def example(self, row: Row) -> TaggingExample:
        """The sentence of a row."""
        return TaggingExample.from_row(row)

    def encode(self, tokenizer: Tokenizer, examples: Sequence[TaggingExample]) -> list[Encoded]:
        """Word pieces of each sentence, with the place of every word's first piece."""
        batch = [[word.text for word in example.words] for example in examples]
        encodings = tokenizer.encode_batch(batch, is_pretokenized=True)
        return [
            encoded_from(encoding, _first_pieces(encoding, len(words)))
            for encoding, words in zip(encodings, batch, strict=True)
        ]

    def target(self, row: Row, encoded: Encoded) -> list[int]:
        """The tag's index at the first piece of each word, `IGNORED_TARGET` at every other piece."""
        targets = [IGNORED_TARGET] * len(encoded)
        for tag, position in zip(row["tags"], encoded.first_pieces or [], strict=True):
            if position >= 0:
                targets[position] = self._index[tag]
        return targets

    def decode(
        self, logits: FloatArray, example: TaggingExample, encoded: Encoded, options: PredictOptions
    ) -> Prediction:
        """Tags and entities from logits (length, n_tags)."""
        tags, scores = self._tags_and_scores(logits, encoded)
        tokens = [
            {"text": word.text, "start": word.start, "end": word.end, "tag": tag, "score": score}
            for word, tag, score in zip(example.words, tags, scores, strict=True)
        ]
        return {"entities": self._entities(example, tags, scores), "tokens": tokens}

    def score(self, logits: Sequence[FloatArray], rows: Sequence[Row], encoded: Sequence[Encoded]) -> dict[str, float]:
        """Entity precision, recall and F1 with token accuracy; for plain tags accuracy and macro F1."""
        truth = [row["tags"] for row in rows]
        predicted = [self._tags_and_scores(x, e)[0] for x, e in zip(logits, encoded, strict=True)]
        if self.scheme is Scheme.PLAIN:
            return label_metrics(list(chain.from_iterable(truth)), list(chain.from_iterable(predicted)))
        return entity_metrics(truth, predicted)

    def to_config(self) -> dict[str, Any]:
        """Tags, scheme and splitter as JSON."""
        learnt = {"transitions": self.transitions.to_config()} if self.transitions else {}
        return {
            "task": self.name.value,
            "tags": list(self.tags),
            "scheme": self.scheme.value,
            "splitter": self.splitter.to_config(),
            **learnt,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The task that ``to_config`` wrote."""
        return cls(
            tags=tuple(config["tags"]),
            scheme=Scheme(config["scheme"]),
            splitter=WordSplitter.from_config(config["splitter"]),
            transitions=Transitions.from_config(config["transitions"]) if "transitions" in config else None,
        )

    def _tags_and_scores(self, logits: FloatArray, encoded: Encoded) -> tuple[list[str], list[float]]:
        positions = np.asarray(encoded.first_pieces, dtype=np.int64)
        seen = positions >= 0
        emissions = logits[positions[seen]].astype(np.float64)
        path, probabilities = self._best(emissions)
        tags, scores = [self._default] * len(positions), [0.0] * len(positions)
        for word, tag, row in zip(np.flatnonzero(seen), path, probabilities, strict=True):
            tags[word], scores[word] = self.tags[tag], float(row[tag])
        if self.scheme is not Scheme.PLAIN:
            _close_gaps(tags, scores, seen)
        return tags, scores

    def _best(self, emissions: Scores) -> tuple[list[int], Scores]:
        """The best legal tags of the words from emissions (words, n_tags), and the probability of every tag."""
        if self.transitions is not None:
            return best_path(emissions, self._scored_rules), marginals(emissions, self._scored_rules)
        probabilities = softmax(emissions) if len(emissions) else emissions
        path = probabilities.argmax(axis=-1).tolist()
        if self._rules is None or is_legal(path, self._rules):  # nearly always, and then there is no more to do
            return path, probabilities
        return best_path(emissions, self._rules), probabilities

    @cached_property
    def _scored_rules(self) -> Transitions:
        """What is allowed and what was learnt, together."""
        assert self.transitions is not None  # noqa: S101 (callers have checked)
        return self._rules + self.transitions if self._rules else self.transitions

    @cached_property
    def _rules(self) -> Transitions | None:
        """Which tags may follow each other; plain tags may all."""
        return None if self.scheme is Scheme.PLAIN else Transitions.of_bio(self.tags)

    def _entities(self, example: TaggingExample, tags: list[str], scores: list[float]) -> list[dict[str, Any]]:
        if self.scheme is Scheme.PLAIN:
            return []
        entities = []
        for label, first, last in entity_spans(tags):
            start, end = example.words[first].start, example.words[last - 1].end
            score = float(np.mean(scores[first:last]))
            entities.append(
                {"label": label, "text": example.text[start:end], "start": start, "end": end, "score": score}
            )
        return entities


def _close_gaps(tags: list[str], scores: list[float], seen: NDArray[np.bool_]) -> None:
    """Let a word that the tokenizer makes nothing of, such as a soft hyphen, belong to the entity that it stands in."""
    for word in range(len(tags) - 2, -1, -1):
        if not seen[word] and split_tag(tags[word + 1])[0] == "I":
            tags[word], scores[word] = tags[word + 1], scores[word + 1]


def _first_pieces(encoding: Encoding, n_words: int) -> list[int]:
    first = [-1] * n_words
    for position, word in enumerate(encoding.word_ids):
        if word is not None and first[word] < 0:
            first[word] = position
    return first
