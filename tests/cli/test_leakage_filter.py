"""`harness leakage filter`."""

import json
from pathlib import Path

from typer.testing import CliRunner

from harness.cli.app import app
from tests.leakage.filter_suites import row, source

RUN = CliRunner()


def test_the_filter_writes_its_three_files(tmp_path: Path) -> None:
    """And says which row is rejected for what."""
    train = source(tmp_path, "train", [row(1), row(7)])
    evaluation = source(tmp_path, "evaluation", [row(7)])
    out = tmp_path / "out"
    options = ["--train", str(train.path), "-e", str(evaluation.path)]
    done = RUN.invoke(app, ["leakage", "filter", *options, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert f"owner__pkg-7: base_commit owner__pkg-7: {7:040x}" in done.output
    assert "1 of 2 rows kept, 1 rejected (base_commit 1)" in done.output
    assert sorted(one.name for one in out.iterdir()) == [
        "filter.json",
        "kept.jsonl",
        "rejected.jsonl",
    ]
    dry = RUN.invoke(app, ["leakage", "filter", *options, "--dry-run", "--json"])
    assert json.loads(dry.output) == json.loads((out / "filter.json").read_text())


def test_a_folder_or_a_dry_run(tmp_path: Path) -> None:
    """One of the two must be chosen."""
    suites = ["--train", "pypi-mini/train", "-e", "pypi-mini/test"]
    for chosen in ([], ["--dry-run", "--out", str(tmp_path)]):
        done = RUN.invoke(app, ["leakage", "filter", *suites, *chosen])
        assert done.exit_code == 2
