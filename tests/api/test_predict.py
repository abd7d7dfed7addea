"""``/predict``: the right answer for the right text, in order, and a refusal that names its place."""

from __future__ import annotations

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.api.checks import problem_of
from tests.fixtures.models import QUANTISED, SampleFiles, TrainedModel
from tests.fixtures.servers import Service

Trained = dict[str, TrainedModel]
pytestmark = pytest.mark.usefixtures("trained_models")
PAIR = {"text": "my kettle", "text_pair": "kettle today"}


def ask(service: Service, model: str, inputs: Any, **options: Any) -> httpx.Response:
    return service.client.post(f"/predict/{model}", json={"inputs": inputs, **options})


def predictions(service: Service, model: str, inputs: Any, **options: Any) -> list[dict[str, Any]]:
    answer = ask(service, model, inputs, **options)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["predictions"]
    return found


# ---- offsets --------------------------------------------------------------------------------------------------------

TEXTS = {
    "plain": ("Ada met Bob.", ["Ada", "met", "Bob", "."]),
    "emoji": ("😀 Ada 👩‍👩‍👧 met", ["😀", "Ada", "👩‍👩‍👧", "met"]),
    "flags and skin": ("🇫🇷👍🏽 Ada", ["🇫🇷", "👍🏽", "Ada"]),
    "Han": ("阿达在 Bob", ["阿", "达", "在", "Bob"]),
    "kana": ("ボブと Ada", ["ボ", "ブ", "と", "Ada"]),
    "Hangul": ("밥은 Ada", ["밥은", "Ada"]),
    "Arabic": ("آدا met بوب", ["آدا", "met", "بوب"]),
    "combining marks": ("Ada\u0301 met Bo\u0308b", ["Ada\u0301", "met", "Bo\u0308b"]),
    "tabs and line ends": ("Ada\tmet\r\nBob\n", ["Ada", "met", "Bob"]),
    "repeated blanks": ("  Ada   met \u00a0 Bob  ", ["Ada", "met", "Bob"]),
    "beyond the basic plane": ("𝔸da met 𐍈ob", ["𝔸da", "met", "𐍈ob"]),
}


@pytest.mark.parametrize(("text", "words"), TEXTS.values(), ids=list(TEXTS))
def test_offsets_are_characters_of_the_text_as_sent(service: Service, text: str, words: list[str]) -> None:
    (answer,) = predictions(service, "tiny-tagging", [text])

    assert [token["text"] for token in answer["tokens"]] == words
    for span in answer["tokens"] + answer["entities"]:
        assert text[span["start"] : span["end"]] == span["text"]
    starts = [token["start"] for token in answer["tokens"]]
    assert starts == sorted(starts)


_NAMES = st.sampled_from(["Ada", "Bob", "Carol", "Monday", "met"])
_STRANGE = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
_MARKS = st.sampled_from(
    ["👩\u200d👧", "🇨🇭", "e\u0301", "آدا", "日本", "\t", "  ", "\u202e", "\u200b", "\r\n", "ﬁ", "İ"]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_NAMES | _STRANGE | _MARKS, min_size=1, max_size=12))
def test_offsets_are_right_whatever_the_text(service: Service, parts: list[str]) -> None:
    text = " ".join(parts)
    assume(text.strip())

    (answer,) = predictions(service, "tiny-tagging", [text])

    for span in answer["tokens"] + answer["entities"]:
        assert text[span["start"] : span["end"]] == span["text"]
        assert span["start"] < span["end"]
    ends = [(token["start"], token["end"]) for token in answer["tokens"]]
    assert all(before[1] <= after[0] for before, after in pairwise(ends))


def test_entities_stand_where_they_stand_in_the_text(service: Service) -> None:
    text = "Ada  met\t😀 Bob on Monday ."
    (answer,) = predictions(service, "tiny-tagging", [text])

    found = {(entity["label"], entity["text"], entity["start"]) for entity in answer["entities"]}
    assert {("PERSON", "Ada", 0), ("DATE", "Monday", text.index("Monday"))} <= found


def test_tokens_are_taken_as_they_are(service: Service) -> None:
    tokens = ["Ada", "v.d.", "met 2", "😀", "Bob"]
    (answer,) = predictions(service, "tiny-tagging", [tokens])

    joined = " ".join(tokens)
    assert [token["text"] for token in answer["tokens"]] == tokens
    for span in answer["tokens"] + answer["entities"]:
        assert joined[span["start"] : span["end"]] == span["text"]


