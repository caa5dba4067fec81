"""`harness env`: pin, verify, lint and prune, as a user runs them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.environments import images as images_module
from harness.environments import pin as pin_module
from harness.environments import verify as verify_module
from harness.environments.process_images import build_process_image
from tests.environments import fake_sdist as fake

PROCESS = ["--sandbox", "process"]


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options that name a suite of one instance, whose process image is in the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    cache = tmp_path / "home" / "swe-harness"
    cache.mkdir(parents=True)
    recipe = fake.put_in_cache(cache)
    for module in (images_module, pin_module, verify_module):
        monkeypatch.setattr(module, "known_recipes", lambda: {("owner/pkg", "1.0"): recipe})
    build_process_image(fake.instance(), recipe, cache, lambda text: None)
    rows = tmp_path / "rows.jsonl"
    rows.write_text(fake.instance().model_dump_json(exclude_none=True) + "\n")
    return ["-s", str(rows), *PROCESS]


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["env", *arguments])
    assert result.exit_code == code, result.output
    return result.stdout


def test_an_image_is_pinned_verified_and_found_changed(suite: list[str], tmp_path: Path) -> None:
    lock = ["--lock", str(tmp_path / "lock.jsonl")]
    assert "1 of 1 images pinned" in run("pin", *suite, *lock)
    assert "1 of 1 images are rebuilt as lock.jsonl says" in run("verify", *suite, *lock)
    (source,) = (tmp_path / "home/swe-harness/images").glob("*/testbed/pkg.py")
    source.write_text("def answer():\n    return 43\n")
    said = run("verify", *suite, *lock, "--no-rebuild", code=1)
    assert "differs  owner__pkg-1" in said
    assert "  tree: locked sha256:" in said
    shown = json.loads(run("verify", *suite, *lock, "--no-rebuild", "--json", code=1))
    assert shown[0]["difference"]["fields"][0]["field"] == "tree"


def test_lint_passes_a_clean_image_and_fails_a_leaking_one(
    suite: list[str], tmp_path: Path
) -> None:
    assert "1 of 1 images pass" in run("lint", *suite)
    (git,) = (tmp_path / "home/swe-harness/images").glob("*/testbed/.git")
    (git / "notes.txt").write_text(fake.PATCH)
    assert "git-state" in run("lint", *suite, "--no-egress", code=1)
    shown = json.loads(run("lint", *suite, "--no-egress", "--json", code=1))
    assert shown["reports"][0]["findings"][0]["severity"] == "error"


def test_prune_shows_first_and_removes_then(suite: list[str], tmp_path: Path) -> None:
    images = tmp_path / "home/swe-harness/images"
    assert "folder" in run("prune", "--all", *PROCESS, "--dry-run")
    assert list(images.iterdir())
    run("prune", "--disk-budget", "10GB", *PROCESS)
    assert list(images.iterdir())
    run("prune", "--all", *PROCESS)
    assert not list(images.iterdir())


def test_prune_wants_one_of_two_options(suite: list[str]) -> None:
    run("prune", code=2)
    run("prune", "--all", "--disk-budget", "1GB", code=2)


def test_what_is_not_built_is_missing(suite: list[str], tmp_path: Path) -> None:
    run("prune", "--all", *PROCESS)
    lock = ["--lock", str(tmp_path / "lock.jsonl")]
    assert "missing  owner__pkg-1: build it with" in run("pin", *suite, *lock, code=1)
    assert "0 of 0 images pass" in run("lint", *suite, code=1)
