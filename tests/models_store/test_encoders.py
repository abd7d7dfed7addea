"""The catalogue of base encoders: names, never paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from models_store import encoders
from models_store.artifacts import file_sha256
from models_store.encoders import DEFAULT_ENCODER, EncoderSource, PackagedEncoder, encoder_names, find_encoder
from models_store.errors import NotFoundError


def add(folder: Path, name: str) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "config.json").write_text("{}")
    return folder / name


def test_the_packaged_encoder_needs_no_folder(tmp_path: Path) -> None:
    assert encoder_names(tmp_path / "missing") == [DEFAULT_ENCODER]
    source = find_encoder(DEFAULT_ENCODER, tmp_path / "missing")
    assert (source.folder / "tokenizer.json").is_file()
    assert source.weights_sha256 == file_sha256(source.folder / "model.safetensors")


def test_folders_of_the_operator_are_in_the_catalogue(tmp_path: Path) -> None:
    folder = add(tmp_path, "bert-own")
    add(tmp_path, "Not A Name")
    (tmp_path / "no-config").mkdir()
    assert encoder_names(tmp_path) == ["bert-own", DEFAULT_ENCODER]
    assert find_encoder("bert-own", tmp_path) == EncoderSource("bert-own", folder, None)


def test_a_folder_cannot_pose_as_the_packaged_encoder(tmp_path: Path) -> None:
    add(tmp_path, DEFAULT_ENCODER)
    source = find_encoder(DEFAULT_ENCODER, tmp_path)
    assert tmp_path not in source.folder.parents
    assert source.weights_sha256


@pytest.mark.parametrize("name", ["gpt-5", "", ".", "..", "../outside", "inside/deeper", "bert-own/", "Bert-Own"])
def test_other_names_do_not_exist(tmp_path: Path, name: str) -> None:
    add(tmp_path, "outside")
    folder = tmp_path / "encoders"
    add(folder, "bert-own")
    add(folder / "inside", "deeper")
    with pytest.raises(NotFoundError) as caught:
        find_encoder(name, folder)
    assert caught.value.code == "unknown_base_model"
    assert repr(name) in caught.value.message


def test_a_package_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(encoders.PACKAGED_ENCODERS, "ghost", PackagedEncoder("no_such_package", "model", ""))
    with pytest.raises(NotFoundError, match="the package no_such_package is not installed"):
        find_encoder("ghost", tmp_path)
