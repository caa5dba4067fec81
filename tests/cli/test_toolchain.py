"""`harness toolchain` on a toolchain in miniature."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harness.cli.errors import USER_ERRORS
from harness.cli.toolchain import app
from harness.environments.toolchain_tree import seal
from tests.environments.toolchain_bench import fill


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "tree"
    monkeypatch.setenv("HARNESS_TOOLCHAIN", str(root))
    monkeypatch.setenv("DOCKER_HOST", "unix:///none")
    return root


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_build_keeps_what_is_there_and_prints_versions(root: Path) -> None:
    digest = seal(fill(root))
    result = run("build")
    assert result.exit_code == 0
    assert digest in result.stdout
    assert "openhands-sdk           1.58.0" in result.stdout
    assert json.loads(run("build", "--json").stdout)["digest"] == digest


def test_verify_without_a_toolchain_says_how_to_build_it(root: Path) -> None:
    result = run("verify")
    assert isinstance(result.exception, USER_ERRORS)
    assert "harness toolchain build" in str(result.exception)


def test_verify_fails_and_names_the_file(root: Path) -> None:
    seal(fill(root))
    (root / "lib/python3.13/os.py").write_text("tampered")
    result = run("verify")
    assert result.exit_code == 1
    assert "FAIL  files" in result.stdout
    assert "lib/python3.13/os.py was changed" in result.stdout
    report = json.loads(run("verify", "--json").stdout)
    assert report["ok"] is False
    assert report["checks"][0]["problems"] == ["lib/python3.13/os.py was changed"]
