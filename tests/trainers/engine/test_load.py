"""Configurations: every key is known, and what is missing is said."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config.training import training_names
from tests.trainers.engine.material import settings
from trainers.engine.config import TrainSettings
from trainers.engine.errors import ConfigError
from trainers.engine.load import load_settings
from trainers.methods.gkd import GKD


@pytest.fixture
def values(tmp_path: Path) -> dict[str, Any]:
    return settings(tmp_path / "out", {"student": Path("s"), "teacher": Path("t")}, Path("r"))


def load(folder: Path, values: Any, *changes: str, method: str | None = None) -> TrainSettings:
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump(values))
    return load_settings(path, changes, method)


def test_changes_come_on_top(tmp_path: Path, values: dict[str, Any]) -> None:
    changes = ("method.name=gkd", "method.student_share=0.25", "optimiser.steps=9", "batch.chunk=3")
    found = load(tmp_path, values, *changes)
    assert found.method == GKD(student_share=0.25)
    assert (found.optimiser.steps, found.batch.chunk, found.batch.trajectories) == (9, 3, 3)
    del values["method"]
    assert load(tmp_path, values, method="gkd").method == GKD()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (["optimiser.step=1"], r"unknown key 'optimiser\.step'; did you mean 'steps'\?"),
        (["sed=1"], r"unknown key 'sed'; did you mean 'seed'\?"),
        (["method.name=gkd", "method.lambda=1"], r"'method\.gkd\.lambda' \(keys: name, student_sh"),
        (["student.adapter.rang=1"], r"did you mean 'rank'\?"),
        (["student.adapter.targets=[lm_head]"], r"lm_head has to stay as it is"),
        (["optimiser.steps=0"], r"optimiser\.steps: Input should be greater .* \(found '0'\)"),
        (["method.name=odp"], r"method: Input tag 'odp' .* 'opd'"),
        (["teacher=null"], r"method opd needs a teacher model: add the key `teacher:`"),
        (["data.student_runs=[]"], r"no data: give data\.student_runs"),
        (["seed"], r"'seed': expected KEY=VALUE"),
        (["seed.x=1", "seed.x.y=2"], r"x holds 1, which has no keys"),
        (["seed=[1"], r"the value is no YAML"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, values: dict[str, Any], changes: list[str], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        load(tmp_path, values, *changes)


def test_files_and_methods_that_do_not_fit(tmp_path: Path, values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"train\.yaml: its method is 'opd', not 'gkd'"):
        load(tmp_path, values, method="gkd")
    with pytest.raises(ConfigError, match="expected keys and values, found list"):
        load(tmp_path, [1])
    with pytest.raises(ConfigError, match="cannot be read as YAML"):
        load_settings(tmp_path / "none.yaml")


def test_the_schema_names_every_method() -> None:
    names = TrainSettings.model_json_schema()["properties"]["method"]["discriminator"]["mapping"]
    assert sorted(names) == training_names()
