"""`harness pi` as users meet it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.pi import app
from tests.pi_extractors.cases import FILES, case
from tests.pi_extractors.trees import commit_tree

FAST = ("--source", "test_manifest", "--source", "gold_patch", "--source", "next_file")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent.sock")


@pytest.fixture
def given(tmp_path: Path) -> tuple[str, ...]:
    """Options naming a suite of one instance and the repository of it."""
    commit = commit_tree(tmp_path / "repos" / "owner__pkg", FILES)
    rows = tmp_path / "rows.jsonl"
    rows.write_text(case(base_commit=commit).model_dump_json(exclude_none=True) + "\n")
    return ("-s", str(rows), "--repos", str(tmp_path / "repos"))


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    return result.exit_code, result.output


def test_sources() -> None:
    code, said = run("sources")
    assert code == 0
    assert "gold_patch     oracle" in said
    code, said = run("sources", "--json")
    assert len(json.loads(said)) == 5


def test_extract_show_stats(given: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "pi.jsonl"
    code, said = run("extract", *given, *FAST, "--out", out)
    assert code == 0, said
    assert "1 base commit, from a local repository" in said
    assert "1 instances: 3 records made, 0 kept, 0 instances with problems" in said
    code, said = run("extract", *given, *FAST, "--out", out, "--json")
    assert json.loads(said[said.index("[") :])[0]["kept"] == 3

    code, said = run("show", out, "-i", "owner__pkg-1", "--source", "next_file")
    assert code == 0
    assert "── next_file (oracle, step 0): " in said
    assert "pkg/core.py" in said
    assert run("show", out, "-i", "nobody")[0] == 2

    code, said = run("stats", out)
    assert code == 0
    assert "tokens as estimate/1 counts" in said


def test_dry_run_writes_nothing(given: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "pi.jsonl"
    code, said = run("extract", *given, "--out", out, "--dry-run")
    assert code == 0, said
    assert "1 base commit, from a local repository" in said
    assert not out.exists()


def test_tiers_choose_sources(given: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "pi.jsonl"
    code, said = run("extract", *given, "--tier", "oracle", "--out", out)
    assert code == 0, said
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert {record["tier"] for record in records} == {"oracle"}
    assert len(records) == 2


def test_an_instance_that_fails_is_an_exit_code(given: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "pi.jsonl"
    code, said = run("extract", *given[:2], *FAST, "--out", out)
    assert code == 1
    assert "--repos" in said
    assert len(out.read_text().splitlines()) == 1, "the gold patch needs no repository"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--source", "gold_pach"), "no source 'gold_pach', only"),
        (("--source", "gold_answer"), "choose among"),
        (("--source", "gold_patch", "--tier", "deployable"), "choose among"),
        (("--budget", "gold_patch"), "give SOURCE=TOKENS"),
        (("--budget", "gold_patch=-1"), "give SOURCE=TOKENS"),
    ],
)
def test_bad_options(given: tuple[str, ...], arguments: tuple[str, ...], said: str) -> None:
    code, output = run("extract", *given, *arguments)
    assert code == 2
    assert said in " ".join(output.replace("│", " ").split())