def test_texts_and_token_lists_may_be_mixed(service: Service) -> None:
    first, second = predictions(service, "tiny-tagging", ["Ada met Bob", ["Ada", "met", "Bob"]])

    assert [token["tag"] for token in first["tokens"]] == [token["tag"] for token in second["tokens"]]


# ---- precision ------------------------------------------------------------------------------------------------------


def ask_in(service: Service, precision: str, kind: str) -> httpx.Response:
    inputs = {"inputs": "where is my parcel"}
    return service.client.post(f"/predict/tiny-{kind}", params={"precision": precision}, json=inputs)


def test_the_original_answers_when_it_is_asked_for(service: Service) -> None:
    (served,) = predictions(service, f"tiny-{QUANTISED}", "where is my parcel")

    (quantised,) = ask_in(service, "int8", QUANTISED).json()["predictions"]
    (original,) = ask_in(service, "fp32", QUANTISED).json()["predictions"]

    assert quantised == served != original
    assert original["labels"][0]["label"] == served["labels"][0]["label"]
    assert original["labels"][0]["score"] == pytest.approx(served["labels"][0]["score"], abs=0.1)


def test_a_precision_that_a_version_has_not_got_is_refused(service: Service) -> None:
    assert ask_in(service, "fp32", "classification").status_code == 200
    refused = problem_of(ask_in(service, "int8", "classification"), 422)
    assert refused["errors"][0]["code"] == "precision_not_available"
    assert "it has fp32" in refused["detail"]
    problem_of(ask_in(service, "int4", "classification"), 422)


# ---- labels ---------------------------------------------------------------------------------------------------------


def test_what_was_learnt_is_answered(service: Service, sample_files: dict[str, SampleFiles]) -> None:
    with sample_files["classification"].train.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    answers = predictions(service, "tiny-classification", [row["text"] for row in rows])

    right = sum(answer["label"] == row["label"] for answer, row in zip(answers, rows, strict=True))
    assert right >= 0.7 * len(rows)  # half would be a guess; the encoder is tiny and its weights are random
    assert all(0.5 <= answer["score"] <= 1 for answer in answers)  # of two labels the likelier


@pytest.mark.parametrize(("model", "item"), [("tiny-classification", "my parcel"), ("tiny-similarity", PAIR)])
def test_top_k_lists_the_likeliest_labels(service: Service, model: str, item: Any) -> None:
    (one,) = predictions(service, model, [item], top_k=1)
    (all_,) = predictions(service, model, [item], top_k=1000)

    assert set(one) == {"label", "score"}
    assert all_["scores"][0] == {"label": all_["label"], "score": all_["score"]}
    assert [entry["score"] for entry in all_["scores"]] == sorted((e["score"] for e in all_["scores"]), reverse=True)
    assert sum(entry["score"] for entry in all_["scores"]) == pytest.approx(1)
    assert len({entry["label"] for entry in all_["scores"]}) == 2


def test_several_labels_are_those_likelier_than_not(service: Service, sample_files: dict[str, SampleFiles]) -> None:
    lines = sample_files["several"].validation.read_text(encoding="utf-8").splitlines()
    answers = predictions(service, "tiny-several", [json.loads(line)["text"] for line in lines], top_k=3)

    for answer in answers:
        assert len(answer["scores"]) == 3
        assert answer["labels"] == [entry for entry in answer["scores"] if entry["score"] > 0.5]
        assert answer["scores"][0] == {"label": answer["label"], "score": answer["score"]}
    assert any(len(answer["labels"]) > 1 for answer in answers)
    assert any(len(answer["labels"]) <= 1 for answer in answers)


@pytest.mark.parametrize("top_k", [0, -1, 1001, "many", None, 1.5])
def test_a_top_k_that_makes_no_sense_is_refused(service: Service, top_k: Any) -> None:
    body = problem_of(ask(service, "tiny-classification", ["x"], top_k=top_k), 422)

    assert [error["column"] for error in body["errors"]] == ["top_k"]


@pytest.mark.parametrize(("model", "item"), [("tiny-tagging", "Ada met Bob"), ("tiny-graded", PAIR)])
def test_a_top_k_of_answers_without_one_label_is_refused(service: Service, model: str, item: Any) -> None:
    body = problem_of(ask(service, model, [item], top_k=2), 422)

    assert [error["column"] for error in body["errors"]] == ["top_k"]
    assert "only a model that answers with one label" in body["detail"]
    assert len(predictions(service, model, [item], top_k=1)) == 1


