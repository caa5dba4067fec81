"""The full run's manifest, at both of its scales."""

import re
from pathlib import Path

import pytest

from harness.cli.app import app
from harness.config.load import parse_yaml
from harness.config.training import training_names
from harness.pipeline.cost import stage_costs, total
from harness.pipeline.experiment import Experiment
from harness.pipeline.load import load_pipeline
from harness.pipeline.manifest import Job, expand
from harness.pipeline.state import State
from tests.compose.conftest import ROOT

MANIFEST = ROOT / "manifests" / "pipelines" / "full.yaml"
SMALL = MANIFEST.parent / "full" / "small.yaml"


@pytest.fixture(params=["full", "small"])
def jobs(request: pytest.FixtureRequest) -> list[Job]:
    values = [SMALL] if request.param == "small" else []
    return expand(load_pipeline(MANIFEST, (), values), MANIFEST, Path("out"))


def test_small_values_are_values_of_the_manifest_and_leave_its_stages_alone() -> None:
    full, small = load_pipeline(MANIFEST), load_pipeline(MANIFEST, (), [SMALL])
    assert small.stages == full.stages
    assert set(full.values) == set(small.values)


def test_what_a_job_reads_is_made_by_one_that_it_waits_for(jobs: list[Job]) -> None:
    makers = {str(path): job.name for job in jobs for path in job.makes}
    waits = {job.name: set(job.needs) for job in jobs}
    for job in jobs:  # in the order of their stages
        waits[job.name] |= {one for before in job.needs for one in waits[before]}
        for made, maker in makers.items():
            named = re.search(re.escape(made) + r"(?![\w-])", " ".join(job.command))
            assert not named or maker == job.name or maker in waits[job.name], (job.name, made)


def test_every_file_and_method_that_it_names_is_there(jobs: list[Job]) -> None:
    assert all(path.is_file() for job in jobs for path in job.reads)
    trained = {job.command[2] for job in jobs if job.command[1] == "train"}
    assert trained <= set(training_names())
    known = {command.name for command in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    assert {job.command[1] for job in jobs} <= known


def test_the_report_has_every_policy_that_is_evaluated(jobs: list[Job]) -> None:
    report = parse_yaml(MANIFEST.parent / "full" / "report.yaml", Experiment)
    patterns = [pattern for policy in report.policies for pattern in policy.runs]
    tested = [path.relative_to("out") for job in jobs for path in job.makes if "test-" in path.name]
    for path in tested:
        assert sum(path.match(pattern) for pattern in patterns) == 1, path
    for pattern in patterns:
        assert any(path.match(pattern) for path in tested), pattern


def test_every_stage_of_the_full_run_has_a_price_and_every_assumption_a_use() -> None:
    loaded = load_pipeline(MANIFEST)
    jobs = expand(loaded, MANIFEST, Path("out"))
    for row in stage_costs(jobs, State(Path("nowhere"), jobs)):
        assert row["hours"] > 0, row
        assert row["dollars"] > 0, row
    before = total(stage_costs(jobs, State(Path("nowhere"), jobs)))
    for name, one in loaded.assumptions.items():
        assert one.source
        changed = load_pipeline(MANIFEST, [f"{name}={one.value * 3}"])
        others = expand(changed, MANIFEST, Path("out"))
        assert total(stage_costs(others, State(Path("nowhere"), others))) != before, name
