"""The canary check: every sink that a student can see, and what is allowed where."""

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.leakage.canaries import check
from harness.leakage.canaries_plant import plant
from harness.leakage.findings import Check, Severity, Status
from harness.leakage.inputs import AuditInputs
from harness.leakage.ledger import Ledger, LedgerError
from harness.records import Instance
from harness.suites.load import Suite, load_suite, rows_sha256
from pi_extractors.records import PIRecord, Provenance, SourceName, Tier
from tests.conftest import make_instance
from tests.leakage.student_run import add_attempt, make_run

STUDENT = make_instance(instance_id="owner__pkg-1")
TRAINING = make_instance(instance_id="owner__lib-2", repo="owner/lib", base_commit="1" * 40)


class World:
    """A planted suite of two, its ledger, and a run of the first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        suite = Suite(
            name="s",
            source="s",
            split=None,
            revision=None,
            instances=(STUDENT, TRAINING),
            refused=(),
            ignored_fields=(),
            sha256=rows_sha256((STUDENT, TRAINING)),
        )
        (self.student, self.training), self.ledger = plant(suite, seed="ab" * 32)
        self.evaluation = folder / "evaluation.jsonl"
        self.evaluation.write_text(self.student.model_dump_json(exclude_unset=True) + "\n")
        (folder / "ledger.json").write_text(self.ledger.model_dump_json())

    def canary(self, field: str, instance: Instance = STUDENT) -> str:
        (found,) = (
            each.canary
            for each in self.ledger.planted
            if (each.instance_id, each.field) == (instance.instance_id, field)
        )
        return found

    def run(self, **options: Any) -> Path:
        return make_run(self.folder / "run", [self.student], **options)

    def check(self, **inputs: Any) -> Check:
        given = {"evaluation": str(self.evaluation), "ledger": self.folder / "ledger.json"}
        return check(AuditInputs.model_validate(given | inputs))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


PROMPT = [("system", "You are an engineer."), ("user", "a is x, not y")]
WORK = [("assistant", "Look."), ("action", "cat a.py"), ("observation", "x = 1")]


def test_a_clean_run_passes(world: World) -> None:
    run = world.run()
    asked = [{"role": "user", "content": "a is x, not y"}]
    add_attempt(
        run,
        STUDENT,
        [*PROMPT, *WORK],
        patch=STUDENT.patch,
        logs={"a.log": b"fine"},
        calls=[(asked, {"role": "assistant", "content": "Look."})],
    )
    found = world.check(runs=[run])
    assert found.status is Status.PASSED
    assert found.findings == ()
    assert found.figures["leaks"] == 0


@pytest.mark.parametrize(
    "field", ["patch", "test_patch", "hints_text", "FAIL_TO_PASS", "eval_script"]
)
def test_a_field_in_a_prompt_is_named(world: World, field: str) -> None:
    run = world.run()
    value = getattr(world.student, field)
    text = value if isinstance(value, str) else "\n".join(value)
    add_attempt(run, STUDENT, [PROMPT[0], ("user", f"Hint:\n{text}"), *WORK])
    found = world.check(runs=[run])
    assert found.status is Status.FAILED
    named = {row["field"] for row in found.figures["taint ledger"]}
    assert field in named
    (finding,) = (each for each in found.findings if each.title.startswith(f"{field} of"))
    assert finding.severity is Severity.LEAK
    assert finding.where.endswith("events.jsonl:2")
    assert world.canary(field) in finding.evidence
    assert STUDENT.instance_id in finding.title


def leak_request(world: World, run: Path, text: str) -> None:
    asked = [{"role": "user", "content": "a is x"}, {"role": "tool", "content": text}]
    add_attempt(run, STUDENT, PROMPT, calls=[(asked, {"role": "assistant", "content": "ok"})])


def leak_answer(world: World, run: Path, text: str) -> None:
    add_attempt(run, STUDENT, PROMPT, calls=[([], {"role": "assistant", "content": text})])


def leak_observation(world: World, run: Path, text: str) -> None:
    add_attempt(run, STUDENT, [*PROMPT, ("action", "ls"), ("observation", text)])


def leak_patch(world: World, run: Path, text: str) -> None:
    add_attempt(run, STUDENT, PROMPT, patch=text)


def leak_log(world: World, run: Path, text: str) -> None:
    add_attempt(run, STUDENT, PROMPT, logs={"deep.log": b"x" * 3_000_000 + b"\n" + text.encode()})


def leak_packed_log(world: World, run: Path, text: str) -> None:
    add_attempt(run, STUDENT, PROMPT, logs={"old.log.gz": gzip.compress(b"a\n" + text.encode())})


def leak_prediction(world: World, run: Path, text: str) -> None:
    (run / "predictions.jsonl").write_text(json.dumps({"model_patch": text}) + "\n")


SINKS = {
    "prompt": leak_request,
    "answer": leak_answer,
    "events": leak_observation,
    "patch": leak_patch,
    "log": leak_log,
    "packed log": leak_packed_log,
    "predictions": leak_prediction,
}


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("encoded", [False, True])
def test_every_sink_of_a_run_is_searched(world: World, sink: str, encoded: bool) -> None:
    run = world.run()
    text = f"prefix {world.canary('patch')} suffix"
    SINKS[sink](world, run, base64.b64encode(text.encode()).decode() if encoded else text)
    found = world.check(runs=[run])
    assert found.status is Status.FAILED
    (row,) = found.figures["taint ledger"]
    assert (row["field"], row["instance"]) == ("patch", STUDENT.instance_id)
    assert row["sink"] == sink.removeprefix("packed ")
    expected = "base64" if encoded else "verbatim"
    assert row["encoding"] == expected


@pytest.mark.parametrize("before", [5, 2**20 - 10])
def test_a_canary_over_two_lines_or_two_blocks_is_found(world: World, before: int) -> None:
    run = world.run()
    text = world.canary("hints_text").encode()
    log = b"y" * before + text[:13] + b"\n" + text[13:] + b"\nz"
    add_attempt(run, STUDENT, PROMPT, logs={"a.log": log})
    found = world.check(runs=[run]).figures["taint ledger"]
    assert [row["field"] for row in found if row["field"]] == ["hints_text"]
    assert len(found) == 1 or before > 5  # a block ends with half of it


def test_a_repeated_history_is_one_sighting(world: World) -> None:
    run = world.run()
    asked: list[dict[str, Any]] = [{"role": "user", "content": "x" * 5000}]
    calls = []
    for number in range(5):
        if number == 2:
            asked = [*asked, {"role": "tool", "content": world.canary("patch")}]
        asked = [*asked, {"role": "assistant", "content": "go on " * 1000}]
        calls.append((asked, {"role": "assistant", "content": "ok"}))
    add_attempt(run, STUDENT, PROMPT, calls=calls)
    (row,) = world.check(runs=[run]).figures["taint ledger"]
    assert (row["first at"], row["sightings"]) == ("call 3", 1)


def test_control_runs_are_students_too(world: World) -> None:
    run = world.run()
    leak_patch(world, run, world.canary("patch"))
    assert world.check(control_runs={"shuffled_pi": run}).status is Status.FAILED


@pytest.mark.parametrize(("agent", "model"), [("gold", None), ("mini", "rehearsal")])
def test_a_played_gold_patch_is_a_note_until_it_was_shown_first(
    world: World, agent: str, model: Any
) -> None:
    run = world.run(agent=agent, model=model)
    text = world.canary("patch")
    add_attempt(run, STUDENT, [*PROMPT, ("action", text), ("observation", text)], patch=text)
    found = world.check(runs=[run])
    assert found.status is Status.PASSED
    assert {each.severity for each in found.findings} == {Severity.NOTE}
    tests = world.folder / "second"
    make_run(tests, [world.student], agent=agent, model=model)
    add_attempt(tests, STUDENT, [("user", text), ("action", text)])
    assert world.check(runs=[tests]).status is Status.FAILED
    third = make_run(world.folder / "third", [world.student], agent=agent, model=model)
    add_attempt(third, STUDENT, [*PROMPT, ("action", world.canary("test_patch"))])
    assert world.check(runs=[third]).status is Status.FAILED


def test_a_run_on_the_unplanted_suite_shows_nothing(world: World) -> None:
    run = make_run(world.folder / "other", [STUDENT])
    add_attempt(run, STUDENT, PROMPT)
    found = world.check(runs=[run])
    assert found.status is Status.INCONCLUSIVE
    assert str(run) in found.reason


def pi(world: World, source: SourceName, text: str, instance: Instance = TRAINING) -> Path:
    tier = Tier.DEPLOYABLE if source in ("call_graph", "test_manifest") else Tier.ORACLE
    record = PIRecord(
        instance_id=instance.instance_id,
        source=source,
        tier=tier,
        text=text,
        tokens=1,
        tokenizer="x",
        budget=9,
        truncated=False,
        provenance=Provenance(extractor="x/1"),
    )
    path = world.folder / f"{source}.jsonl"
    path.write_text(record.model_dump_json() + "\n")
    return path


@pytest.mark.parametrize(
    ("source", "field", "status"),
    [
        (SourceName.GOLD_PATCH, "patch", Status.PASSED),
        (SourceName.NEXT_FILE, "patch", Status.PASSED),
        (SourceName.TEST_MANIFEST, "test_patch", Status.PASSED),
        (SourceName.TEST_MANIFEST, "FAIL_TO_PASS", Status.PASSED),
        (SourceName.TEST_MANIFEST, "patch", Status.FAILED),
        (SourceName.CALL_GRAPH, "patch", Status.FAILED),
        (SourceName.GOLD_PATCH, "test_patch", Status.FAILED),
        (SourceName.GOLD_PATCH, "hints_text", Status.FAILED),
    ],
)
def test_pi_may_hold_what_its_source_is_made_of(
    world: World, source: SourceName, field: str, status: Status
) -> None:
    path = pi(world, source, f"x {world.canary(field, TRAINING)}")
    assert world.check(pi=[path]).status is status


def test_pi_of_another_or_an_evaluation_instance_is_a_leak(world: World) -> None:
    other = pi(world, SourceName.GOLD_PATCH, world.canary("patch", STUDENT))
    assert world.check(pi=[other]).status is Status.FAILED
    own = pi(world, SourceName.GOLD_PATCH, world.canary("patch", STUDENT), STUDENT)
    assert world.check(pi=[own]).status is Status.FAILED


def test_pi_without_any_canary_shows_nothing(world: World) -> None:
    assert world.check(pi=[pi(world, SourceName.GOLD_PATCH, "x")]).status is Status.INCONCLUSIVE


def triples(world: World, **columns: Any) -> Path:
    row = {
        "instance_id": TRAINING.instance_id,
        "pi_source": "gold_patch",
        "pi_tier": "oracle",
        "pi_text": world.canary("patch", TRAINING),
        "state": json.dumps({"messages": [{"role": "user", "content": "x"}]}),
        "completion": "y",
        "prompt_ids": [1, 2],
    } | columns
    path = world.folder / "rows.parquet"
    pq.write_table(pa.Table.from_pylist([row]), path)
    return path


def test_training_rows_have_canaries_in_their_pi_and_target_only(world: World) -> None:
    text = world.canary("patch", TRAINING)
    said = [{"role": "user", "content": "x"}, {"role": "assistant", "content": text}]
    played = json.dumps({"messages": [*said, {"role": "tool", "content": text}]})
    shown = json.dumps({"messages": [{"role": "user", "content": text}, *said]})
    source = {"pi_source": "call_graph", "pi_tier": "deployable"}
    cases: list[tuple[dict[str, Any], Status]] = [
        ({}, Status.PASSED),
        ({"completion": text}, Status.PASSED),
        ({"pi_text": "", "completion": text}, Status.PASSED),
        ({"state": played}, Status.PASSED),
        ({"state": shown}, Status.FAILED),
        ({"state": text}, Status.FAILED),
        (source, Status.FAILED),
        ({"completion": world.canary("test_patch", TRAINING)}, Status.FAILED),
        ({"path": f"{text}.py"}, Status.FAILED),
        ({"instance_id": "owner__lib-9"}, Status.FAILED),
    ]
    for columns, status in cases:
        found = world.check(triples=[triples(world, **columns)])
        assert found.status is status, columns


def test_without_inputs_it_is_not_run(world: World) -> None:
    assert world.check().status is Status.NOT_RUN
    assert world.check(ledger=None, pi=[world.evaluation]).status is Status.NOT_RUN


def test_a_ledger_that_is_none_is_an_error(world: World) -> None:
    with pytest.raises(LedgerError, match="no canary ledger: seed"):
        world.check(runs=[world.run()], ledger=world.evaluation)
    with pytest.raises(LedgerError, match="harness leakage plant"):
        Ledger.load(world.folder / "none.json")


GOLD = """\
diff --git a/pkg/core.py b/pkg/core.py
--- a/pkg/core.py
+++ b/pkg/core.py
@@ -1,3 +1,5 @@
 def run(value):
