"""Texts that an encoder cannot read all at once: how many, and which."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from models_store.artifacts import ArtifactStore
from models_store.datasets import Wishes, dry_run, pieces
from models_store.datasets.pieces import EncoderLimit, limit_for, too_long
from models_store.encoders import EncoderCatalogue
from models_store.errors import NotFoundError
from models_store.tasks import TaskName
from tests.models_store.datasets.files import upload

LONG = "word " * 600


@pytest.fixture
def catalogue(tmp_path: Path) -> EncoderCatalogue:
    return EncoderCatalogue(tmp_path / "encoders", tmp_path / "hub")


def warned(
    store: ArtifactStore, catalogue: EncoderCatalogue, content: str, task: TaskName
) -> list[tuple[str, list[int]]]:
    outcome, _, _ = dry_run(store, [upload("train", content)], Wishes(task), encoders=catalogue)
    assert outcome.report.errors.count == 0
    return [(one["message"], one["lines"]) for one in outcome.warnings if one["code"] == "longer_than_encoder"]


def test_texts_that_are_too_long_are_told_with_their_lines(store: ArtifactStore, catalogue: EncoderCatalogue) -> None:
    rows = [f"example {i},{'ab'[i % 2]}" for i in range(20)]
    rows[3] = f"{LONG},a"
    rows[7] = f"{'x' * 3000},b"  # one word, of which the encoder knows no piece: long only in characters
    found = warned(store, catalogue, "\n".join(["text,label", *rows]), TaskName.CLASSIFICATION)
    message = (
        "1 train row(s) are longer than the 512 word pieces that minilm-l6 reads at once; they are read in windows"
    )
    assert found == [(message, [5])]


def test_pairs_are_cut_and_the_uploader_is_told(store: ArtifactStore, catalogue: EncoderCatalogue) -> None:
    rows = [f"a{i},b{i},{i % 5}" for i in range(20)] + [f"{'word ' * 260},{'word ' * 260},3"]
    ((message, lines),) = warned(store, catalogue, "\n".join(["text,text_pair,score", *rows]), TaskName.SIMILARITY)
    assert "lose their ends" in message
    assert lines == [22]


def test_sentences_are_measured_by_their_words(store: ArtifactStore, catalogue: EncoderCatalogue) -> None:
    short = "Ada B-PER\nmet O\n\n" * 8
    found = warned(store, catalogue, short + "word O\n" * 600 + "Ada B-PER\n", TaskName.TAGGING)
    assert [lines for _, lines in found] == [[25]]


def test_of_very_many_some_are_measured(catalogue: EncoderCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "MEASURED_ROWS", 10)
    limit = limit_for(None, catalogue)
    assert limit is not None
    rows = [{"text": LONG if i < 20 else "short " * 200, "label": "a"} for i in range(40)]
    characters = np.asarray([len(row["text"]) for row in rows])
    found = too_long(limit, rows, characters)
    assert (found.exact, found.count) == (False, 20)
    assert set(found.rows.tolist()) < set(range(20))


def test_an_encoder_of_bytes_may_need_several_pieces_for_a_character() -> None:
    tokenizer = Tokenizer(
        models.BPE(vocab={c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    limit = EncoderLimit("bytes", tokenizer, 100)
    rows = [{"text": "語" * 40, "label": "a"}, {"text": "x" * 20, "label": "a"}]
    found = too_long(limit, rows, np.asarray([40, 20]))
    assert (found.rows.tolist(), found.exact) == ([0], True)


def test_an_encoder_that_is_named_has_to_be_there(store: ArtifactStore, catalogue: EncoderCatalogue) -> None:
    content = "text,label\n" + "".join(f"example {i},{'ab'[i % 2]}\n" for i in range(20))
    wishes = Wishes(TaskName.CLASSIFICATION, encoder="nobody")
    with pytest.raises(NotFoundError, match="not in the catalogue"):
        dry_run(store, [upload("train", content)], wishes, encoders=catalogue)
