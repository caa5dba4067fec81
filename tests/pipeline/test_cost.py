import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from harness.cli.app import app
from harness.config import ConfigError
from harness.pipeline.arithmetic import evaluate
from harness.pipeline.cost import stage_costs, total
from harness.pipeline.load import load_pipeline
from harness.pipeline.manifest import expand
from harness.pipeline.run import PipelineError, run_pipeline
from harness.pipeline.state import State

TOUCH = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(' '.join(sys.argv[2:]))"
PIPELINE: dict[str, Any] = {
    "name": "p",
    "title": "t",
    "values": {"seeds": [0, 1, 2], "options": ["--set", "at={out}"], "steps": 10},
    "assumptions": {
        "step_seconds": {"value": 360, "what": "seconds of a step", "source": "measured"},
        "price": {"value": 2, "what": "$ of a GPU-hour", "source": "assumed"},
    },
    "dollars": "hours * gpus * price",
    "stages": [
        {
            "name": "train",
            "each": {"seed": "seeds"},
            "run": ["python", "-c", TOUCH, "{out}/{seed}", "{options}"],
            "makes": ["{out}/{seed}"],
            "hours": "steps * step_seconds / 3600",
            "gpus": 8,
            "disk_gb": "0.001 * seeds",
        },
        {"name": "report", "run": ["python", "-c", TOUCH, "{out}/r"], "makes": ["{out}/r"]},
    ],
}


def written(folder: Path, **change: object) -> Path:
    path = folder / "p.yaml"
    path.write_text(yaml.safe_dump(PIPELINE | change))
    return path


def costs(path: Path, *changes: str) -> dict[str, float]:
    out = path.parent / "out"
    jobs = expand(load_pipeline(path, changes), path, out)
    return total(stage_costs(jobs, State(out, jobs)))


def run(path: Path, **options: Any) -> None:
    out = path.parent / "out"
    jobs = expand(load_pipeline(path), path, out)
    run_pipeline(jobs, out, at_a_time=3, console=Console(quiet=True), **options)


def test_a_plan_has_gpu_hours_disk_and_money_of_what_is_open(tmp_path: Path) -> None:
    path = written(tmp_path)
    found = costs(path)
    assert found == pytest.approx(
        {"jobs": 4, "hours": 3, "gpu_hours": 24, "disk_gb": 0.009, "dollars": 48, "spent_hours": 0}
    )
    assert costs(path, "step_seconds=36", "steps=5")["gpu_hours"] == pytest.approx(1.2)
    run(path)
    after = costs(path)
    assert (after["jobs"], after["gpu_hours"], after["dollars"]) == (0, 0, 0)
    assert after["spent_hours"] > 0


def test_a_list_among_the_arguments_becomes_as_many(tmp_path: Path) -> None:
    path = written(tmp_path)
    run(path)
    assert (tmp_path / "out" / "1").read_text() == f"--set at={tmp_path}/out"


def test_a_disk_that_is_too_small_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path)
    usage = shutil.disk_usage(tmp_path)._replace(free=4_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(PipelineError, match=r"GB of them are not free in .*--short-of-disk"):
        run(path)
    assert not (tmp_path / "out" / "logs").exists()
    run(path, short_of_disk=True)
    assert (tmp_path / "out" / "r").exists()


def test_the_plan_is_shown_before_it_starts(tmp_path: Path) -> None:
    path = written(tmp_path)
    done = CliRunner().invoke(app, ["pipeline", str(path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0
    shown = done.output
    places = [
        shown.index(words) for words in ("seconds of a step", "GPU-hours", "train-0: started")
    ]
    assert places == sorted(places)


def test_values_come_from_a_file_and_then_singly(tmp_path: Path) -> None:
    path = written(tmp_path)
    values = tmp_path / "small.yaml"
    values.write_text("steps: 2\nseeds: [7]\nstep_seconds: 1800\n")
    loaded = load_pipeline(path, ["steps=4"], [values])
    assert (loaded.values["steps"], loaded.values["seeds"]) == (4, (7,))
    assert loaded.assumptions["step_seconds"].source == str(values)
    values.write_text("step: 2\n")
    with pytest.raises(ConfigError, match=r"small\.yaml: expected KEY=VALUE with a key of .*steps"):
        load_pipeline(path, (), [values])
    with pytest.raises(ConfigError, match=r"assumptions\.price\.value"):
        load_pipeline(path, ["price=cheap"])


def test_where_a_server_is_does_not_decide_a_result(tmp_path: Path) -> None:
    script = "import os, sys, pathlib; pathlib.Path(sys.argv[1]).write_text(os.environ['URL'])"
    stage = {"name": "a", "run": ["python", "-c", script, "{out}/a"], "makes": ["{out}/a"]}
    for address in ("http://one", "http://two"):
        run(written(tmp_path, stages=[stage | {"env": {"URL": address, "NONE": ""}}]))
        assert (tmp_path / "out" / "a").read_text() == "http://one"


def test_an_exit_code_may_be_a_result(tmp_path: Path) -> None:
    stage = {
        "name": "audit",
        "run": ["python", "-c", TOUCH + "; sys.exit(1)", "{out}/a"],
        "makes": ["{out}/a"],
    }
    with pytest.raises(PipelineError, match="audit ended with 1"):
        run(written(tmp_path, stages=[stage]))
    run(written(tmp_path, stages=[stage | {"exit_codes": [0, 1]}]))


@pytest.mark.parametrize(
    ("expression", "value"),
    [("2 * (a - 1) / b + 0.5", 4.5), (3, 3.0), ("a", 5.0)],
)
def test_a_sum_has_a_value(expression: str | float, value: float) -> None:
    assert evaluate(expression, {"a": 5, "b": 2}) == value


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("a / 0", "has no value"),
        ("c + 1", "asks for 'c'; numbers are a"),
        ("__import__('os')", "only numbers"),
        ("a ** 9", "only numbers"),
        ("a b", "has no value"),
        ("(" * 500 + ")" * 500, "has no value"),
    ],
)
def test_anything_else_is_no_sum(expression: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        evaluate(expression, {"a": 5})


def test_the_plan_is_in_the_json_too(tmp_path: Path) -> None:
    command = ["pipeline", str(written(tmp_path)), "--out", str(tmp_path), "--dry-run", "--json"]
    done = CliRunner().invoke(app, command)
    assert json.loads(done.output)[0]["takes"] == {
        "hours": 1.0,
        "gpus": 8.0,
        "disk_gb": 0.003,
        "dollars": 16.0,
    }
