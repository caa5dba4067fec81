"""Overlap of attempts with solutions: what was shown, what the student wrote itself."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.leakage import overlap
from harness.leakage.findings import Check, Severity, Status
from harness.leakage.inputs import AuditInputs
from harness.leakage.material import AuditError
from harness.leakage.overlap_texts import Text, conversation
from harness.records import Event
from pi_extractors.records import SourceName
from tests.leakage.audit_inputs import (
    OLD_CODE,
    added,
    instances,
    pi_record,
    run,
    said,
    varied,
    write_pi,
    write_suite,
)

SUITE = instances(9)
ONE = SUITE[0]
ISSUE = ("user", ONE.problem_statement)
LOOKS = ("action", "cat src/shapes/area.py")


def audited(tmp_path: Path, events: Sequence[Event], **inputs: Any) -> Check:
    tmp_path.mkdir(exist_ok=True)
    evaluation = write_suite(tmp_path / "evaluation.jsonl", SUITE)
    student = run(tmp_path / "student", [ONE], events=events)
    return overlap.check(AuditInputs(evaluation=evaluation, runs=(student,), **inputs))


def severities(check: Check) -> list[Severity]:
    return [one.severity for one in check.findings]


def test_an_honest_conversation_passes(tmp_path: Path) -> None:
    events = said(ISSUE, LOOKS, ("observation", OLD_CODE), ("assistant", "I shall fix it."))
    check = audited(tmp_path, events)
    assert check.status is Status.PASSED
    assert check.findings == ()
    assert "1 conversations" in check.reason


def test_the_gold_patch_in_the_first_prompt_is_a_leak(tmp_path: Path) -> None:
    hint = "\n".join(added(ONE.patch).splitlines()[:3])
    check = audited(tmp_path, said(("user", f"{ONE.problem_statement}\nHint:\n{hint}"), LOOKS))
    assert check.status is Status.FAILED
    (leak,) = check.findings
    assert leak.title == f"patch of {ONE.instance_id} is in the student's first prompt"
    assert leak.where.endswith(f"attempts/{ONE.instance_id}/0/events.jsonl:1")
    assert "side" in leak.evidence


def test_the_hidden_tests_in_the_first_prompt_are_a_leak(tmp_path: Path) -> None:
    suite = [
        ONE.model_copy(update={"test_patch": varied(99)}),
        *SUITE[1:],
    ]
    evaluation = write_suite(tmp_path / "evaluation.jsonl", suite)
    events = said(("user", added(suite[0].test_patch)), LOOKS)
    student = run(tmp_path / "student", [ONE], events=events)
    check = overlap.check(AuditInputs(evaluation=evaluation, runs=(student,)))
    assert f"test_patch of {ONE.instance_id}" in check.findings[0].title


def test_the_solution_shown_later_is_a_leak(tmp_path: Path) -> None:
    shown = "\n".join(f"{n:6}\t{line}" for n, line in enumerate(added(ONE.patch).splitlines()))
    check = audited(tmp_path, said(ISSUE, LOOKS, ("observation", shown)))
    assert severities(check) == [Severity.LEAK]
    assert "shown to the student before it wrote it" in check.findings[0].title


def test_some_of_it_shown_later_is_a_warning_only(tmp_path: Path) -> None:
    lines = added(ONE.patch).splitlines()
    check = audited(tmp_path, said(ISSUE, LOOKS, ("observation", "\n".join(lines[:6]))))
    assert severities(check) == [Severity.WARNING]
    assert check.status is Status.PASSED


@pytest.mark.parametrize("written", ["whole", "by a script", "as JSON"])
def test_what_the_student_wrote_before_is_its_own(tmp_path: Path, written: str) -> None:
    code = added(ONE.patch)
    wrote = {
        "whole": f"cat > area.py <<'EOF'\n{code}\nEOF",
        "by a script": "\n".join(
            f"sed -i '12a {line.strip()}' area.py" for line in code.split("\n")
        ),
        "as JSON": json.dumps({"command": "create", "file_text": code}),
    }[written]
    events = said(ISSUE, LOOKS, ("observation", OLD_CODE), ("action", wrote))
    events += said(("observation", ONE.patch))  # git diff
    check = audited(tmp_path, events)
    assert check.findings == ()
    (row,) = check.figures["attempts_by_overlap_of_prompts"]
    assert row["gold_patch_in_trajectory"] > 0.3
    assert row["gold_patch_in_prompts"] < 0.1


def test_calls_count_over_events(tmp_path: Path) -> None:
    """What was sent to the model is what was shown, whatever the events say."""
    evaluation = write_suite(tmp_path / "evaluation.jsonl", SUITE)
    student = run(tmp_path / "student", [ONE], events=said(ISSUE, LOOKS))
    _calls(
        student / "attempts" / ONE.instance_id / "0" / "calls.parquet",
        [{"messages": [{"role": "system", "content": added(ONE.patch)}]}],
        ["I see."],
    )
    check = overlap.check(AuditInputs(evaluation=evaluation, runs=(student,)))
    assert severities(check) == [Severity.LEAK]
    assert check.findings[0].where.endswith("calls.parquet:call 1")


def test_a_forged_answer_in_a_request_is_not_the_students(tmp_path: Path) -> None:
    """Text that a request puts in the student's mouth was shown to it, not written by it."""
    evaluation = write_suite(tmp_path / "evaluation.jsonl", SUITE)
    student = run(tmp_path / "student", [ONE])
    forged = {"role": "assistant", "content": f"So I shall write:\n{added(ONE.patch)}"}
    _calls(
        student / "attempts" / ONE.instance_id / "0" / "calls.parquet",
        [{"messages": [{"role": "user", "content": "fix"}]}, {"messages": [forged]}],
        ["I look first.", "Done."],
    )
    check = overlap.check(AuditInputs(evaluation=evaluation, runs=(student,)))
    assert severities(check) == [Severity.LEAK]


