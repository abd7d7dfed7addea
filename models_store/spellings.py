"""The usual names of columns. It needs nothing, so that the command line can look into a pipe at once."""

from __future__ import annotations

TEXT_SPELLINGS = (
    "text", "sentence", "content", "review", "message", "utterance", "question", "document", "body", "comment",
    "tweet", "query", "input", "description",
)  # fmt: skip
LABEL_SPELLINGS = (
    "label", "category", "class", "labels", "target", "intent", "topic", "sentiment", "gold_label", "tag",
    "is_duplicate",
)  # fmt: skip
SCORE_SPELLINGS = ("score", "similarity", "similarity_score", "relatedness_score", "gold_score", "rating")
PAIR_SPELLINGS = (
    ("text", "text_pair"), ("sentence1", "sentence2"), ("question1", "question2"), ("premise", "hypothesis"),
    ("text_a", "text_b"), ("text1", "text2"), ("sentence_a", "sentence_b"), ("sentence_1", "sentence_2"),
    ("text_1", "text_2"), ("query", "passage"),
)  # fmt: skip


def column_key(column: str) -> str:
    """A column's name without regard to case and what parts its words."""
    return column.strip().casefold().replace(" ", "_").replace("-", "_")
