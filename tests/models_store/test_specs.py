"""What can be asked for, and what the defaults make of it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from models_store.errors import InvalidInputError
from models_store.specs import (
    HEADS_OF_TASK,
    HeadName,
    Hyperparameters,
    JobRequest,
    PhaseName,
    Promotion,
    ResolvedHyperparameters,
    Strategy,
    TrainingSpec,
    default_hyperparameters,
    resolve_head,
    resolve_spec,
)
from models_store.tasks import Task, TaskName
from models_store.tasks.classification import MultiLabelTask
from models_store.tasks.similarity import SimilarityTask
from tests.models_store.samples import SAMPLE_TASKS

ENCODERS = ["bert-own", "minilm-l6"]


def request(**fields: Any) -> JobRequest:
    return JobRequest.model_validate({"dataset_id": "ds_1", "model": "question-type", **fields})


def spec(task: TaskName = TaskName.CLASSIFICATION, **fields: Any) -> TrainingSpec:
    return resolve_spec(request(**fields), SAMPLE_TASKS[task], 1000, ENCODERS)


def test_a_minimal_request_asks_for_the_hybrid() -> None:
    asked = request()
    assert (asked.base_model, asked.strategy, asked.head, asked.seed) == ("minilm-l6", Strategy.HYBRID, "auto", 7)
    assert asked.export.precision == "auto"
    assert asked.promote is Promotion.ALWAYS
    assert asked.metadata == {}


def test_a_job_asks_for_one_gpu_at_most_unless_it_says_otherwise() -> None:
    assert (spec().gpus, spec(gpus=4).gpus) == (1, 4)


@pytest.mark.parametrize("name", ["a", "question-type", "v1.2_b", "0", "a" * 63])
def test_model_names(name: str) -> None:
    assert request(model=name).model == name


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a/b", "a@1", "a b", "../a", "ä", "a\n", "a" * 64, 7])
def test_model_names_that_are_refused(name: Any) -> None:
    with pytest.raises(ValidationError, match="model"):
        request(model=name)


@pytest.mark.parametrize(
    "fields",
    [
        {"epochs": 3},
        {"hyperparameters": {"epochs": 3}},
        {"hyperparameters": {"head_epochs": -1}},
        {"hyperparameters": {"full_learning_rate": 0}},
        {"hyperparameters": {"full_learning_rate": float("nan")}},
        {"hyperparameters": {"batch_size": 1.5}},
        {"hyperparameters": {"batch_size": "large"}},
        {"hyperparameters": {"batch_size": "7"}},
        {"hyperparameters": {"batch_size": True}},
        {"hyperparameters": {"max_length": 4}},
        {"hyperparameters": {"max_length": "long"}},
        {"hyperparameters": {"dropout": 1}},
        {"hyperparameters": {"class_weights": "auto"}},
        {"hyperparameters": {"loss": "hinge"}},
        {"hyperparameters": {"focal_gamma": -1.0}},
        {"export": {"precision": "fp8"}},
        {"export": {"format": "onnx"}},
        {"strategy": "magic"},
        {"head": "transformer"},
        {"promote": "sometimes"},
        {"promote": None},
        {"seed": -1},
        {"seed": 2**32},
        {"gpus": 0},
        {"gpus": 9},
        {"dataset_id": "d" * 65},
        {"metadata": {"a": 1}},
        {"metadata": {"": "a"}},
        {"metadata": {"a": "x" * 513}},
        {"metadata": {str(n): "x" for n in range(17)}},
    ],
)
def test_requests_that_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        request(**fields)


NUMBERS = sorted(set(Hyperparameters.model_fields) - {"batch_size", "max_length", "gradual_unfreezing"})


@pytest.mark.parametrize("value", [True, "7"])
@pytest.mark.parametrize("name", ["seed", "gpus", *NUMBERS])
def test_what_only_looks_like_a_number_is_refused(name: str, value: Any) -> None:
    # JSON's true would be 1, and "7" would be 7: mistakes that would train another model than was meant.
    fields = {name: value} if name in ("seed", "gpus") else {"hyperparameters": {name: value}}

    with pytest.raises(ValidationError) as refused:
        request(**fields)
    assert [error["loc"][-1] for error in refused.value.errors()] == [name]


@pytest.mark.parametrize("value", [True, "64", 64.0])
def test_a_length_is_a_whole_number_or_auto(value: Any) -> None:
    assert request(hyperparameters={"max_length": "auto"}).hyperparameters.max_length == "auto"
    with pytest.raises(ValidationError, match="max_length"):
        request(hyperparameters={"max_length": value})


def test_an_unknown_head_is_told_once_with_those_there_are() -> None:
    with pytest.raises(ValidationError) as refused:
        request(head="zork")

    (error,) = refused.value.errors()
    assert error["loc"] == ("head",)
    for head in HeadName:
        assert f"'{head}'" in error["msg"]


@pytest.mark.parametrize("promotion", list(Promotion))
def test_a_spec_says_whether_the_version_is_promoted(promotion: Promotion) -> None:
    assert spec().promote is Promotion.ALWAYS
    assert spec(promote=promotion).promote is promotion
    assert spec(promote=promotion).model_dump(mode="json")["promote"] == promotion.value


def test_a_spec_of_before_there_was_a_choice_is_promoted() -> None:
    stored = spec().model_dump(mode="json")
    del stored["promote"]

    assert TrainingSpec.model_validate(stored).promote is Promotion.ALWAYS


@pytest.mark.parametrize(
    ("strategy", "phases"),
    [
        ("hybrid", [(PhaseName.HEAD, False), (PhaseName.FULL, True)]),
        ("finetune", [(PhaseName.FULL, True)]),
        ("frozen", [(PhaseName.HEAD, False)]),
    ],
)
def test_phases_of_a_strategy(strategy: str, phases: list[tuple[PhaseName, bool]]) -> None:
    assert [(phase.name, phase.trains_encoder) for phase in spec(strategy=strategy).phases()] == phases


def test_without_head_epochs_there_is_no_phase_for_the_head() -> None:
    assert [phase.name for phase in spec(hyperparameters={"head_epochs": 0}).phases()] == [PhaseName.FULL]


@pytest.mark.parametrize(
    ("asked", "code"),
    [({"head_epochs": 0}, "nothing_to_train"), ({"gradual_unfreezing": True}, "unused_option")],
)
def test_a_frozen_training_has_no_second_phase_to_speak_of(asked: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        spec(strategy="frozen", hyperparameters=asked)
    (problem,) = caught.value.problems
    assert (problem.code, problem.column) == (code, f"hyperparameters.{next(iter(asked))}")


@pytest.mark.parametrize("strategy", ["hybrid", "finetune", "frozen"])
def test_a_job_can_be_asked_for_again_with_all_of_its_values(strategy: str) -> None:
    first = spec(strategy=strategy)
    assert spec(strategy=strategy, hyperparameters=first.hyperparameters.model_dump()) == first


def test_each_phase_has_its_own_epochs_and_rate() -> None:
    chosen = {"head_epochs": 2, "head_learning_rate": 0.5, "full_epochs": 3, "full_learning_rate": 0.25, "patience": 9}
    head, full = spec(hyperparameters=chosen).phases()
    assert (head.epochs, head.learning_rate, head.patience) == (2, 0.5, 1)  # it only prepares the other
    assert (full.epochs, full.learning_rate, full.patience) == (3, 0.25, 9)


def test_what_was_chosen_wins_and_the_rest_is_filled_in() -> None:
    chosen = {"batch_size": 5, "max_length": 64, "weight_decay": 0.0, "warmup_fraction": 0.0, "dropout": 0.0}
    values = spec(hyperparameters=chosen).hyperparameters
    defaults = default_hyperparameters(Strategy.HYBRID, 1000)
    assert values == defaults.model_copy(update=chosen)


def test_a_batch_size_may_be_left_to_us() -> None:
    assert spec(hyperparameters={"batch_size": "auto"}) == spec()


def test_every_hyperparameter_has_a_default() -> None:
    assert set(Hyperparameters.model_fields) == set(ResolvedHyperparameters.model_fields)


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("rows", [4, 100, 5_000, 1_000_000])
def test_defaults_are_values_that_a_caller_could_have_sent(strategy: Strategy, rows: int) -> None:
    defaults = default_hyperparameters(strategy, rows)
    assert Hyperparameters.model_validate(defaults.model_dump())
    assert defaults.full_learning_rate < defaults.head_learning_rate


def test_small_data_get_more_epochs() -> None:
    small, large = (default_hyperparameters(Strategy.HYBRID, rows) for rows in (100, 100_000))
    assert small.head_epochs > large.head_epochs
    assert small.full_epochs > large.full_epochs


@pytest.mark.parametrize(
    ("rows", "epochs"), [(4, 60), (100, 26), (240, 12), (300, 12), (1_000, 12), (2_000, 8), (5_000, 7), (100_000, 3)]
)
def test_phase_two_has_enough_steps_whatever_the_data(rows: int, epochs: int) -> None:
    assert default_hyperparameters(Strategy.HYBRID, rows).full_epochs == epochs


@pytest.mark.parametrize("task", list(TaskName))
def test_heads(task: TaskName) -> None:
    for head in set(HeadName) - {HeadName.AUTO}:
        if head in HEADS_OF_TASK[task]:
            assert resolve_head(head, task, Strategy.HYBRID) == head
        else:
            with pytest.raises(InvalidInputError, match=f"does not fit {task}; choose one of: auto, "):
                resolve_head(head, task, Strategy.HYBRID)


@pytest.mark.parametrize("task", TaskName)
def test_on_a_frozen_encoder_auto_leaves_the_choice_among_all_heads_to_the_training(task: TaskName) -> None:
    resolved = spec(task, strategy=Strategy.FROZEN)

    assert resolved.head == "auto"
    assert resolved.heads() == HEADS_OF_TASK[task]


@pytest.mark.parametrize(
    ("task", "head", "heads"),
    [
        (TaskName.CLASSIFICATION, "linear", ("linear",)),
        (TaskName.TAGGING, "auto", ("linear", "crf")),
        (TaskName.SIMILARITY, "auto", ("siamese", "linear")),
    ],
)
def test_before_a_second_phase_auto_chooses_among_the_heads_that_keep_their_lead(
    task: TaskName, head: str, heads: tuple[str, ...]
) -> None:
    resolved = spec(task, strategy=Strategy.HYBRID)

    assert (resolved.head, resolved.heads()) == (head, heads)


@pytest.mark.parametrize(
    ("task", "head"),
    [(TaskName.CLASSIFICATION, "linear"), (TaskName.TAGGING, "linear"), (TaskName.SIMILARITY, "siamese")],
)
def test_without_a_frozen_phase_auto_has_nothing_to_compare_heads_by(task: TaskName, head: str) -> None:
    assert spec(task, strategy=Strategy.FINETUNE).heads() == (head,)


@pytest.mark.parametrize(
    ("fields", "code", "column"),
    [
        ({"base_model": "gpt-5"}, "unknown_base_model", "base_model"),
        ({"base_model": "../../etc"}, "unknown_base_model", "base_model"),
        ({"head": "bilstm"}, "head_does_not_fit_task", "head"),
    ],
)
def test_what_cannot_be_had_is_refused_by_field(fields: dict[str, Any], code: str, column: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        spec(**fields)
    assert [(problem.code, problem.column) for problem in caught.value.problems] == [(code, column)]


# ---- the loss -------------------------------------------------------------------------------------------------------

BALANCED, FOCAL = {"class_weights": "balanced"}, {"loss": "focal"}
GRADED = SimilarityTask(score_range=(0.0, 5.0))


def resolve(task: Task[Any], head: str = "auto", **hyperparameters: Any) -> TrainingSpec:
    return resolve_spec(request(head=head, hyperparameters=hyperparameters), task, 100, ENCODERS)


@pytest.mark.parametrize("task", [*SAMPLE_TASKS.values(), MultiLabelTask(("a", "b"))])
def test_whatever_has_classes_can_weigh_them(task: Task[Any]) -> None:
    plain, weighed = resolve(task).hyperparameters, resolve(task, **BALANCED, **FOCAL, focal_gamma=1.0).hyperparameters

    assert (plain.class_weights, plain.loss, plain.focal_gamma) == ("none", "cross_entropy", 2.0)
    assert (weighed.class_weights, weighed.loss, weighed.focal_gamma) == ("balanced", "focal", 1.0)


@pytest.mark.parametrize(
    ("task", "head", "hyperparameters", "code", "column"),
    [
        (GRADED, "auto", BALANCED, "loss_does_not_fit", "hyperparameters.class_weights"),
        (GRADED, "bimpm", FOCAL, "loss_does_not_fit", "hyperparameters.loss"),
        (SAMPLE_TASKS[TaskName.TAGGING], "crf", BALANCED, "loss_does_not_fit", "hyperparameters.class_weights"),
        (SAMPLE_TASKS[TaskName.TAGGING], "bilstm_crf", FOCAL, "loss_does_not_fit", "hyperparameters.loss"),
        (GRADED, "auto", {"focal_gamma": 1.0}, "unused_option", "hyperparameters.focal_gamma"),
    ],
)
def test_a_loss_that_would_be_passed_over_is_refused(
    task: Task[Any], head: str, hyperparameters: dict[str, Any], code: str, column: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        resolve(task, head, **hyperparameters)
    assert [(problem.code, problem.column) for problem in caught.value.problems] == [(code, column)]


@pytest.mark.parametrize("asked", [{"class_weights": "none"}, {"loss": "cross_entropy"}])
def test_saying_that_nothing_is_weighed_fits_everywhere(asked: dict[str, Any]) -> None:
    assert resolve(GRADED, **asked).hyperparameters == resolve(GRADED).hyperparameters


def test_auto_leaves_out_the_heads_that_cannot_weigh_classes() -> None:
    tagging = SAMPLE_TASKS[TaskName.TAGGING]

    assert HeadName.CRF in resolve(tagging).heads()
    assert resolve(tagging, **BALANCED).heads() == (HeadName.LINEAR,)


def test_a_spec_of_before_losses_could_be_chosen_is_read() -> None:
    stored = spec().model_dump(mode="json")
    for name in ("class_weights", "loss", "focal_gamma"):
        del stored["hyperparameters"][name]

    assert TrainingSpec.model_validate(stored) == spec()


def test_an_unknown_encoder_is_told_with_those_there_are() -> None:
    with pytest.raises(InvalidInputError, match="choose one of: bert-own, minilm-l6"):
        spec(base_model="gpt-5")


def test_a_spec_survives_the_database() -> None:
    for task in TaskName:
        resolved = spec(task, base_model="bert-own", seed=2**32 - 1, strategy="frozen")
        assert TrainingSpec.model_validate_json(resolved.model_dump_json()) == resolved
