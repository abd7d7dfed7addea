"""The catalogue of base encoders: names, never paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from models_store import encoders
from models_store.artifacts import file_sha256
from models_store.encoders import (
    DEFAULT_ENCODER,
    EncoderCatalogue,
    EncoderSource,
    HubRevision,
    PackagedEncoder,
    parse_hub_encoders,
)
from models_store.errors import NotFoundError

COMMIT = "5c38ec7c405ec4b44b94cc5a9bb96e735b38267a"
BGE = HubRevision("BAAI/bge-small-en-v1.5", COMMIT)


def add(folder: Path, name: str) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "config.json").write_text("{}")
    return folder / name


def catalogue(folder: Path, **hub: HubRevision) -> EncoderCatalogue:
    return EncoderCatalogue(folder, folder / "cache", hub)


def test_the_packaged_encoder_needs_no_folder(tmp_path: Path) -> None:
    assert catalogue(tmp_path / "missing").names() == [DEFAULT_ENCODER]
    source = catalogue(tmp_path / "missing").find(DEFAULT_ENCODER)
    assert (source.folder / "tokenizer.json").is_file()
    assert source.weights_sha256 == file_sha256(source.folder / "model.safetensors")


def test_folders_of_the_operator_are_in_the_catalogue(tmp_path: Path) -> None:
    folder = add(tmp_path, "bert-own")
    add(tmp_path, "Not A Name")
    (tmp_path / "no-config").mkdir()
    assert catalogue(tmp_path).names() == ["bert-own", DEFAULT_ENCODER]
    assert catalogue(tmp_path).find("bert-own") == EncoderSource("bert-own", folder, None)


def test_so_are_revisions_on_the_hub_that_nobody_has_fetched_yet(tmp_path: Path) -> None:
    found = catalogue(tmp_path, bge=BGE)

    assert found.names() == ["bge", DEFAULT_ENCODER]
    folder = tmp_path / "cache" / "BAAI" / "bge-small-en-v1.5" / COMMIT
    assert found.find("bge") == EncoderSource("bge", folder, None, BGE)


def test_a_folder_cannot_pose_as_another_encoder(tmp_path: Path) -> None:
    add(tmp_path, DEFAULT_ENCODER)
    add(tmp_path, "bge")
    packaged, fetched = (catalogue(tmp_path, bge=BGE).find(name) for name in (DEFAULT_ENCODER, "bge"))
    assert tmp_path not in packaged.folder.parents
    assert packaged.weights_sha256
    assert fetched.hub == BGE


@pytest.mark.parametrize("name", ["gpt-5", "", ".", "..", "../outside", "inside/deeper", "bert-own/", "Bert-Own"])
def test_other_names_do_not_exist(tmp_path: Path, name: str) -> None:
    add(tmp_path, "outside")
    folder = tmp_path / "encoders"
    add(folder, "bert-own")
    add(folder / "inside", "deeper")
    with pytest.raises(NotFoundError) as caught:
        catalogue(folder).find(name)
    assert caught.value.code == "unknown_base_model"
    assert repr(name) in caught.value.message


def test_a_package_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(encoders.PACKAGED_ENCODERS, "ghost", PackagedEncoder("no_such_package", "model", ""))
    with pytest.raises(NotFoundError, match="the package no_such_package is not installed"):
        catalogue(tmp_path).find("ghost")


def test_entries_of_the_hub_are_read() -> None:
    other = HubRevision("intfloat/e5_base", "0" * 40)

    assert parse_hub_encoders(f" bge={BGE} , e5.v2={other},") == {"bge": BGE, "e5.v2": other}
    assert parse_hub_encoders("") == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bge=BAAI/bge-small-en-v1.5@main", "'main' is a branch, a tag or no whole hash.*all its 40 digits"),
        (f"bge=BAAI/bge-small-en-v1.5@{COMMIT[:7]}", "no whole hash"),
        (f"bge=BAAI/bge-small-en-v1.5@{COMMIT.upper()}", "no whole hash"),
        ("bge=BAAI/bge-small-en-v1.5", "should be name=organisation/repository@commit"),
        (str(BGE), "should be name="),
        (f"bge=bge-small@{COMMIT}", "should be name="),
        (f"bge=../outside@{COMMIT}", "should be name="),
        (f"bge=BAAI/..@{COMMIT}", "should be name="),
        (f"bge=https://huggingface.co/BAAI/bge@{COMMIT}", "should be name="),
        (f"BGE={BGE}", "'BGE' is no name"),
        (f"={BGE}", "'' is no name"),
        (f"../bge={BGE}", "is no name"),
        (f"{DEFAULT_ENCODER}={BGE}", f"{DEFAULT_ENCODER!r} belongs to an encoder that is built in"),
        (f"bge={BGE},bge={BGE}", "'bge' is given twice"),
    ],
)
def test_an_entry_that_would_mean_nothing_certain_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_hub_encoders(text)
