"""`python -m trainers.train` as users meet it."""

import json
from pathlib import Path

import pytest
import yaml

from tests.trainers.engine.material import settings
from trainers.train import main


@pytest.fixture
def config(models: dict[str, Path], run: Path, tmp_path: Path) -> str:
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(settings(tmp_path / "out", models, run)))
    return str(path)


def test_a_training_and_its_plan(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([config, "--dry-run"]) == 0
    assert "method     opd" in capsys.readouterr().out
    assert main([config, "--method", "opd", "--set", "optimiser.steps=2"]) == 0
    said = capsys.readouterr()
    assert said.out == f"{tmp_path}/out/final\n"
    assert "step 2/2  loss " in said.err
    assert "left" in said.err
    assert (tmp_path / "out" / "final" / "adapter_config.json").is_file()


def test_mistakes_are_one_line(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, text in (
        ([str(tmp_path / "none.yaml")], f"error: {tmp_path}/none.yaml: cannot be read as YAML"),
        ([config, "--set", "data.student_runs=[nowhere]"], "error: no run in nowhere"),
        ([config, "--set", "student.model=nothing"], "error: no model 'nothing'"),
        ([config, "--set", "out=/proc/x"], "error: "),
        ([], "error: give a configuration"),
    ):
        assert main(arguments) == 2
        said = capsys.readouterr().err
        assert said.startswith(text)
        assert said.count("\n") == 1


def test_the_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--schema"]) == 0
    assert "optimiser" in json.loads(capsys.readouterr().out)["properties"]
