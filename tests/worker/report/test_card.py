"""The model card: whatever labels are called, it stays one Markdown document with readable front matter."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData
from markdown_it import MarkdownIt

from models_store.reports import Report, SplitReport, SplitSize
from models_store.tasks import TaskName
from models_store.tasks.base import ObjectiveName
from models_store.tasks.classification import ClassificationTask
from worker.report.analyses import ANALYSES
from worker.report.card import model_card
from worker.report.markdown import escaped, front_matter, table

HOSTILE = [
    "---",
    "\n---\nlicense: mit\n---\n# Owned",
    "a|b | c",
    "<script>alert(1)</script>",
    "[link](javascript:alert(1))",
    "![img](http://example.com/x.png)",
    "https://example.com",
    "**bold** _under_ ~~gone~~",
    "`code` ``",
    "\\",
    "\\|",
    "&lt;b&gt;",
    "# heading",
    "- item",
    "1. item",
    "> quote",
    "$x^2$",
    "'; rm -rf ~; echo '",
    "left\u202eright",
    "null",
    "grün 😀",
]
CONTROLS = re.compile(r"[\x00-\x1f\u202a-\u202e]+")


def parsed(markdown: str) -> Any:
    return MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown)


def kinds(markdown: str) -> set[str]:
    """The kinds of all elements, blocks and what stands inside them."""
    tokens = parsed(markdown)
    return {token.type for token in tokens} | {child.type for token in tokens for child in token.children or []}


def read(markdown: str) -> list[str]:
    """The text of each inline element, as a reader sees it."""
    inline = [token.children or [] for token in parsed(markdown) if token.type == "inline"]
    return ["".join(child.content for child in children) for children in inline]


def report(labels: list[str], **changes: Any) -> Report:
    """A report on a classifier that takes every label for the next one."""
    task = ClassificationTask(tuple(labels))
    analysis = ANALYSES[ObjectiveName.CROSS_ENTROPY](task)
    for number, label in enumerate(labels):
        predicted = labels[(number + 1) % len(labels)]
        analysis.add(number, {"text": "secret words", "label": label}, {"label": predicted, "score": 0.5})
    split = SplitReport(metrics={"accuracy": 0.0, "f1_macro": 0.0}, **dict(analysis.figures()))
    values: dict[str, Any] = {
        "task": TaskName.CLASSIFICATION,
        "labels": labels,
        "score_range": None,
        "base_encoder": "tiny",
        "head": "linear",
        "dataset_id": "ds_1",
        "dataset_sha256": "0" * 64,
        "spec": {"model": "intent", "strategy": "frozen", "seed": 7, "hyperparameters": {"dropout": 0.1}},
        "rows": {"train": SplitSize(rows=9, truncated=0), "validation": SplitSize(rows=len(labels), truncated=0)},
        "max_length": 64,
        "primary_metric": "accuracy",
        "phases": [],
        "heads": [],
        "gain": None,
        "calibration": None,
        "splits": {"validation": split},
        "durations": {},
        "libraries": {"thawline": "0.1.0"},
    }
    return Report(**{**values, **changes})


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_in_a_table_is_read_as_it_is_and_nothing_more(text: str) -> None:
    markdown = table(["label", "n"], [[text, 1], ["next", 2]])

    assert kinds(markdown) == kinds(table(["label", "n"], [["plain", 1], ["next", 2]]))
    visible = " ".join(CONTROLS.sub(" ", text).split())
    assert read(markdown) == ["label", "n", visible, "1", "next", "2"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_in_a_heading_is_read_as_it_is(text: str) -> None:
    markdown = f"# The {escaped(text)} model\n\nText."

    assert kinds(markdown) == kinds("# The model\n\nText.")


def test_a_long_text_is_cut() -> None:
    assert escaped("x" * 81) == "x" * 80 + "…"


@pytest.mark.parametrize("text", HOSTILE)
def test_front_matter_keeps_every_value(text: str) -> None:
    block = front_matter({"name": text, "list": [text], text: 1})

    content = ModelCard(block + "\nbody")

    (inner,) = re.findall(r"\A---\n(.*?)\n---\n\Z", block, re.DOTALL)  # the first line of dashes is the last
    assert yaml.safe_load(inner) == {"name": text, "list": [text], text: 1}
    assert content.text.strip() == "body"


def test_hostile_labels_do_not_change_the_structure_of_a_card() -> None:
    card, plain = model_card(report(HOSTILE)), model_card(report([f"l{i}" for i in range(len(HOSTILE))]))

    assert kinds(card) == kinds(plain)
    assert [t.type for t in parsed(card)] == [t.type for t in parsed(plain)]


def test_hugging_face_reads_the_front_matter() -> None:
    card = ModelCard(model_card(report(HOSTILE)))

    data = card.data.to_dict()
    assert isinstance(card.data, ModelCardData)
    assert (data["library_name"], data["pipeline_tag"], data["base_model"]) == ("onnx", "text-classification", "tiny")
    assert data["tags"] == ["thawline", "classification", "linear", "frozen"]
    assert data["metrics"] == ["accuracy", "f1_macro"]
    assert card.data.model_name == "intent"
    found = [(r.dataset_split, r.metric_type, r.metric_value) for r in card.data.eval_results or []]
    assert found == [("validation", "accuracy", 0.0), ("validation", "f1_macro", 0.0)]


def test_no_row_of_the_data_stands_in_a_card() -> None:
    shown = report(["a", "b"])

    assert "secret words" in shown.model_dump_json()
    assert "secret words" not in model_card(shown)


def test_a_card_tells_what_to_beware_of() -> None:
    card = model_card(report(["a", "b"]))

    assert "There were no test rows." in card
    assert "2 of its labels have fewer than 20 validation examples" in card
    assert "| a | b | 1 |" in card  # a is taken for b


def test_many_labels_are_not_all_listed() -> None:
    card = model_card(report([f"label {i}" for i in range(200)]))

    assert "200 labels, of which the first 50 are:" in card
    assert "| label 49 |" in card
    assert "| label 50 |\n" not in card
