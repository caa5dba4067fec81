"""Models whose files come with the project."""

import shutil
from pathlib import Path

import pytest
import yaml

from trainers.serving import shipped
from trainers.serving.models import resolve_model
from trainers.serving.shipped import ModelError, file_sha256


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "small"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / name).write_text(name)
    files = {path.name: file_sha256(path) for path in folder.iterdir()}
    manifest = {"name": "small", "title": "A", "licence": "MIT", "source": "here", "files": files}
    found = [(tmp_path, yaml.safe_load(yaml.safe_dump(manifest)))]
    monkeypatch.setattr(shipped, "_shipped", lambda kind="models": found)
    return folder


def test_a_shipped_folder_is_found_by_its_name(folder: Path, tmp_path: Path) -> None:
    model = resolve_model("small", tmp_path / "cache")
    assert (model.folder, model.licence, model.source) == (folder, "MIT", "here")
    assert model.weights_sha256 == file_sha256(folder / "model.safetensors")
    assert not (tmp_path / "cache").exists()


def test_changed_and_missing_files_are_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "config.json").write_text("other")
    with pytest.raises(ModelError, match=r"small: config\.json has SHA-256"):
        resolve_model("small", tmp_path)
    shutil.rmtree(folder)
    with pytest.raises(ModelError, match="is missing"):
        resolve_model("small", tmp_path)


def test_a_name_that_is_nearly_right_is_suggested(folder: Path, tmp_path: Path) -> None:
    assert folder.is_dir()
    with pytest.raises(ModelError, match="did you mean 'small'"):
        resolve_model("smal", tmp_path)
