"""The command line as users meet it: errors, dry runs, refusals, exit codes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.records import Grade, Instance, RunFolder
from harness.suites.load import load_suite
from tests.real import real_instance


def harness(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    code = "from harness.cli import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def rows(path: Path, *values: Any) -> Path:
    """A JSONL file of instances, objects or raw text."""
    lines = []
    for value in values:
        if isinstance(value, Instance):
            value = value.model_dump(mode="json", exclude_none=True)
        lines.append(value if isinstance(value, str) else json.dumps(value))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-m", "glod"], "did you mean 'gold'"),
        (["-m", "gold", "-p", "embeded"], "did you mean 'embedded'"),
        (["-m", "gold", "-s", "pypi-min"], "did you mean 'pypi-mini'"),
        (["-m", "gold", "-i", "pallets__itsdangerous-9001"], "did you mean"),
        (["-m", "gold", "-m", "gold"], "given twice"),
        (["-m", "replay"], "--predictions FILE goes with --method replay"),
        (["-m", "gold", "--run-id", "../x"], "--run-id '../x'"),
    ],
)
def test_bad_input_is_one_line_with_the_nearest_name(arguments: list[str], said: str) -> None:
    done = harness("eval", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_endpoint_says_what_to_start(tmp_path: Path) -> None:
    done = harness(
        "eval", "-m", "mini", "-p", "docker", "--sandbox", "process", "--limit", 1,
        "--runs", tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert "HARNESS_BASE_URL" in done.stderr


def test_a_dry_run_refuses_by_name_and_writes_nothing(tmp_path: Path) -> None:
    good, other = load_suite("pypi-mini/test").instances[:2]
    v4 = other.model_dump(mode="json", exclude_none=True)
    for field in ("eval_script", "log_parser", "eval_type", "image"):
        del v4[field]
    misspelt = good.model_dump(mode="json", exclude_none=True) | {"problem_statment": "x"}
    suite = rows(tmp_path / "rows.jsonl", good, v4, misspelt, "{not json")
    runs = tmp_path / "runs"
    done = harness("eval", "-m", "gold", "-s", suite, "--runs", runs, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    assert not runs.exists()
    shown = json.loads(done.stdout)
    assert shown["runs"][0]["suite"]["instances"] == 1
    refused = [f"{one['what']}: {one['why']}" for one in shown["refused"]]
    assert len(refused) == 3
    assert any("v4" in line and other.instance_id in line for line in refused)
    assert any("row 3" in line and "problem_statement" in line for line in refused)
    assert any("row 4" in line for line in refused)


@pytest.mark.slow
def test_recorded_predictions_are_graded_or_refused(tmp_path: Path) -> None:
    instance = real_instance("process").instance
    suite = rows(tmp_path / "rows.jsonl", instance)
    gold = {
        "instance_id": instance.instance_id,
        "model_name_or_path": "somebody",
        "model_patch": instance.patch,
    }
    unknown = gold | {"instance_id": "owner__other-1"}
    malformed = {"instance_id": "owner__other-2", "model_patch": 3}
    predictions = rows(tmp_path / "preds.jsonl", gold, unknown, malformed)
    options = ("-p", "embedded", "--runs", tmp_path, "--run-id", "graded", "--repeat", 2, "--json")
    done = harness("grade", predictions, "-s", suite, *options)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["runs"][0]["resolved"] == 2
    assert "0 of 1 instances changed their verdict in 2 evaluations" in done.stderr

    folder = RunFolder(tmp_path / "graded")
    refused = [json.loads(line)["what"] for line in folder.refused.read_text().splitlines()]
    assert len(refused) == 2
    assert any("row 3" in what for what in refused)
    assert "owner__other-1" in refused
    for seed in (0, 1):
        path = folder.grade(instance.id, seed) / "grade.json"
        assert not Grade.model_validate_json(path.read_bytes()).cached
    assert folder.predictions.read_text().count("\n") == 2
    assert folder.report.is_file()
    everything = json.loads(folder.results.read_text())
    assert everything["scores"]["resolved"] == 2
    assert everything["config"]["id"] == "graded-replay"
    assert everything["lock"]["predictions_sha256"]
    verdicts = [one["grade"]["verdict"] for one in everything["attempts"]]
    assert verdicts == ["resolved", "resolved"]


def test_doctor_and_plan_print_json() -> None:
    checks = json.loads(harness("doctor", "--json").stdout)
    assert {"git", "process sandbox", "cores", "memory", "disk"} <= {one["name"] for one in checks}
    plan = json.loads(harness("plan", "--mde", "3pp", "--json").stdout)
    assert plan["assumptions"]["mde"] == pytest.approx(0.03)
    assert harness("plan", "--mde", "three").returncode == 2