def test_graded_scores_lie_in_the_range_of_the_data(service: Service) -> None:
    pairs = [{"text": a, "text_pair": b} for a in ("lamp", "kettle please") for b in ("lamp", "invoice today")]

    assert all(0 <= answer["score"] <= 5 for answer in predictions(service, "tiny-graded", pairs))


# ---- order and number -----------------------------------------------------------------------------------------------


def test_answers_come_in_the_order_of_the_inputs(service: Service) -> None:
    texts = [f"{'where is my ' * (i % 5)}{('parcel', 'refund')[i % 2]}" for i in range(40)]

    together = predictions(service, "tiny-classification", texts)
    alone = [predictions(service, "tiny-classification", text)[0] for text in texts]

    assert [answer["label"] for answer in together] == [answer["label"] for answer in alone]
    assert [a["score"] for a in together] == pytest.approx([a["score"] for a in alone], abs=1e-3)


def test_parallel_calls_do_not_mix_their_answers(service: Service) -> None:
    # Batches are formed across calls, so each text is tagged with a word that nobody else sent.
    texts = [f"Ada met{' the' * (n % 7)} w{n}" for n in range(60)]

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda text: predictions(service, "tiny-tagging", [text])[0], texts))

    assert [" ".join(token["text"] for token in answer["tokens"]) for answer in answers] == texts


def test_no_inputs_are_no_predictions(service: Service) -> None:
    assert predictions(service, "tiny-classification", []) == []


def test_too_many_inputs_are_refused_with_the_limit(service: Service) -> None:
    assert len(predictions(service, "tiny-classification", ["x"] * 1024)) == 1024
    assert "1024" in problem_of(ask(service, "tiny-classification", ["x"] * 1025), 422)["detail"]


# ---- long texts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "short", "long"),
    [
        ("tiny-similarity", PAIR, {**PAIR, "text": "kettle " * 500}),
        ("tiny-graded", PAIR, {**PAIR, "text_pair": "kettle " * 500}),
    ],
)
def test_a_pair_that_was_cut_says_so(service: Service, model: str, short: Any, long: Any) -> None:
    first, second = predictions(service, model, [short, long])

    assert "truncated" not in first
    assert second["truncated"] is True


def test_every_word_of_a_long_text_is_tagged(service: Service) -> None:
    text = "Ada met Bob on Monday . " * 500
    (answer,) = predictions(service, "tiny-tagging", [text])

    assert "truncated" not in answer
    assert len(answer["tokens"]) == 3000
    assert all(token["score"] > 0 for token in answer["tokens"])
    for span in answer["tokens"] + answer["entities"]:
        assert text[span["start"] : span["end"]] == span["text"]


def test_a_long_text_is_answered_the_same_alone_and_among_others(service: Service) -> None:
    long = "where is my parcel " * 60
    (alone,) = predictions(service, "tiny-classification", [long])
    among = predictions(service, "tiny-classification", ["the refund", long, "invoice " * 100, "my parcel"])

    assert "truncated" not in alone
    assert among[1]["label"] == alone["label"]
    assert among[1]["score"] == pytest.approx(alone["score"], abs=1e-4)


@pytest.mark.parametrize("inputs", [["parcel " * 60_000], ["parcel " * 600] * 200])
def test_more_windows_than_fit_into_the_queue_are_refused_with_the_limit(service: Service, inputs: list[str]) -> None:
    detail = problem_of(ask(service, "tiny-classification", inputs), 422)["detail"]

    assert "1024 windows" in detail
    assert len(predictions(service, "tiny-classification", ["parcel"] * 1024)) == 1024  # the places are free again


# ---- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "item", "words"),
    [
        ("tiny-classification", "", "empty"),
        ("tiny-classification", " \n\t", "empty"),
        ("tiny-classification", 7, "a text"),
        ("tiny-classification", None, "a text"),
        ("tiny-classification", ["nested"], "a text"),
        ("tiny-classification", {"text": "x"}, "a text"),
        ("tiny-tagging", "", "empty"),
        ("tiny-tagging", [], "the token list is empty"),
        ("tiny-tagging", ["Ada", " "], "empty"),
        ("tiny-tagging", ["Ada", 7], "list of tokens"),
        ("tiny-similarity", "alone", "text_pair"),
        ("tiny-similarity", {"text": "x"}, "text_pair"),
        ("tiny-similarity", {**PAIR, "colour": "red"}, "text_pair"),
        ("tiny-similarity", {**PAIR, "text": 7}, "text is not a text"),
        ("tiny-graded", {**PAIR, "text_pair": " "}, "text_pair is empty"),
    ],
)
def test_an_input_of_the_wrong_kind_is_refused_with_its_place(
    service: Service, model: str, item: Any, words: str
) -> None:
    good = PAIR if model in ("tiny-similarity", "tiny-graded") else "Ada met"
    body = problem_of(ask(service, model, [good, item, good]), 422)

    assert [error["column"] for error in body["errors"]] == ["inputs.1"]
    assert words in body["errors"][0]["message"]
    assert body["detail"].startswith("inputs.1: ")


