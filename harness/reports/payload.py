"""What the attempt viewer shows: one packed block per instance and per attempt."""

import base64
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.records import Grade, Instance
from harness.reports.caps import Caps
from harness.reports.estimates import count
from harness.reports.events import trajectory
from harness.reports.files import contained, describe
from harness.reports.load import read_grade
from harness.reports.run import Entry, Run
from harness.reports.text import Clip, clip, clip_file, line, plain

Json = dict[str, Any]


def pack(value: object) -> str:
    """A value as JSON, gzip and base64: letters, digits, `+`, `/` and `=` only."""
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return base64.b64encode(gzip.compress(data, compresslevel=6, mtime=0)).decode()


def script_json(value: object) -> str:
    """JSON that is safe inside a `<script>` element: nothing in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def instance_payload(instance: Instance, run: Run, caps: Caps) -> Json:
    """The parts that all attempts on an instance share."""
    return {
        "problem": clip(instance.problem_statement, caps.trajectory_characters).as_json(),
        "gold": clip(instance.patch, caps.patch_bytes).as_json(),
        "fail_to_pass": [line(test) for test in instance.FAIL_TO_PASS],
        "pass_to_pass": [line(test) for test in instance.PASS_TO_PASS],
        "file": run.label(run.folder.suite),
    }


def attempt_payload(
    run: Run, entry: Entry, instance: Instance | None, caps: Caps, *, full: bool
) -> Json:
    """One attempt. Without `full`, events and log are left out and the page says so."""
    folder = run.folder.attempt(entry.instance_id, entry.seed)
    grades = run.folder.grade(entry.instance_id, entry.seed)
    problems = list(entry.problems)
    patch, log = folder / "patch.diff", grades / "eval.log"
    if not full:
        problems.append(
            "This report has reached its size limit: trajectory and log are left out. "
            f"They are in {run.label(folder)} and {run.label(grades)}."
        )

    def clipped(path: Path, cap: int) -> Json | None:
        try:
            file = contained(run.folder, path)
            shown: Clip | None = clip_file(file, cap) if file else None
        except (OSError, ValueError) as error:
            problems.append(describe(error))
            return None
        return shown.as_json() if shown else None

    grade = read_grade(run, entry) if entry.grade else None
    return {
        "status": entry.status.value,
        "reason": plain(_reason(entry)),
        "facts": _shown(_main_facts(entry)),
        "more": _shown(_more_facts(entry)),
        "findings": [(line(f.code), plain(f.text)) for f in (grade.findings if grade else ())],
        "tests": _tests(grade, instance) if grade and grade.tests else None,
        "patch": clipped(patch, caps.patch_bytes),
        "trajectory": trajectory(run, folder / "events.jsonl", caps, full=full),
        "log": clipped(log, caps.log_bytes) if full else None,
        "problems": [plain(problem) for problem in problems],
        "attempt_file": run.label(folder / "attempt.json"),
        "patch_file": run.label(patch),
        "grade_file": run.label(grades / "grade.json"),
        "log_file": run.label(log),
    }


def _reason(entry: Entry) -> str:
    if entry.grade:
        return entry.grade.reason
    if entry.attempt:
        return entry.attempt.detail or "This attempt has no grade yet."
    return "Unreadable." if entry.problems else "Not run yet."


def _main_facts(entry: Entry) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    if attempt := entry.attempt:
        usage = attempt.usage
        facts += [
            ("Stop reason", attempt.stop_reason.value.replace("_", " ")),
            ("Stop detail", attempt.detail),
            ("Model calls", f"{usage.turns:,}"),
            ("Tokens written", f"{usage.generated_tokens:,}"),
            ("Rollout", f"{attempt.seconds:,.1f} s"),
        ]
    if grade := entry.grade:
        facts.append(
            ("Grading", "from the cache" if grade.cached else f"{grade.timing.total:,.1f} s")
        )
    return facts


def _more_facts(entry: Entry) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    if attempt := entry.attempt:
        usage = attempt.usage
        facts += [
            ("Method", attempt.method),
            ("Model", attempt.model or "none"),
            ("Seed", str(attempt.seed)),
            ("Tool calls", f"{usage.tool_calls:,}"),
            ("Tokens read", f"{usage.prompt_tokens:,}"),
            ("Cost", "" if usage.cost_usd is None else f"{usage.cost_usd:.4f} USD"),
            ("Started", attempt.started_at),
            ("Starts needed", str(attempt.tries)),
            ("Patch size", f"{attempt.patch_bytes:,} bytes"),
            ("Patch SHA-256", attempt.patch_sha256),
        ]
    if grade := entry.grade:
        timing = grade.timing
        parts = (("start", timing.start), ("prepare", timing.prepare), ("tests", timing.tests))
        facts += [
            ("Grading in parts", ", ".join(f"{name} {value:.1f} s" for name, value in parts)),
            ("Official rules alone", "resolved" if grade.official_resolved else "not resolved"),
            ("Stopped early", "yes, its verdict was certain" if grade.stopped_early else "no"),
            ("Exit code", "none" if grade.exit_code is None else str(grade.exit_code)),
            ("Grader", grade.grader),
            ("Image", grade.image_digest),
            ("Gradings needed", str(grade.tries)),
        ]
    return facts


def _shown(facts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(key, line(value)) for key, value in facts if value]


def _tests(grade: Grade, instance: Instance | None) -> Json:
    counts = grade.counts
    deciding: Sequence[str] = (
        (*instance.FAIL_TO_PASS, *instance.PASS_TO_PASS) if instance else grade.failed_tests
    )
    others = len(grade.tests.keys() - set(deciding))
    return {
        "summary": (
            f"{counts.fail_to_pass_passed} of {counts.fail_to_pass_total} tests that must pass now "
            f"passed; {counts.pass_to_pass_passed} of {counts.pass_to_pass_total} that must still "
            "pass did." + (f" {count(others, 'other test')} ran and decide nothing." * bool(others))
        ),
        "not_passed": [
            (line(test), line(grade.tests.get(test, "NOT RUN")))
            for test in deciding
            if grade.tests.get(test) != "PASSED"
        ],
    }
