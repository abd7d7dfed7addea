"""The smallest job there is: a random encoder of two narrow layers, a few rows, one epoch of a linear head."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

ENCODER = "small"
_WORDS = {
    "delivery": ["parcel", "tracking", "late", "arrived", "courier"],
    "money": ["refund", "invoice", "bill", "price", "charged"],
}
_FILLERS = ["my", "the", "please", "help", "want", "need", "today", "where", "is"]
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
# Nearly all of such a job's time is the start of its interpreter.
JOB: dict[str, Any] = {
    "base_model": ENCODER,
    "strategy": "frozen",
    "head": "linear",
    "hyperparameters": {"head_epochs": 1, "batch_size": 8},
    "export": {"precision": "fp32"},
}


def build_encoder(folder: Path) -> None:
    """Write config, weights and tokenizer of a BERT that nobody has trained."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    words = [*_SPECIAL, *_FILLERS, *(word for words in _WORDS.values() for word in words)]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    folder.mkdir(parents=True)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))


def write_rows(path: Path, rows: int, seed: int) -> None:
    """A CSV file of short texts with a rule that can be learnt."""
    draw = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        for number in range(rows):
            label = list(_WORDS)[number % len(_WORDS)]
            writer.writerow([f"{' '.join(draw.sample(_FILLERS, 4))} {draw.choice(_WORDS[label])} {number}", label])
