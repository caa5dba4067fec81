"""Instances of a tiny package, made with real sandboxes."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.config import ConfigError
from harness.datagen import edit_bugs_trial
from harness.datagen.synthesis.manifest import load_order
from harness.datagen.synthesis.settings import Settings
from harness.datagen.synthesis.sources import Source, find_source
from harness.datagen.synthesis.suite import count_candidates, synthesise
from harness.datagen.synthesis.yields import PackageYield
from harness.datagen.trial import run_tests
from harness.environments.process_images import build_process_image
from harness.environments.recipe import load_recipes
from harness.records import Instance
from harness.sandboxes.process import ProcessProvider
from harness.suites.load import load_suite
from tests.datagen import small_package
from tests.environments import fake_sdist

MOODY = """

def test_moody():
    import pathlib

    runs = pathlib.Path("/tmp/moody")
    runs.write_text(runs.read_text() + "x" if runs.exists() else "x")
    assert len(runs.read_text()) % 2
"""
MORE = "from pkg import clamp\n\n\ndef test_more():\n    assert clamp(3, 1, 5) == 3\n"
FILES = {
    **small_package.FILES,
    "tests/test_pkg.py": (small_package.TESTS + MOODY).encode(),
    "tests/test_more.py": MORE.encode(),
    "pytest.ini": b"[pytest]\naddopts = --color=yes\n",
}
SETTINGS = Settings(
    seed="s", operators=("mutation", "guard", "arguments"), instances=6, candidates=40
)


class Made:
    """What a start made, and what another one needs."""

    def __init__(self, folder: Path) -> None:
        self.cache, self.out = folder / "cache", folder / "out"
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(small_package, "FILES", FILES)
            self.recipe = small_package.recipe(self.cache)
        assert self.recipe.sdist
        archive = folder / "pkg-1.0.tar.gz"
        archive.write_bytes(fake_sdist.archive(FILES))
        found = find_source(str(archive), self.cache)
        self.source: Source = found.model_copy(update={"repo": "owner/pkg"})
        self.provider = ProcessProvider(self.cache / "sandboxes")
        self.result = self.start(self.out)

    def start(self, out: Path, settings: Settings = SETTINGS, workers: int = 1) -> PackageYield:
        (result,) = synthesise(
            [self.source],
            settings,
            out,
            known={("owner", "1.0"): self.recipe},
            provider=self.provider,
            cache=self.cache,
            workers=workers,
        )
        return result

    def rows(self, out: Path) -> list[Instance]:
        return list(load_suite(str(out / "instances.jsonl")).instances)

    def lines(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.out / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(edit_bugs_trial, "LEAST_SECONDS", 1)
        return Made(tmp_path_factory.mktemp("made"))


def test_rows_are_instances_with_recipes_and_details(made: Made) -> None:
    rows = made.rows(made.out)
    assert len(rows) == made.result.instances == 6
    assert load_recipes(made.cache / "recipes")["owner/pkg", "1.0"] == made.recipe
    details = made.lines("details.jsonl")
    assert [one["instance_id"] for one in details] == [row.instance_id for row in rows]
    assert {one["operator"] for one in details} >= {"guard", "mutation"}
    for row in rows:
        assert row.FAIL_TO_PASS
        assert row.PASS_TO_PASS
        assert not set(row.FAIL_TO_PASS) & set(row.PASS_TO_PASS)
        names = {test.partition("[")[0].rpartition("::")[2] for test in row.FAIL_TO_PASS}
        assert not any(name in row.problem_statement.split() for name in names)


def test_a_row_holds_as_the_benchmark_evaluates_it(made: Made) -> None:
    row = made.rows(made.out)[0]
    image = str(build_process_image(row, made.recipe, made.cache, print))
    before = run_tests(row, image, made.provider, fixed=False)
    after = run_tests(row, image, made.provider, fixed=True)
    assert {before[test] for test in row.FAIL_TO_PASS} <= {"FAILED", "ERROR"}
    assert {after[test] for test in (*row.FAIL_TO_PASS, *row.PASS_TO_PASS)} == {"PASSED"}
    assert {before[test] for test in row.PASS_TO_PASS} == {"PASSED"}


def test_tests_that_do_not_always_pass_are_in_no_list(made: Made) -> None:
    assert made.result.unsteady == 1
    for row in made.rows(made.out):
        lists = (*row.FAIL_TO_PASS, *row.PASS_TO_PASS)
        for name in ("test_moody", "test_broken", "test_skipped", "with space"):
            assert not any(name in test for test in lists)


def test_yields_count_every_candidate(made: Made) -> None:
    result = made.result
    assert sum(result.outcomes.values()) == result.tried
    assert result.outcomes["instance"] == 6
    per_operator = [sum(found.values()) for found in result.operators.values()]
    assert sum(per_operator) == result.tried
    stats = json.loads((made.out / "stats.json").read_text())
    assert stats["instances"] == 6
    assert stats["operators"]["mutation"]["tried"] == sum(result.operators["mutation"].values())


def test_bugs_of_a_function_that_the_same_tests_show_are_one(made: Made, tmp_path: Path) -> None:
    every = SETTINGS.model_copy(update={"instances": 40})
    result = made.start(tmp_path / "out", every)
    rows = {row.instance_id: row for row in made.rows(tmp_path / "out")}
    details = (tmp_path / "out" / "details.jsonl").read_text().splitlines()
    shown = [
        (one["function"], rows[one["instance_id"]].FAIL_TO_PASS)
        for one in (json.loads(line) for line in details)
    ]
    assert result.outcomes["duplicate"] > 0
    assert len(set(shown)) == len(shown)


def test_a_second_start_runs_nothing_and_writes_the_same(made: Made) -> None:
    before = (made.out / "instances.jsonl").read_bytes()
    (journal,) = made.out.glob("packages/*/tried.jsonl")
    known = journal.read_bytes()
    made.start(made.out)
    assert journal.read_bytes() == known
    assert (made.out / "instances.jsonl").read_bytes() == before


def test_a_cut_journal_is_continued_to_the_same_rows(made: Made, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "packages" / made.source.slug
    folder.mkdir(parents=True)
    (before,) = made.out.glob("packages/*")
    (folder / "survey.json").write_bytes((before / "survey.json").read_bytes())
    lines = (before / "tried.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "tried.jsonl").write_bytes(b"".join(lines[:5]) + lines[5][:40])
    made.start(tmp_path / "out", workers=2)
    assert made.rows(tmp_path / "out") == made.rows(made.out)
    lines_now = (folder / "tried.jsonl").read_bytes().splitlines(keepends=True)
    assert lines_now[:5] == lines[:5]
    assert json.loads(lines_now[5])


def test_other_settings_need_another_folder(made: Made) -> None:
    with pytest.raises(ConfigError, match="instances is 6, now 7"):
        made.start(made.out, SETTINGS.model_copy(update={"instances": 7}))


def test_a_package_without_enough_tests_says_so(made: Made, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("harness.datagen.synthesis.package.LEAST_TESTS", 1000)
        result = made.start(tmp_path / "out")
    assert "tests pass in every run, at least 1000 are needed" in result.problem
    assert made.rows(made.out)
    assert (tmp_path / "out" / "instances.jsonl").read_text() == ""


def test_candidates_are_counted_without_running(made: Made) -> None:
    (counts,) = count_candidates([made.source], SETTINGS, made.cache).values()
    assert set(counts) == {"mutation", "guard", "arguments"}
    assert counts.total() >= made.result.tried


def test_a_manifest_stands_alone_and_its_keys_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "order.yaml"
    path.write_text("sources: [a==1]\nsettings: {instances: 3}\n")
    order = load_order([str(path)], {"seed": "x"})
    assert (order.settings.instances, order.settings.seed) == (3, "x")
    with pytest.raises(ConfigError, match="stands alone"):
        load_order([str(path), "b==1"], {})
    with pytest.raises(ConfigError, match="no operator magic"):
        load_order(["a==1"], {"operators": ("magic",)})
    path.write_text("source: [a==1]\n")
    with pytest.raises(ConfigError, match=r"order\.yaml"):
        load_order([str(path)], {})


def test_the_command_counts(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    options = ["--out", str(tmp_path / "o"), "--dry-run", "--json", "--operators", "guard"]
    done = CliRunner().invoke(app, ["datagen", "instances", made.source.given, *options])
    assert done.exit_code == 0, done.output
    (line,) = [json.loads(one) for one in done.stdout.splitlines()]
    assert line["operators"] == {"guard": line["candidates"]}
    assert not (tmp_path / "o").exists()
