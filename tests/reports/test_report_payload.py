"""What the viewer gets: bounded, complete, and packed so that it cannot end its element."""

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from harness.records import Event, Finding, Verdict
from harness.reports.caps import Caps
from harness.reports.load import load_run
from harness.reports.payload import attempt_payload, instance_payload, pack, script_json
from tests.reports.report_builder import RunBuilder, conversation, make_instances


def payload(build: RunBuilder, caps: Caps | None = None, *, full: bool = True) -> dict[str, Any]:
    run = load_run(build.folder)
    (entry, *_) = run.entries.values()
    instance = run.instances.get(entry.instance_id)
    return attempt_payload(run, entry, instance, caps or Caps(), full=full)


@pytest.fixture
def build(tmp_path: Path) -> RunBuilder:
    return RunBuilder(tmp_path / "run", "mini", make_instances(1))


def test_script_json_cannot_end_its_element() -> None:
    hostile = {"text": "</script><!--<script>&\u2028\u2029"}
    text = script_json(hostile)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == hostile


def test_packed_data_is_plain_base64() -> None:
    hostile = {"text": "</script>\x00\u202e"}
    packed = pack(hostile)
    assert packed.replace("+", "").replace("/", "").rstrip("=").isalnum()
    assert json.loads(gzip.decompress(base64.b64decode(packed))) == hostile
    assert pack(hostile) == packed


def test_an_attempt_has_everything_and_names_its_files(build: RunBuilder) -> None:
    (instance,) = build.instances
    build.attempt(instance, events=conversation(3))
    finding = Finding(code="touches-tests", text="edits tests/test_area.py")
    build.grade(instance, verdict=Verdict.UNRESOLVED, findings=[finding], log="1 failed\n")
    shown = payload(build)
    assert shown["status"] == "unresolved"
    assert shown["trajectory"]["total"] == len(shown["trajectory"]["events"]) == 12
    assert shown["findings"] == [("touches-tests", "edits tests/test_area.py")]
    assert shown["tests"]["not_passed"] == [("tests/test_area.py::test_square", "FAILED")]
    assert shown["log"] == {"head": "1 failed\n"}
    assert shown["log_file"] == f"run/grades/{instance.instance_id}/0/eval.log"
    assert ("Stop reason", "finished") in shown["facts"]


def test_a_test_that_never_ran_is_not_called_passed(build: RunBuilder) -> None:
    (instance,) = build.instances
    build.attempt(instance)
    build.grade(instance)
    path = build.folder.grade(instance.id, 0) / "grade.json"
    grade = json.loads(path.read_text())
    del grade["tests"][instance.PASS_TO_PASS[0]]
    path.write_text(json.dumps(grade))
    assert payload(build)["tests"]["not_passed"] == [(instance.PASS_TO_PASS[0], "NOT RUN")]


def test_long_trajectories_keep_head_and_tail(build: RunBuilder) -> None:
    (instance,) = build.instances
    events = [Event(step=n, seconds=n, kind="note", text=f"event {n}") for n in range(1000)]
    build.attempt(instance, events=events)
    shown = payload(build, Caps(events=40))["trajectory"]
    assert shown["total"] == 1000
    assert [e["step"] for e in shown["events"]] == [*range(30), *range(990, 1000)]
    assert shown["cut"] == {"events": "960", "at": 30}


def test_the_characters_of_a_trajectory_are_bounded(build: RunBuilder) -> None:
    (instance,) = build.instances
    events = [Event(step=n, seconds=n, kind="note", text="x" * 500) for n in range(100)]
    build.attempt(instance, events=events)
    shown = payload(build, Caps(trajectory_characters=8192))["trajectory"]
    assert sum(len(e["text"]["head"]) for e in shown["events"]) <= 8192
    assert [e["step"] for e in shown["events"]] == [*range(12), *range(96, 100)]


def test_a_huge_event_is_clipped_and_a_broken_line_is_shown(build: RunBuilder) -> None:
    (instance,) = build.instances
    build.attempt(instance, events=[Event(step=1, seconds=1, kind="note", text="y" * 5_000_000)])
    path = build.folder.attempt(instance.id, 0) / "events.jsonl"
    with path.open("ab") as file:
        file.write(b'\n{"step":2,"seconds":2,"kind":"note","text":"half a surrogate \\ud800"}\n')
        file.write(b'{"step":3,"seconds":3,"ki')
    huge, surrogate, torn = payload(build)["trajectory"]["events"]
    assert huge["text"]["cut"] == f"{5_000_000 - Caps().event_characters:,} characters"
    assert surrogate["text"]["head"] == "half a surrogate ?"
    assert torn["kind"] == "unreadable"
    assert "line 4 is not an event" in torn["text"]["head"]


def test_over_the_size_limit_verdict_and_patch_stay(build: RunBuilder) -> None:
    (instance,) = build.instances
    build.attempt(instance, events=conversation(3))
    build.grade(instance)
    shown = payload(build, full=False)
    assert shown["status"] == "resolved"
    assert shown["patch"]["head"]
    assert (shown["trajectory"]["events"], shown["log"]) == ([], None)
    assert "size limit" in shown["problems"][0]


def test_a_log_that_leads_out_of_the_run_is_not_read(build: RunBuilder, tmp_path: Path) -> None:
    (instance,) = build.instances
    build.attempt(instance)
    build.grade(instance)
    (tmp_path / "secret").write_text("hidden")
    log = build.folder.grade(instance.id, 0) / "eval.log"
    log.unlink()
    log.symlink_to(tmp_path / "secret")
    shown = payload(build)
    assert shown["log"] is None
    assert "leads out" in shown["problems"][0]


def test_an_instance_carries_problem_gold_and_tests(build: RunBuilder) -> None:
    run = load_run(build.folder)
    (instance,) = build.instances
    shown = instance_payload(instance, run, Caps())
    assert "\r" not in shown["problem"]["head"]
    assert shown["gold"]["head"] == instance.patch
    assert shown["fail_to_pass"] == ["tests/test_area.py::test_square"]
