"""`harness methods`."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from harness.cli.methods import app
from harness.config import ConfigError, method_names
from harness.config import training as training_module
from harness.config.training import load_training, training_names


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    return result.output


def test_the_list_has_every_method_once() -> None:
    rows = json.loads(run("list", "--json"))
    names = [row["name"] for row in rows if row["kind"] == "training"]
    assert names == training_names()
    assert "minillm" in names
    assert [row["name"] for row in rows if row["kind"] == "evaluation"] == method_names()
    for row in rows:
        assert row["description"]
        assert row["source"]
        assert row["run"].startswith(("harness train ", "harness eval --method "))
    text = run("list")
    for row in rows:
        assert row["name"] in text


def test_methods_of_training_are_none_of_evaluation() -> None:
    assert "sod" not in method_names()
    assert method_names()


def test_show_prints_a_configuration() -> None:
    shown = yaml.safe_load(run("show", "sod"))
    assert shown["method"] == {"name": "sod", "excess": 0.2, "outcome_weight": 1.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("method: {name: one}", "no manifest of a training method: KeyError"),
        ("- a", "no manifest of a training method: TypeError"),
        ("about: {needs: [luck]}\nmethod: {name: one}", "one.yaml: about: "),
        ("a: b: c", "no manifest of a training method: ScannerError"),
    ],
)
def test_a_broken_manifest(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "methods" / "training"
    folder.mkdir(parents=True)
    (folder / "one.yaml").write_text(text)
    monkeypatch.setattr(training_module, "manifests_root", lambda: tmp_path)
    with pytest.raises(ConfigError, match=message):
        load_training("one")


def test_a_manifest_is_named_like_its_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "methods" / "training"
    folder.mkdir(parents=True)
    (folder / "one.yaml").write_text(load_training("sod").path.read_text())
    monkeypatch.setattr(training_module, "manifests_root", lambda: tmp_path)
    with pytest.raises(ConfigError, match="trains by method 'sod'"):
        load_training("one")
