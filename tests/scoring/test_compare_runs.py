"""Paired comparisons: closed forms, symmetry, error rates, and what is refused."""

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.scoring import NotPairedError, Resampling, compare_family
from harness.scoring.compare import compare, holm
from tests.scoring.rows import attempt, infra, run, runs

QUICK = Resampling(n_resamples=300)
PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


def pair(both: int, only_a: int, only_b: int, neither: int) -> tuple[list[bool], list[bool]]:
    a = [True] * both + [True] * only_a + [False] * only_b + [False] * neither
    b = [True] * both + [False] * only_a + [True] * only_b + [False] * neither
    return a, b


def test_a_difference_with_its_interval_and_both_tests() -> None:
    a, b = pair(both=40, only_a=10, only_b=30, neither=420)
    found = compare(run(a, repos=12), run(b, repos=12), names=("base", "new"))
    assert (found.a, found.b, found.instances) == ("base", "new", 500)
    assert found.difference.value == pytest.approx(0.04)
    error = ((0.08 - 0.04**2) / 500) ** 0.5
    assert found.difference.low == pytest.approx(0.04 - 1.96 * error, abs=0.002)
    assert found.difference.high == pytest.approx(0.04 + 1.96 * error, abs=0.002)
    assert (len(found.better_in_a), len(found.better_in_b), found.tied) == (10, 30, 460)
    assert found.better_in_a[0] == "i-0040"
    assert found.discordance == pytest.approx(0.08)
    tail = sum(comb(40, one) for one in range(11)) / 2**40
    assert found.p_exact == pytest.approx(2 * tail)
    assert found.exact_test == "McNemar, exact"
    assert found.p_bootstrap == pytest.approx(0.002, abs=0.002)
    assert found.clustered_difference is not None
    assert found.clustered_difference.n == 12
    assert (found.p_bootstrap_holm, found.family) == (found.p_bootstrap, 1)
    assert any("12 repositories only" in note for note in found.notes)


def test_pairing_is_narrower_than_two_separate_intervals() -> None:
    a, b = pair(both=200, only_a=5, only_b=20, neither=275)
    found = compare(run(a), run(b))
    paired = found.difference.high - found.difference.low
    separate = (found.pass_at_1_a.high - found.pass_at_1_a.low) * 2**0.5
    assert paired < separate / 2


def test_equal_runs_differ_by_nothing() -> None:
    outcomes = [True, False] * 20
    found = compare(run(outcomes), run(outcomes))
    assert (found.difference.low, found.difference.value, found.difference.high) == (0, 0, 0)
    assert (found.p_exact, found.p_bootstrap) == (1, 1)
    assert "only 0 instances differ" in found.notes[0]


def test_seeds_are_averaged_and_the_exact_test_is_a_sign_test() -> None:
    a = runs([[True, False, False], [False, False, False]])
    b = runs([[True, True, False], [True, True, False], [True, False, False]])
    found = compare(a, b, how=QUICK)
    assert (found.seeds_a, found.seeds_b) == ((0, 1), (0, 1, 2))
    assert found.difference.value == pytest.approx((0.5 + 2 / 3) / 3)
    assert found.better_in_b == ("i-0000", "i-0001")
    assert found.exact_test.startswith("sign test")
    assert found.p_exact == pytest.approx(0.5)
    assert found.discordance == pytest.approx((0.5 + 2 / 3) / 3)


def test_runs_on_different_instances_are_refused_by_name() -> None:
    a = [attempt("x"), attempt("y", resolved=True)]
    b = [attempt("y"), attempt("z")]
    with pytest.raises(NotPairedError, match="1 only in old: x; 1 only in new: z"):
        compare(a, b, names=("old", "new"))
    found = compare(a, b, common_only=True, how=QUICK)
    assert (found.instances, found.left_out) == (1, ("x", "z"))
    assert any("2 instances are not graded in both" in note for note in found.notes)
    with pytest.raises(NotPairedError, match="no instance is graded in both"):
        compare([attempt("x")], [attempt("z")], common_only=True)


def test_infrastructure_failures_are_left_out_by_name() -> None:
    found = compare([attempt("x"), infra("y")], [attempt("x"), attempt("y")], how=QUICK)
    assert (found.instances, found.left_out) == (1, ("y",))


def test_an_attempt_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="there twice"):
        compare([attempt("x"), attempt("x")], [attempt("x")])


@given(PAIRS)
@settings(deadline=None)
def test_swapping_the_runs_mirrors_everything(outcomes: list[tuple[bool, bool]]) -> None:
    a, b = (run(list(one)) for one in zip(*outcomes, strict=True))
    one, other = compare(a, b, how=QUICK), compare(b, a, how=QUICK)
    assert -1 <= one.difference.low <= one.difference.high <= 1
    assert one.difference.value == -other.difference.value
    assert one.p_exact == other.p_exact
    assert one.better_in_a == other.better_in_b
    assert one.discordance == other.discordance
    assert 0 < one.p_bootstrap <= 1
    assert one.tied + len(one.better_in_a) + len(one.better_in_b) == one.instances


def test_false_alarms_are_as_rare_as_alpha() -> None:
    """Equal methods, 200 instances, 15 % discordant: both tests alarm at 5 % or less."""
    rng = np.random.default_rng(1)
    alarms = []
    for _ in range(400):
        discordant = rng.random(200) < 0.15
        a = rng.random(200) < 0.3
        b = np.where(discordant, ~a, a)
        b = np.where(discordant, rng.random(200) < 0.5, a)
        a = np.where(discordant, ~b, a)
        found = compare(run(a.tolist()), run(b.tolist()), how=QUICK)
        alarms.append((found.p_exact < 0.05, found.p_bootstrap < 0.05))
    exact, bootstrap = np.mean(alarms, axis=0)
    assert exact <= 0.06
    assert 0.02 <= bootstrap <= 0.085


def test_holm_step_by_step() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5]) == [0.5]


def test_a_family_is_adjusted_together() -> None:
    base, better = pair(both=40, only_a=10, only_b=30, neither=420)
    family = {"base": run(base), "better": run(better), "same": run(base)}
    against = compare_family(family, baseline="base", how=QUICK)
    assert [(one.a, one.b, one.family) for one in against] == [
        ("base", "better", 2),
        ("base", "same", 2),
    ]
    assert against[0].p_exact_holm == pytest.approx(2 * against[0].p_exact)
    assert against[1].p_exact_holm == 1
    everyone = compare_family(family, how=QUICK)
    assert [(one.a, one.b) for one in everyone] == [
        ("base", "better"),
        ("base", "same"),
        ("better", "same"),
    ]
    assert everyone[0].p_exact_holm == pytest.approx(3 * everyone[0].p_exact)


def test_a_family_needs_two_runs_and_a_known_baseline() -> None:
    with pytest.raises(ValueError, match="needs two runs, found 1"):
        compare_family({"a": run([True])})
    with pytest.raises(ValueError, match="'c' is none of the runs: a, b"):
        compare_family({"a": run([True]), "b": run([True])}, baseline="c")
