"""From a file to an answer, for each task, without a word of HTTP."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.fixtures.models import SampleFiles, TrainedModel
from tests.fixtures.servers import Service

pytestmark = pytest.mark.services

EPOCHS = {"Epochs of phase 1": "2", "Epochs of phase 2": "2"}


def choose_file(page: Page, path: Path, task: str) -> None:
    page.goto("/")
    page.get_by_role("radio", name=re.compile(task, re.IGNORECASE)).check()
    page.locator(".drop input").set_input_files(path)


def fold_out(page: Page, name: str) -> None:
    page.get_by_text(name, exact=False).first.click()


def begin_training(page: Page, model: str, encoder: str = "tiny", **more: str) -> None:
    """Fill in the form of a new job, and start it."""
    page.get_by_label("Name of the model").fill(model)
    fold_out(page, "Everything else has a default")
    page.get_by_label("Encoder", exact=True).fill(encoder)
    for label, value in {**EPOCHS, **more}.items():
        page.get_by_label(label, exact=True).fill(value)
    expect(page.get_by_role("heading", name="What it will do")).to_be_visible()
    expect(page.get_by_text("Phase 2: head and encoder together")).to_be_visible()
    page.get_by_role("button", name="Start training").click()
    expect(page.get_by_role("heading", level=1, name=re.compile(model))).to_be_visible()


@pytest.mark.parametrize("task", ["classification", "tagging", "similarity"])
def test_from_a_file_to_an_answer(page: Page, sample_files: dict[str, SampleFiles], task: str) -> None:
    files = sample_files[task]
    model = f"page-{task}"
    choose_file(page, files.train, task)
    fold_out(page, "More files")
    page.get_by_label("Validation file").set_input_files(files.validation)
    page.locator("input[name=name]").fill(f"rows of {task}")
    page.get_by_role("button", name="Upload").click()

    expect(page.get_by_role("heading", level=1, name=f"rows of {task}")).to_be_visible()
    expect(page.get_by_role("heading", name="Labels and lengths")).to_be_visible()
    page.get_by_role("link", name="Train a model on it").click()
    begin_training(page, model)

    expect(page.get_by_text(f"{model}@1 is ready", exact=False)).to_be_visible(timeout=120_000)
    expect(page.locator(".chart canvas").first).to_be_visible()
    expect(page.get_by_role("heading", name=re.compile("How good it is"))).to_be_visible()
    page.get_by_role("link", name="Try it").click()

    if task == "similarity":
        page.get_by_label("First text").fill("my kettle please")
        page.get_by_label("Second text").fill("kettle want today")
    else:
        page.get_by_label("Text", exact=True).fill("Ada met Bob Carol on Monday. Where is my parcel?")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text(f"by {model}@1", exact=False)).to_be_visible()
    page.get_by_role("button", name="Copy as curl").click()
    assert f"/predict/{model}" in page.evaluate("navigator.clipboard.readText()")


def test_a_bad_file_is_told_line_by_line(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("text,label\n" + "".join(f"row {i},{'ab'[i % 2]}\n" for i in range(20)) + ",a\nno label,\n")
    choose_file(page, path, "classification")
    page.get_by_role("button", name="Only check it").click()
    rows = page.locator(".problems tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("22")
    expect(rows.first).to_contain_text("text is empty")
    expect(rows.first.locator("code")).to_have_text(",a")
    expect(rows.last.locator("code")).to_have_text("no label,")

    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("alert")).to_contain_text("2 problem(s)")
    expect(page.locator(".problems tbody tr")).to_have_count(2)


def test_a_job_is_paused_resumed_cancelled_and_survives_a_reload(
    page: Page, trained_models: dict[str, TrainedModel]
) -> None:
    page.goto(f"/#/jobs/new?dataset={trained_models['classification'].dataset['id']}")
    begin_training(page, "page-long", **{"Epochs of phase 1": "0", "Epochs of phase 2": "200"})
    expect(page.get_by_text("Phase", exact=False).first).to_be_visible()
    expect(page.locator(".events li", has_text="epoch 1/").first).to_be_visible(timeout=60_000)

    before = page.locator(".events li").count()
    page.reload()
    expect(page.locator(".chart canvas").first).to_be_visible()
    assert page.locator(".events li").count() >= min(before, 50)

    page.get_by_role("button", name="Pause").click()
    expect(page.locator("h1 .status")).to_have_text("paused", timeout=60_000)
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("h1 .status")).to_have_text(re.compile("queued|running"))
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Yes").click()
    expect(page.locator("h1 .status")).to_have_text("cancelled", timeout=60_000)
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_a_job_that_fails_says_why_and_what_to_do(page: Page, trained_models: dict[str, TrainedModel]) -> None:
    page.goto(f"/#/jobs/new?dataset={trained_models['classification'].dataset['id']}")
    begin_training(page, "page-broken", encoder="broken")
    expect(page.locator("h1 .status")).to_have_text("failed", timeout=60_000)
    expect(page.get_by_role("alert")).to_contain_text(re.compile("learning rate|Try again"))

    page.get_by_role("link", name="Change something and train again").click()
    expect(page.get_by_label("Name of the model")).to_have_value("page-broken")
    expect(page.get_by_label("Encoder", exact=True)).to_have_value("broken")
    expect(page.get_by_label("Epochs of phase 2", exact=True)).to_have_value("2")
    page.get_by_label("Encoder", exact=True).fill("tiny")
    page.get_by_label("Strategy").select_option("frozen")
    page.get_by_role("button", name="Start training").click()
    expect(page.get_by_text("page-broken@1 is ready", exact=False)).to_be_visible(timeout=120_000)
    page.get_by_role("link", name="Change something and train again").click()
    expect(page.get_by_label("Strategy")).to_have_value("frozen")


def test_the_same_file_twice_is_one_data_set(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "twice.csv"
    path.write_text("text,label\n" + "".join(f"twice {i},{'ab'[i % 2]}\n" for i in range(20)))
    for told in (0, 1):
        choose_file(page, path, "classification")
        page.get_by_role("button", name="Upload").click()
        expect(page.get_by_role("heading", level=1, name="twice")).to_be_visible()
        expect(page.get_by_text("was stored before", exact=False)).to_have_count(told)


def test_versions_stand_side_by_side_and_are_promoted_and_rolled_back(
    page: Page, service: Service, trained_models: dict[str, TrainedModel]
) -> None:
    dataset = trained_models["classification"].dataset["id"]
    for epochs in (1, 2):
        values = {"head_epochs": epochs, "full_epochs": 1}
        job = service.submit(dataset, "page-versions", base_model="tiny", hyperparameters=values).json()
        assert service.wait_for_job(job["id"])["status"] == "succeeded"
    page.goto("/#/models/page-versions")
    table = page.locator("table.versions")
    expect(table.get_by_role("columnheader")).to_have_count(2)
    expect(table.locator("tr.differs", has_text="head epochs")).to_contain_text("21")
    expect(table.get_by_text("ms a text").first).to_be_visible()
    expect(page.locator(".facts")).to_contain_text("version 2")

    page.get_by_role("button", name="Promote").click()
    page.get_by_role("button", name="Yes").click()
    expect(page.locator(".facts")).to_contain_text("version 1")
    page.get_by_role("button", name="Roll back").click()
    page.get_by_role("button", name="Yes").click()
    expect(page.locator(".facts")).to_contain_text("version 2")

    with page.expect_download() as card:
        page.get_by_role("button", name="Model card").first.click()
    assert "page-versions" in Path(card.value.path()).read_text(encoding="utf-8")
    with page.expect_download() as bundle:
        page.get_by_role("button", name="ONNX bundle").first.click()
    assert bundle.value.suggested_filename == "page-versions-2-onnx.zip"


def test_a_refused_file_that_was_mended_is_chosen_again(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "mended.csv"
    good = "text,label\n" + "".join(f"mended {i},{'ab'[i % 2]}\n" for i in range(20))
    path.write_text(good + ",a\n")
    choose_file(page, path, "classification")
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("alert")).to_contain_text("1 problem(s)")
    path.write_text(good)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("alert")).to_contain_text("Choose it again")
    page.locator(".drop input").set_input_files([])  # as a click on the field does
    page.locator(".drop input").set_input_files(path)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("heading", level=1, name="mended")).to_be_visible()


def test_a_name_of_another_task_is_told_before_it_starts(page: Page, trained_models: dict[str, TrainedModel]) -> None:
    page.goto(f"/#/jobs/new?dataset={trained_models['classification'].dataset['id']}")
    expect(page.get_by_text("for version 1 of", exact=False)).to_be_visible()
    page.get_by_label("Name of the model").fill("tiny-tagging")
    expect(page.get_by_role("alert")).to_contain_text("choose another name")
    page.get_by_label("Name of the model").fill("tiny-classification")
    expect(page.get_by_text("for version 2 of tiny-classification", exact=False)).to_be_visible()


def test_a_lost_connection_is_told_and_found_again(page: Page, trained_models: dict[str, TrainedModel]) -> None:
    page.goto(f"/#/jobs/new?dataset={trained_models['classification'].dataset['id']}")
    begin_training(page, "page-lost", **{"Epochs of phase 1": "0", "Epochs of phase 2": "200"})
    page.route("**/jobs/job_*", lambda route: route.abort())
    expect(page.get_by_role("alert")).to_contain_text("The connection is lost")
    page.unroute("**/jobs/job_*")
    expect(page.get_by_text("The connection is lost")).to_have_count(0)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Yes").click()
    expect(page.locator("h1 .status")).to_have_text("cancelled", timeout=60_000)


def test_a_call_is_copied_where_the_page_came_without_encryption(
    page: Page, trained_models: dict[str, TrainedModel]
) -> None:
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.goto("/#/playground?model=tiny-classification")
    page.get_by_role("button", name="Copy as curl").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
