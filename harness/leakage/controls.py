"""Controls: students trained with PI of the wrong content must not gain."""

from collections.abc import Iterable
from typing import Any

from harness.leakage.findings import Check, Finding, Severity, Status
from harness.leakage.inputs import AuditInputs
from harness.leakage.material import AuditError, not_run, scored_run
from harness.scoring import Comparison, Interval
from harness.scoring.compare import compare_family
from harness.scoring.intervals import wilson

REFERENCE = "off_the_shelf"
METHOD = "method"
WRONG_CONTENT = ("shuffled_pi", "wrong_repository", "random_adapter")
LEFT_OUT = "leave_one_repository_out"
MARGIN = 3.0  # percentage points: a gain that an interval must exclude

NAME = "controls"
QUESTION = "Do students trained with wrong PI, or with none, stay at the off-the-shelf level?"


def check(inputs: AuditInputs) -> Check:
    """Compare each control with the off-the-shelf student, and the method with each control.

    Fails when a wrong-content control gains (both tests, Holm-adjusted over the family); passes
    when every control's interval excludes a gain of 3 points; else inconclusive. A gain that is
    lost when the repository is left out is a warning. Raises AuditError for an unknown role or an
    unusable run, NotPairedError when runs are on different instances. Source: CHOP Table 8.
    """
    runs = inputs.control_runs
    known = (REFERENCE, METHOD, *WRONG_CONTENT, LEFT_OUT)
    unknown = sorted(runs.keys() - set(known))
    if unknown:
        raise AuditError(f"control_runs: unknown {', '.join(unknown)}; known: {', '.join(known)}")
    wrong = [role for role in WRONG_CONTENT if role in runs]
    if REFERENCE not in runs or not wrong:
        missing = [] if REFERENCE in runs else [f"control_runs.{REFERENCE}"]
        missing += [] if wrong else [f"any of control_runs.{', '.join(WRONG_CONTENT)}"]
        return not_run(NAME, QUESTION, *missing)
    rows = {
        role: scored_run(f"control_runs.{role}", runs[role], inputs.evaluation)
        for role in known
        if role in runs
    }
    gains = {one.b: one for one in compare_family(rows, baseline=REFERENCE)}
    against_method = (
        compare_family({k: v for k, v in rows.items() if k != REFERENCE}, baseline=METHOD)
        if METHOD in rows
        else ()
    )
    gaining = [role for role in wrong if shown(gains[role]) and gains[role].difference.value > 0]
    open_ = [role for role in wrong if bounds(gains[role])[1] >= MARGIN]
    findings = [_gain(inputs, gains[role]) for role in gaining]
    findings += [
        _lost(inputs, one)
        for one in against_method
        if one.b == LEFT_OUT and shown(one) and one.difference.value < 0
    ]
    status = Status.FAILED if gaining else Status.INCONCLUSIVE if open_ else Status.PASSED
    absent = [role for role in known if role not in runs]
    return Check(
        name=NAME,
        question=QUESTION,
        status=status,
        reason=_reason(wrong, gaining, open_, absent),
        findings=tuple(findings),
        figures={
            "margin_points": MARGIN,
            "against_off_the_shelf": [figure(one) for one in gains.values()],
            "against_the_method": [figure(one) for one in against_method],
            "notes": notes([*gains.values(), *against_method]),
        },
    )


def shown(one: Comparison) -> bool:
    """Whether both adjusted tests find a difference."""
    return max(one.p_exact_holm, one.p_bootstrap_holm) < 1 - one.difference.level


def bounds(one: Comparison) -> tuple[float, float]:
    """What a difference may be at least and at most, in percentage points.

    The bootstrap's interval; where no instance differs it has no width, and Wilson's bound on the
    share of instances that could differ stands in on both sides.
    """
    if one.better_in_a or one.better_in_b:
        low, high = one.difference.low, one.difference.high
    else:
        high = wilson(0, one.instances, level=one.difference.level).high
        low = -high
    return round(100 * low, 9), round(100 * high, 9)


def points(interval: Interval) -> str:
    """A difference with its interval, in percentage points."""
    value, low, high = (100 * one for one in (interval.value, interval.low, interval.high))
    return f"{value:+.1f} points [{low:+.1f}, {high:+.1f}]"


def figure(one: Comparison) -> dict[str, Any]:
    """One comparison as a row of the report; rates and differences are proportions."""
    return {
        "run": one.b,
        "against": one.a,
        "instances": one.instances,
        "pass_at_1": one.pass_at_1_b.model_dump(),
        "difference": one.difference.model_dump(),
        "difference_over_repositories": one.clustered_difference
        and one.clustered_difference.model_dump(),
        "p_exact_holm": one.p_exact_holm,
        "p_bootstrap_holm": one.p_bootstrap_holm,
        "not_graded_in_both": len(one.left_out),
    }


def notes(family: Iterable[Comparison]) -> list[str]:
    """What a reader of several comparisons should know, each once."""
    about: dict[str, list[str]] = {}
    for one in family:
        for note in one.notes:
            about.setdefault(note, []).append(f"{one.b} against {one.a}")
    return [f"{note} ({', '.join(pairs)})" for note, pairs in sorted(about.items())]


def _reason(wrong: list[str], gaining: list[str], open_: list[str], absent: list[str]) -> str:
    if gaining:
        text = f"{len(gaining)} of {len(wrong)} wrong-content controls gain: {', '.join(gaining)}"
    elif open_:
        text = (
            f"no gain is shown, but the interval of {', '.join(open_)} includes gains of "
            f"{MARGIN:.0f} points or more: too few instances to exclude one"
        )
    else:
        text = f"all {len(wrong)} wrong-content controls exclude a gain of {MARGIN:.0f} points"
    return f"{text}; not given: {', '.join(absent)}" if absent else text


def _gain(inputs: AuditInputs, one: Comparison) -> Finding:
    base, run = inputs.control_runs[one.a], inputs.control_runs[one.b]
    return Finding(
        severity=Severity.LEAK,
        title=f"Control {one.b} gains over {one.a} though its PI is wrong or none: "
        "the gain has another source than the PI's content",
        where=f"{run}/scores.json",
        evidence=f"{points(one.difference)} on {one.instances} instances, Holm-adjusted p "
        f"{one.p_exact_holm:.3g} (exact), {one.p_bootstrap_holm:.3g} (bootstrap)",
        reproduce=f"harness compare {base} {run} --baseline {base.name}",
    )


def _lost(inputs: AuditInputs, one: Comparison) -> Finding:
    base, run = inputs.control_runs[one.a], inputs.control_runs[one.b]
    return Finding(
        severity=Severity.WARNING,
        title="The method loses when the instance's own repository is left out of training",
        where=f"{run}/scores.json",
        evidence=f"{points(one.difference)} on {one.instances} instances",
        reproduce=f"harness compare {base} {run} --baseline {base.name}",
    )