def test_every_wrong_input_is_told(service: Service) -> None:
    body = problem_of(ask(service, "tiny-classification", ["fine", "", "fine", 7]), 422)

    assert [error["column"] for error in body["errors"]] == ["inputs.1", "inputs.3"]


@pytest.mark.parametrize("item", ["", None])
def test_a_bare_input_has_no_number(service: Service, item: Any) -> None:
    assert problem_of(ask(service, "tiny-classification", item), 422)["errors"][0]["column"] == "inputs"


@pytest.mark.parametrize(
    ("model", "item"),
    [
        ("tiny-classification", '"a \\ud83d b"'),
        ("tiny-tagging", '"a \\ud83d b"'),
        ("tiny-tagging", '["a", "\\udc00"]'),
        ("tiny-similarity", '{"text": "a", "text_pair": "\\ud83d"}'),
    ],
)
def test_half_a_surrogate_pair_is_no_character(service: Service, model: str, item: str) -> None:
    headers = {"Content-Type": "application/json"}
    content = f'{{"inputs": [{item}]}}'
    body = problem_of(service.client.post(f"/predict/{model}", content=content, headers=headers), 422)

    assert "surrogate" in body["detail"]


@pytest.mark.parametrize("text", ["a\0b", "\u202eAda", "\ufeffAda", "\x07Ada", "A" * 20_000, "\u0301" * 300])
@pytest.mark.parametrize("model", ["tiny-classification", "tiny-tagging"])
def test_odd_characters_are_answered(service: Service, model: str, text: str) -> None:
    (answer,) = predictions(service, model, [text])

    for token in answer.get("tokens", []):
        assert text[token["start"] : token["end"]] == token["text"]


@pytest.mark.parametrize("body", [{}, {"texts": ["x"]}, {"inputs": ["x"], "temperature": 1}])
def test_a_body_without_inputs_or_with_more_is_refused(service: Service, body: dict[str, Any]) -> None:
    problem_of(service.client.post("/predict/tiny-classification", json=body), 422)


# ---- versions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["tiny-graded", "tiny-graded@1", "tiny-graded@production"])
def test_a_reference_answers_with_the_version_it_means(service: Service, reference: str) -> None:
    body = ask(service, reference, [PAIR]).json()

    assert (body["model"], body["version"]) == ("tiny-graded", 1)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("nobody", "does not exist"),
        ("tiny-graded@2", "no version 2"),
        ("tiny-graded@staging", "no alias 'staging'"),
        ("tiny-graded@", "name, name@3 or name@alias"),
        ("Tiny-Graded", "name, name@3 or name@alias"),
        ("%2e%2e", "does not exist"),
    ],
)
def test_a_reference_that_means_nothing_is_404(service: Service, reference: str, words: str) -> None:
    answer = service.client.post(f"/predict/{reference}", json={"inputs": [PAIR]})

    assert words in problem_of(answer, 404)["detail"]


def test_a_model_that_is_still_trained_says_which_job_to_wait_for(service: Service, trained_models: Trained) -> None:
    job = service.submit(trained_models["classification"].dataset["id"], "unfinished").json()

    body = problem_of(ask(service, "unfinished", "x"), 404)
    service.client.post(f"/jobs/{job['id']}/cancel")

    assert "no finished version" in body["detail"]
    assert job["id"] in body["detail"]


@pytest.mark.parametrize("kind", ["tagging", "classification", "similarity"])
def test_a_text_of_a_megabyte_is_refused_before_the_work(service: Service, trained_models: Trained, kind: str) -> None:
    text = "a b " * 250_000
    asked = {"text_a": text, "text_b": "a"} if kind == "similarity" else text
    answer = service.client.post(f"/predict/{trained_models[kind].name}", json={"inputs": [asked]})

    assert "fill at least" in problem_of(answer, 422)["detail"]