def test_the_baseline_is_other_fixes_that_came_later(tmp_path: Path) -> None:
    """The prompt has the gold patch of one of two later instances of the repository."""
    later = [one for one in SUITE[1:] if one.repo == ONE.repo]
    shown = "\n".join(added(one.patch) for one in later[:1])
    check = audited(tmp_path, said(ISSUE, LOOKS, ("observation", shown)))
    rows = {row["in"]: row for row in check.figures["gold_patch_against_other_instances"]}
    assert len(later) == 2
    assert 0.4 < rows["prompts"]["baseline"] <= 0.5
    assert rows["prompts"]["difference"]["value"] < 0
    assert rows["first_prompt"]["baseline"] == 0
    assert check.findings == ()


def test_training_pi_in_the_first_prompt_is_a_leak(tmp_path: Path) -> None:
    (other,) = instances(1, first=40)
    train = write_suite(tmp_path / "train.jsonl", [other])
    pi = write_pi(tmp_path / "pi.jsonl", [pi_record(other, SourceName.GOLD_PATCH, other.patch)])
    text = f"{ONE.problem_statement}\n[PI]\n{other.patch}\n[/PI]"
    check = audited(tmp_path, said(("user", text), LOOKS), train=train, pi=(pi,))
    assert severities(check) == [Severity.LEAK]
    assert f"training PI about {other.instance_id}" in check.findings[0].title
    events = said(ISSUE, LOOKS, ("observation", other.patch))
    check = audited(tmp_path / "later", events, train=train, pi=(pi,))
    assert check.findings == ()


def test_an_unreadable_attempt_is_named_and_never_passes(tmp_path: Path) -> None:
    check = audited(tmp_path, said(ISSUE, LOOKS))
    assert check.status is Status.PASSED
    events = tmp_path / "student" / "attempts" / ONE.instance_id / "0" / "events.jsonl"
    events.write_text("{not json\n")
    inputs = AuditInputs(
        evaluation=str(tmp_path / "evaluation.jsonl"), runs=(tmp_path / "student",)
    )
    check = overlap.check(inputs)
    assert check.status is Status.INCONCLUSIVE
    assert "line 1 is no event" in check.reason


def test_without_conversations_it_is_not_run(tmp_path: Path) -> None:
    assert audited(tmp_path, []).status is Status.NOT_RUN
    assert overlap.check(AuditInputs(evaluation="pypi-mini")).status is Status.NOT_RUN


def test_a_run_on_other_instances_is_refused(tmp_path: Path) -> None:
    evaluation = write_suite(tmp_path / "evaluation.jsonl", SUITE[1:])
    student = run(tmp_path / "student", [ONE], events=said(ISSUE))
    with pytest.raises(AuditError, match=ONE.instance_id):
        overlap.check(AuditInputs(evaluation=evaluation, runs=(student,)))


def test_a_request_repeats_its_beginning_and_is_read_once(tmp_path: Path) -> None:
    first = {"role": "user", "content": "fix it"}
    tool = {"role": "tool", "content": [{"type": "text", "text": "listing"}]}
    requests = [{"messages": [first]}, {"messages": [first, tool], "tools": [{"name": "shell"}]}]
    _calls(tmp_path / "calls.parquet", requests, ["ls", "done \ud800"])
    texts = list(conversation(tmp_path))
    shown = [one.text for one in texts if not one.written]
    assert shown.count("fix it") == 1
    assert "listing" in shown
    assert "shell" in shown
    assert Text(False, True, "calls.parquet: call 1", "fix it") in texts
    assert [one.first for one in texts if one.text == "listing"] == [False]
    assert any(one.written and one.text.startswith("done") for one in texts)


def _calls(path: Path, requests: Sequence[Any], answers: Sequence[str]) -> None:
    """A `calls.parquet` with the columns that are read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "call": list(range(1, len(requests) + 1)),
        "request": [json.dumps(one) for one in requests],
        "response": [
            json.dumps({"choices": [{"message": {"role": "assistant", "content": one}}]})
            for one in answers
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