-    return value
+    checked_value = ensure_not_negative(value)
+    logger.debug("running with %s", checked_value)
+    return checked_value * scale_of(value)
"""


@pytest.mark.parametrize(
    ("steps", "severity"),
    [
        ([("user", f"Fix it like this:\n{GOLD}")], Severity.LEAK),
        ([("user", "fix"), ("action", "cat fix.diff"), ("observation", GOLD)], Severity.WARNING),
        ([("user", "fix"), ("action", f"cat <<E\n{GOLD}\nE"), ("observation", GOLD)], None),
        ([("user", "fix"), ("action", "cat a.py"), ("observation", "def run(value):")], None),
        ([("user", "make test_scale_of_value_is_used pass")], Severity.LEAK),
    ],
)
def test_without_a_ledger_the_patches_own_lines_are_searched(
    tmp_path: Path, steps: list[tuple[str, str]], severity: Severity | None
) -> None:
    tests = make_instance().test_patch.replace("test_new", "test_scale_of_value_is_used")
    instance = make_instance(patch=GOLD, test_patch=tests)
    run = make_run(tmp_path / "run", [instance])
    add_attempt(run, instance, steps)
    found = check(AuditInputs(evaluation="x", runs=(run,)))
    assert [each.severity for each in found.findings] == ([severity] if severity else [])
    assert (found.status is Status.FAILED) is (severity is Severity.LEAK)


def test_lines_that_the_issue_has_are_no_fingerprint(tmp_path: Path) -> None:
    instance = make_instance(patch=GOLD, problem_statement=f"Please apply\n{GOLD}")
    run = make_run(tmp_path / "run", [instance])
    add_attempt(run, instance, [("user", instance.problem_statement)])
    assert check(AuditInputs(evaluation="x", runs=(run,))).findings == ()


def test_the_shipped_suite_has_a_canary_wherever_one_can_be() -> None:
    suite = load_suite("pypi-mini")
    _, ledger = plant(suite, seed="cd" * 32)
    without = {each.field for each in ledger.unplanted}
    assert without <= {"PASS_TO_PASS", "FAIL_TO_PASS", "image_assets"}
