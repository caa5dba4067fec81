"""Power planning: published formulas, simulation, and impossible assumptions."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm
from statsmodels.stats.proportion import power_proportions_2indep

from harness.scoring import PlanError
from harness.scoring.plan import Assumptions, Design, achieved_power, needed_instances, plan

TYPES = np.array([[0.0, 0.0], [0.1, 0.2], [0.5, 0.5], [0.4, 0.6], [0.95, 0.95]])
WEIGHTS = np.array([0.62, 0.15, 0.10, 0.08, 0.05])
"""Kinds of instances: the chance that one attempt of each method resolves it, and their shares."""


def of_types() -> Assumptions:
    """What the kinds of instances amount to."""
    (p, q) = WEIGHTS @ TYPES
    disagree = TYPES[:, 0] * (1 - TYPES[:, 1]) + TYPES[:, 1] * (1 - TYPES[:, 0])
    within = float(WEIGHTS @ (TYPES * (1 - TYPES)).sum(axis=1))
    return Assumptions(
        base_rate=float(p),
        mde=float(q - p),
        discordance=float(WEIGHTS @ disagree),
        run_correlation=1 - within / float(p * (1 - p) + q * (1 - q)),
    )


def alarms(n: int, runs: int, design: Design, rng: np.random.Generator) -> float:
    """The share of simulated studies that a z-test over instances calls different."""
    studies = 3000

    def shares(method: int, kinds: NDArray[np.int64]) -> NDArray[np.float64]:
        drawn: NDArray[np.float64] = rng.binomial(runs, TYPES[kinds, method]) / runs
        return drawn

    kinds = rng.choice(len(WEIGHTS), size=(studies, n), p=WEIGHTS)
    a = shares(0, kinds)
    if design == "paired":
        differences = shares(1, kinds) - a
        error = differences.std(axis=1, ddof=1) / n**0.5
        z = differences.mean(axis=1) / error
    else:
        b = shares(1, rng.choice(len(WEIGHTS), size=(studies, n), p=WEIGHTS))
        error = ((a.var(axis=1, ddof=1) + b.var(axis=1, ddof=1)) / n) ** 0.5
        z = (b.mean(axis=1) - a.mean(axis=1)) / error
    return float(np.mean(np.abs(z) > norm.isf(0.025)))


@pytest.mark.parametrize("design", ["paired", "unpaired"])
@pytest.mark.parametrize("runs", [1, 3, 8])
def test_a_planned_study_has_its_power(design: Design, runs: int) -> None:
    assumptions = of_types()
    n = needed_instances(assumptions, runs=runs, design=design, power=0.8)
    assert alarms(n, runs, design, np.random.default_rng(7)) == pytest.approx(0.8, abs=0.035)


def test_one_paired_run_is_the_published_sample_size() -> None:
    """Connor's formula by hand: ψ = 0.2, δ = 0.1, α = 0.05, power 0.8."""
    assumptions = Assumptions(base_rate=0.3, mde=0.1, discordance=0.2)
    by_hand = ((1.959964 * 0.2**0.5 + 0.841621 * (0.2 - 0.01) ** 0.5) / 0.1) ** 2
    assert needed_instances(assumptions, runs=1) == np.ceil(by_hand) == 155


def test_one_unpaired_run_is_the_textbook_test_of_two_proportions() -> None:
    assumptions = Assumptions(base_rate=0.3, mde=0.1)
    n = needed_instances(assumptions, runs=1, design="unpaired")
    assert n == 356
    known = power_proportions_2indep(0.1, 0.3, n, alpha=0.05, return_results=False)
    power = achieved_power(assumptions, instances=n, runs=1, design="unpaired")
    assert power == pytest.approx(known, abs=0.002)


@st.composite
def assumptions(draw: st.DrawFn) -> Assumptions:
    base = draw(st.floats(0.02, 0.8))
    mde = draw(st.floats(0.005, 0.19))
    try:
        return Assumptions(
            base_rate=base, mde=mde, correlation=draw(st.floats(0, 0.95)), run_correlation=None
        )
    except ValueError:
        assume(False)
        raise


@given(assumptions(), st.integers(1, 20))
@settings(deadline=None)
def test_more_runs_and_instances_never_hurt(one: Assumptions, runs: int) -> None:
    assert one.mde <= one.psi + 1e-9
    n = needed_instances(one, runs=runs)
    assert needed_instances(one, runs=runs + 1) <= n
    assert achieved_power(one, instances=n, runs=runs) >= 0.8 - 1e-6
    assert achieved_power(one, instances=n + 50, runs=runs) >= 0.8 - 1e-6
    if n > 1:
        assert achieved_power(one, instances=n - 1, runs=runs) < 0.8
    assert needed_instances(one, runs=runs, power=0.9) >= n
    assert needed_instances(one, runs=runs, alpha=0.01) >= n


def test_a_plan_for_three_points() -> None:
    found = plan(0.03, 0.118, instances=(100, 300, 500, 2294))
    runs = {row.instances: row.paired_runs for row in found.rows}
    assert runs == {100: None, 300: 10, 500: 3, 2294: 1}
    assert all(
        row.unpaired_runs is None or row.unpaired_runs >= (row.paired_runs or 0)
        for row in found.rows
    )
    assert found.instances_for_one_run == 1014
    assert found.rows[2].power_of_one_run == pytest.approx(0.5, abs=0.01)
    several = plan(0.03, 0.118, instances=(500,), comparisons=5)
    assert (several.rows[0].paired_runs or 101) > 3


def test_a_default_run_correlation_is_always_possible() -> None:
    close = plan(0.03, 0.118, discordance=0.05)
    assert close.assumptions.r == pytest.approx((1 + 0.7857) / 2, abs=0.001)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"base_rate": 0.118, "mde": 0.03, "discordance": 0.02}, "disagree on 3.0% to 26.6%"),
        ({"base_rate": 0.118, "mde": 0.03, "correlation": 1.0}, "correlation 1 is impossible"),
        (
            {"base_rate": 0.118, "mde": 0.03, "correlation": 0.7, "run_correlation": 0.3},
            "must be at least 0.697",
        ),
        ({"base_rate": 0.9, "mde": 0.2}, "more than all resolved"),
        ({"base_rate": 1.5, "mde": 0.2}, "base_rate 1.5: Input should be less than 1"),
        ({"base_rate": 0.2, "mde": 0.2, "power": 0.01}, "need 0 < alpha < power < 1"),
        ({"base_rate": 0.2, "mde": 0.2, "comparisons": 0}, "numbers of at least 1"),
        ({"base_rate": 0.2, "mde": 0.2, "instances": (0,)}, "numbers of at least 1"),
        ({"base_rate": 0.2, "mde": 0.2, "correlation": 0.1, "discordance": 0.3}, "one of them"),
    ],
)
def test_impossible_numbers_are_explained(how: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        plan(**how)
