"""Whatever a run lacks is named; nothing is dropped or counted twice."""

import json
from pathlib import Path

import pytest

from harness.records import RunFolder, StopReason, Verdict
from harness.reports.load import load_run, load_runs
from harness.reports.run import Run, Status
from tests.reports.report_builder import RunBuilder, make_instances


def statuses(run: Run) -> list[Status]:
    return [entry.status for entry in run.entries.values()]


def test_a_complete_run_has_every_attempt(tmp_path: Path) -> None:
    build = RunBuilder(tmp_path / "gold", "gold", make_instances(3), seeds=(0, 1))
    build.everywhere(lambda _, __: Verdict.RESOLVED)
    run = load_run(build.folder)
    assert (run.name, run.expected, run.attempted, run.graded, run.complete) == (
        "gold",
        6,
        6,
        6,
        True,
    )
    assert statuses(run) == [Status.RESOLVED] * 6
    assert not [p for p in run.problems if "scores.json" not in p]


def test_attempts_not_made_not_graded_and_failed_all_show(tmp_path: Path) -> None:
    one, two, three, four = instances = make_instances(4)
    build = RunBuilder(tmp_path / "run", "mini", instances)
    build.attempt(one)
    build.grade(one, verdict=Verdict.UNRESOLVED)
    build.attempt(two)
    build.attempt(three, stop=StopReason.INFRASTRUCTURE)
    run = load_run(build.folder)
    assert statuses(run) == [
        Status.UNRESOLVED,
        Status.UNGRADED,
        Status.INFRA_FAILURE,
        Status.NOT_RUN,
    ]
    assert (run.attempted, run.graded, run.expected, run.complete) == (3, 1, 4, False)
    assert run.entries[three.id, 0].infrastructure
    assert run.entries[four.id, 0].attempt is None


def test_an_unreadable_record_is_shown_with_its_file_and_field(tmp_path: Path) -> None:
    (instance,) = make_instances(1)
    build = RunBuilder(tmp_path / "run", "mini", [instance])
    build.attempt(instance)
    path = build.folder.attempt(instance.id, 0) / "attempt.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "seed": "x"}))
    entry = load_run(build.folder).entries[instance.id, 0]
    assert entry.status is Status.UNREADABLE
    assert entry.problems[0].startswith(f"attempts/{instance.instance_id}/0/attempt.json: seed: ")


def test_a_record_of_another_attempt_does_not_count(tmp_path: Path) -> None:
    one, two = instances = make_instances(2)
    build = RunBuilder(tmp_path / "run", "mini", instances)
    build.everywhere(lambda _, __: Verdict.RESOLVED)
    for kind, name in (("attempts", "attempt.json"), ("grades", "grade.json")):
        text = (build.root / kind / one.id / "0" / name).read_text()
        (build.root / kind / two.id / "0" / name).write_text(text)
    run = load_run(build.folder)
    assert statuses(run) == [Status.RESOLVED, Status.UNREADABLE]
    assert len(run.entries[two.id, 0].problems) == 2


def test_a_grade_of_another_patch_is_said(tmp_path: Path) -> None:
    (instance,) = make_instances(1)
    build = RunBuilder(tmp_path / "run", "mini", [instance])
    build.attempt(instance)
    build.grade(instance)
    build.attempt(instance, patch="other\n")
    (problem,) = load_run(build.folder).entries[instance.id, 0].problems
    assert "another patch" in problem


def test_attempts_outside_the_suite_show_but_do_not_count(tmp_path: Path) -> None:
    *instances, stranger = make_instances(3)
    build = RunBuilder(tmp_path / "run", "mini", instances)
    build.everywhere(lambda _, __: Verdict.RESOLVED)
    build.attempt(stranger)
    build.attempt(instances[0], seed=7)
    run = load_run(build.folder)
    assert (run.expected, run.attempted) == (2, 2)
    assert len(run.entries) == 4
    assert any(stranger.instance_id in problem for problem in run.problems)


def test_drafts_of_attempts_in_flight_are_not_attempts(tmp_path: Path) -> None:
    (instance,) = make_instances(1)
    build = RunBuilder(tmp_path / "run", "mini", [instance])
    build.attempt(instance)
    folder = build.folder.attempt(instance.id, 0)
    folder.rename(folder.with_name(".0.4711"))
    run = load_run(build.folder)
    assert statuses(run) == [Status.NOT_RUN]
    assert not [p for p in run.problems if "scores.json" not in p]


def test_without_instances_the_attempts_still_show(tmp_path: Path) -> None:
    (instance,) = make_instances(1)
    build = RunBuilder(tmp_path / "run", "mini", [instance])
    build.everywhere(lambda _, __: Verdict.RESOLVED)
    build.folder.suite.unlink()
    build.folder.config.write_text("[not, keys]")
    build.folder.lock.write_text("{")
    run = load_run(build.folder)
    assert statuses(run) == [Status.RESOLVED]
    assert not run.complete
    text = "\n".join(run.problems)
    for expected in ("instances.jsonl is missing", "run.yaml: expected keys", "lock.json: "):
        assert expected in text


def test_a_bad_or_repeated_row_is_named_by_line(tmp_path: Path) -> None:
    one, two = make_instances(2)
    build = RunBuilder(tmp_path / "run", "mini", [one, two, one])
    with build.folder.suite.open("a") as file:
        file.write('{"instance_id": "x"}\n')
    run = load_run(build.folder)
    assert list(run.instances) == [one.id, two.id]
    text = "\n".join(run.problems)
    assert f"line 3: {one.id} again" in text
    assert "line 4: " in text


def test_links_out_of_the_run_are_not_followed(tmp_path: Path) -> None:
    (instance,) = make_instances(1)
    build = RunBuilder(tmp_path / "run", "mini", [instance])
    build.attempt(instance)
    (tmp_path / "outside.yaml").write_text("secret: 1\n")
    build.folder.config.unlink()
    build.folder.config.symlink_to(tmp_path / "outside.yaml")
    run = load_run(build.folder)
    assert run.config == {}
    assert any("leads out of the run folder" in problem for problem in run.problems)


def test_the_same_run_given_twice_is_one_run(tmp_path: Path) -> None:
    folder = RunBuilder(tmp_path / "a", "mini", make_instances(1)).folder
    other = RunBuilder(tmp_path / "b", "mini", make_instances(1)).folder
    runs = load_runs([folder, RunFolder(tmp_path / "b" / ".." / "a"), other])
    assert [run.name for run in runs] == ["mini (a)", "mini (b)"]


def test_a_run_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_run(RunFolder(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="at least one run"):
        load_runs([])


def test_refused_input_is_read_and_a_broken_line_is_said(tmp_path: Path) -> None:
    build = RunBuilder(tmp_path / "run", "mini", make_instances(1))
    path = build.root / "refused.jsonl"
    path.write_text('{"what": "row 3", "why": "malformed row"}\n\n{"odd": 1}\n')
    run = load_run(build.folder)
    assert run.refused == (("row 3", "malformed row"), ("{'odd': 1}", "no reason recorded"))
    path.write_text('{"what": "row 3", "why": "malformed row"}\n{"wh')
    run = load_run(build.folder)
    assert run.refused == (("row 3", "malformed row"),)
    assert any(problem.startswith("refused.jsonl: ") for problem in run.problems)
