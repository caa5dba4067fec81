"""Verdicts and test statuses of ours against the official harness, on the same images.

    python -m benchmarks.parity --rows ROWS --instances psf__requests-6028 pallets__flask-5014

For each instance: its gold patch, an empty one, a wrong one, and what --predictions holds for it.
Exit code 1 when anything differs.
"""

import argparse
import json
import sys
from pathlib import Path

from benchmarks.official import WRONG, run_official
from harness.agents.predictions import load_predictions
from harness.grading.grader import Grader
from harness.grading.options import GradingOptions
from harness.records import Grade, Instance, Verdict
from harness.sandboxes import make_provider
from harness.suites.load import load_suite
from harness.suites.select import select


def failed_officially(report: dict[str, dict[str, dict[str, list[str]]]]) -> set[str]:
    """The deciding tests that the official report calls failed."""
    status = report.get("tests_status", {})
    return {test for lists in status.values() for test in lists["failure"]}


def differences(instance: Instance, grade: Grade, official: dict[str, object]) -> list[str]:
    """What the two harnesses say differently of one patch."""
    found = []
    if (grade.verdict is Verdict.RESOLVED) != bool(official.get("resolved")):
        found.append(f"verdict: ours {grade.verdict.value}, official {official.get('resolved')}")
    if official.get("tests_status"):
        theirs = failed_officially(official)  # type: ignore[arg-type]
        for test in sorted(theirs ^ set(grade.failed_tests)):
            found.append(f"{test}: failed {'officially' if test in theirs else 'here'} only")
    return [f"{instance.instance_id}: {line}" for line in found]


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", required=True)
    parser.add_argument("--instances", nargs="+", required=True)
    parser.add_argument("--predictions", type=Path)
    options = parser.parse_args()
    instances = select(load_suite(options.rows).instances, ids=options.instances)
    kinds = {
        "gold": {one.instance_id: one.patch for one in instances},
        "empty": {one.instance_id: "" for one in instances},
        "wrong": {one.instance_id: WRONG for one in instances},
    }
    if options.predictions:
        kinds["recorded"] = load_predictions(options.predictions).patches
    grader = Grader(make_provider("docker"), GradingOptions(), owner="parity")
    result: dict[str, object] = {}
    different: list[str] = []
    statuses = 0
    for kind, patches in kinds.items():
        chosen = [one for one in instances if one.instance_id in patches]
        official = run_official(chosen, [patches[one.instance_id] for one in chosen], workers=1)
        verdicts = {}
        for one in chosen:
            grade, _ = grader.grade(one, patches[one.instance_id], str(one.image))
            report = official.reports[one.instance_id]
            verdicts[one.instance_id] = {
                "ours": grade.verdict.value,
                "official": "resolved" if official.resolved(one) else "not resolved",
            }
            different += differences(one, grade, report)
            statuses += (
                len(one.FAIL_TO_PASS) + len(one.PASS_TO_PASS) if report.get("tests_status") else 0
            )
        result[kind] = verdicts
    result["test_statuses_compared"] = statuses
    result["differences"] = different
    print(json.dumps(result, indent=1))
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
