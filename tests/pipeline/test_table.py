import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from harness.cli.app import app
from harness.config import ConfigError
from harness.leakage.findings import Audit, Check, Status
from harness.pipeline.experiment import Experiment
from harness.pipeline.table import audit_rows, paper_table
from tests.pipeline.test_experiment import run

EXPERIMENT = {
    "name": "e",
    "title": "t",
    "question": "q",
    "baseline": "untrained",
    "reference": "teacher",
    "policies": [
        {"name": "untrained", "what": "none", "runs": ["runs/base"]},
        {"name": "teacher", "what": "none", "runs": ["runs/teacher"]},
        {"name": "CHOP", "what": "deployable PI", "runs": ["runs/chop-*"]},
    ],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    run(tmp_path, "base", range(4))
    run(tmp_path, "teacher", range(3, 24))
    run(tmp_path, "chop-0", range(4))
    run(tmp_path, "chop-1", range(6))
    for path in tmp_path.glob("runs/chop-1/attempts/*/*/attempt.json"):
        attempt = json.loads(path.read_text())
        attempt["usage"]["generated_tokens"] = 3000
        path.write_text(json.dumps(attempt))
    return tmp_path


def audit(folder: Path, name: str, status: Status) -> None:
    check = Check(name="filter", question="q", status=status, reason="why")
    path = folder / name / "audit.json"
    path.parent.mkdir(parents=True)
    path.write_text(Audit(inputs={}, checks=(check,)).model_dump_json())


def test_the_columns_are_those_of_the_paper(root: Path) -> None:
    rows = {row["method"]: row for row in paper_table(Experiment.model_validate(EXPERIMENT), root)}
    assert list(rows) == ["untrained", "teacher", "CHOP"]
    chop = rows["CHOP"]
    assert (chop["PI type"], chop["resolve"], chop["attempts"]) == ("deployable PI", "12.5%", "80")
    assert chop["Δ vs. untrained"] == "+2.5"
    assert rows["teacher"]["Δ vs. untrained"] == "+42.5**"
    assert rows["untrained"]["Δ vs. untrained"] == "–"
    low, high = (float(one) for one in chop["95% CI"].strip("[]").split(", "))
    assert 0 <= low < 12.5 < high <= 100
    assert chop["avg len"] == "1,500.0"


def test_audits_stand_beside_it_by_name(tmp_path: Path) -> None:
    audit(tmp_path, "gold_patch", Status.FAILED)
    audit(tmp_path, "call_graph", Status.PASSED)
    assert [
        (row["audit"], row["check"], row["result"], row["why"]) for row in audit_rows(tmp_path)
    ] == [
        ("call_graph", "filter", "passed", "why"),
        ("gold_patch", "filter", "failed", "why"),
    ]
    with pytest.raises(ConfigError, match="no audit below"):
        audit_rows(tmp_path / "gold_patch")


def test_the_command_writes_both(root: Path) -> None:
    audit(root / "audit", "call_graph", Status.PASSED)
    manifest = root / "e.yaml"
    manifest.write_text(yaml.safe_dump(EXPERIMENT, allow_unicode=True))
    out = root / "table.json"
    command = ["table", str(manifest), "--root", str(root)]
    done = CliRunner().invoke(app, [*command, "--audits", str(root / "audit"), "--out", str(out)])
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())
    assert [len(found[key]) for key in ("e", "audits")] == [3, 1]
    printed = CliRunner().invoke(app, command)
    assert json.loads(printed.output) == {"e": found["e"]}
