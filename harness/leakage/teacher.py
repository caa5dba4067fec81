"""The PI-removed teacher: did fitting PI adapters put solutions into the teacher's weights?"""

from pathlib import Path

from harness.leakage.controls import bounds, figure, notes, points
from harness.leakage.findings import Check, Finding, Severity, Status
from harness.leakage.inputs import AuditInputs
from harness.leakage.material import AuditError, not_run, scored_run
from harness.scoring import Comparison
from harness.scoring.compare import compare_family

PASSES_AT_MOST = 1.0  # percentage points
FAILS_AT_LEAST = 3.0
ROLES = ("base", "pi_removed", "deployable", "oracle")

NAME = "pi_removed_teacher"
QUESTION = "Does the fitted teacher, with its PI removed, resolve more than the base teacher?"


def check(inputs: AuditInputs) -> Check:
    """The gain of the PI-removed teacher over the base teacher, in percentage points.

    At most 1.0 passes, 3.0 or more fails, between them is inconclusive; what the interval leaves
    open is stated. Raises AuditError for an unknown role or an unusable run, NotPairedError when
    runs are on different instances. Source: CHOP App. J.11, Table 23.
    """
    runs = inputs.teacher_runs
    unknown = sorted(runs.keys() - set(ROLES))
    if unknown:
        raise AuditError(f"teacher_runs: unknown {', '.join(unknown)}; known: {', '.join(ROLES)}")
    missing = [f"teacher_runs.{role}" for role in ROLES[:2] if role not in runs]
    if missing:
        return not_run(NAME, QUESTION, *missing)
    rows = {
        role: scored_run(f"teacher_runs.{role}", runs[role], inputs.evaluation)
        for role in ROLES
        if role in runs
    }
    family = {one.b: one for one in compare_family(rows, baseline="base")}
    removed = family["pi_removed"]
    gain = _points(removed.difference.value)
    status = _status(gain)
    finding = _finding(gain, removed, runs["base"], runs["pi_removed"])
    return Check(
        name=NAME,
        question=QUESTION,
        status=status,
        reason=_reason(status, gain, removed),
        findings=(finding,) if status is Status.FAILED else (),
        figures={
            "gain_points": gain,
            "passes_at_most_points": PASSES_AT_MOST,
            "fails_at_least_points": FAILS_AT_LEAST,
            "teachers_against_base": [figure(one) for one in family.values()],
            "notes": notes(family.values()),
        },
    )


def _status(gain: float) -> Status:
    if gain <= PASSES_AT_MOST:
        return Status.PASSED
    return Status.FAILED if gain >= FAILS_AT_LEAST else Status.INCONCLUSIVE


def _points(share: float) -> float:
    """Percentage points, free of rounding error: a gain of 5 in 500 is exactly 1.0."""
    return round(100 * share, 9)


def _reason(status: Status, gain: float, one: Comparison) -> str:
    low, high = bounds(one)
    differing = len(one.better_in_a) + len(one.better_in_b)
    held = {
        Status.PASSED: f"at most {PASSES_AT_MOST}",
        Status.INCONCLUSIVE: f"between {PASSES_AT_MOST} and {FAILS_AT_LEAST}",
        Status.FAILED: f"at least {FAILS_AT_LEAST}",
    }[status]
    return (
        f"the gain is {gain:+.1f} points ({held}) on {one.instances} instances, "
        f"of which {differing} differ; {one.difference.level:.0%} interval {low:+.1f} to "
        f"{high:+.1f}: {_interval_says(low, high)}"
    )


def _interval_says(low: float, high: float) -> str:
    """What the interval alone can exclude; the verdict goes by the point estimate."""
    if high <= PASSES_AT_MOST:
        return f"it lies within the passing side (at most {PASSES_AT_MOST})"
    if low >= FAILS_AT_LEAST:
        return f"it lies within the failing side (at least {FAILS_AT_LEAST})"
    reaches_pass, reaches_fail = low <= PASSES_AT_MOST, high >= FAILS_AT_LEAST
    if reaches_pass and reaches_fail:
        return "it includes both a pass and a fail, so more instances or seeds are needed to decide"
    if reaches_fail:
        return "it excludes a pass, and includes a fail"
    if reaches_pass:
        return "it excludes a fail, but includes gains that would be inconclusive"
    return "it lies between the two thresholds"


def _finding(gain: float, one: Comparison, base: Path, removed: Path) -> Finding:
    return Finding(
        severity=Severity.LEAK,
        title=f"The PI-removed teacher gains {gain:.1f} points over the base teacher: "
        "its weights hold what its PI told it",
        where=f"{removed}/scores.json",
        evidence=f"{points(one.difference)}; {len(one.better_in_b)} instances resolved more often "
        f"without PI than by the base, {len(one.better_in_a)} less often",
        reproduce=f"harness compare {base} {removed} --baseline {base.name}",
    )
