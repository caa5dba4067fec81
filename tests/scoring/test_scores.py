"""A run's scores: every count adds up, nothing is dropped, order does not matter."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.records import Attempt, Grade, StopReason, Usage, Verdict
from harness.scoring import Resampling, Scored, Scores, score, scored
from harness.scoring.categories import FILES, LINES, TESTS, categories
from tests.conftest import make_instance
from tests.scoring.rows import attempt, infra, run, runs

QUICK = Resampling(n_resamples=50)


def test_one_run_of_five_hundred() -> None:
    scores = score(run([True] * 59 + [False] * 441, repos=12))
    assert (scores.instances, scores.attempts, scores.resolved) == (500, 500, 59)
    assert scores.pass_at_1 is not None
    interval = scores.pass_at_1.interval
    assert (interval.value, interval.n) == (0.118, 500)
    assert (interval.low, interval.high) == pytest.approx((0.09, 0.148))
    assert scores.pass_at_1_clustered is not None
    assert scores.pass_at_1_clustered.n == 12
    assert [one.k for one in scores.pass_at_k] == [1]
    assert scores.verdicts == {Verdict.RESOLVED: 59, Verdict.UNRESOLVED: 441}
    assert scores == Scores.model_validate_json(scores.model_dump_json())


def test_seeds_are_averaged_within_an_instance() -> None:
    scores = score(runs([[True, False, False], [True, True, False]]), how=QUICK)
    assert scores.pass_at_1 is not None
    assert scores.pass_at_1.interval.value == pytest.approx(0.5)
    assert scores.pass_at_1.interval.n == 3
    assert scores.resolved_by_seed == {0: 1, 1: 2}
    pass_at_2 = scores.pass_at_k[1]
    assert pass_at_2.k == 2
    assert pass_at_2.rate.interval.value == pytest.approx(2 / 3)


def test_infrastructure_failures_are_apart_with_their_bounds() -> None:
    rows = [
        *run([True, False]),
        infra("i-0002"),
        infra("i-0000", seed=1),
        attempt("i-0001", seed=1),
    ]
    scores = score(rows, expected=[("i-0003", 0), ("i-0000", 0)], how=QUICK)
    assert (scores.instances, scores.attempts, scores.seeds) == (4, 5, (0, 1))
    assert scores.pass_at_1 is not None
    assert (scores.pass_at_1.interval.n, scores.pass_at_1.interval.value) == (2, 0.5)
    assert [(one.instance_id, one.seed) for one in scores.ungraded.infra_failures] == [
        ("i-0000", 1),
        ("i-0002", 0),
    ]
    assert [(one.instance_id, one.seed) for one in scores.ungraded.missing] == [("i-0003", 0)]
    assert scores.ungraded.low == pytest.approx((0.5 + 0 + 0 + 0) / 4)
    assert scores.ungraded.high == pytest.approx((1 + 0 + 1 + 1) / 4)
    assert scores.verdicts[Verdict.INFRA_FAILURE] == 2


def test_no_graded_attempt_is_no_number() -> None:
    scores = score([infra("a"), infra("b")], how=QUICK)
    assert scores.pass_at_1 is None
    assert scores.generated_tokens is None
    assert (scores.ungraded.low, scores.ungraded.high) == (0, 1)
    assert scores.pass_at_k == ()
    assert score([]).instances == 0


def test_an_attempt_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="there twice: a, seed 3"):
        score([attempt("a", seed=3), attempt("a", seed=3, resolved=True)])


def test_groups_in_an_order_that_makes_sense() -> None:
    bands = (">4 hours", "<15 min fix", None, "15 min - 1 hour", "1-4 hours")
    rows = [
        attempt(str(number), difficulty=band, categories={"size": f"s{number % 2}"})
        for number, band in enumerate(bands)
    ]
    scores = score(rows, how=QUICK)
    assert [group.name for group in scores.by_difficulty] == [
        "<15 min fix",
        "15 min - 1 hour",
        "1-4 hours",
        ">4 hours",
        "not stated",
    ]
    assert [(one.name, one.instances) for one in scores.by_category["size"]] == [
        ("s0", 3),
        ("s1", 2),
    ]
    assert score(run([True, False]), how=QUICK).by_difficulty == ()


def test_leaving_a_repository_out() -> None:
    rows = [
        attempt("a", resolved=True, repo="o/a"),
        attempt("b", repo="o/b"),
        attempt("c", repo="o/b"),
    ]
    scores = score(rows, how=QUICK)
    rates = {one.name: one.pass_at_1.interval.value for one in scores.without_repository}
    assert rates == {"o/a": 0, "o/b": 1}
    assert [(one.name, one.instances) for one in scores.by_repository] == [("o/a", 1), ("o/b", 2)]
    assert score(run([True, False]), how=QUICK).without_repository == ()


def test_length_is_the_mean_over_instances_of_the_mean_over_seeds() -> None:
    rows = [
        attempt("a", generated_tokens=100, turns=4, seconds=1),
        attempt("a", seed=1, generated_tokens=300, turns=6, seconds=2),
        attempt("b", generated_tokens=1000, turns=10, seconds=8),
        infra("c"),
    ]
    scores = score(rows, how=QUICK)
    assert scores.generated_tokens is not None
    assert scores.turns is not None
    assert scores.seconds is not None
    assert (scores.generated_tokens.value, scores.generated_tokens.n) == (600, 2)
    assert (scores.turns.value, scores.seconds.value) == (7.5, 4.75)


ROWS = st.lists(
    st.builds(
        attempt,
        st.sampled_from("abcdef"),
        seed=st.integers(0, 3),
        verdict=st.sampled_from(Verdict),
        stop_reason=st.sampled_from(StopReason),
    ),
    max_size=24,
    unique_by=lambda row: (row.instance_id, row.seed),
)


@given(ROWS, st.randoms())
@settings(deadline=None, max_examples=50)
def test_counts_add_up_in_any_order(rows: list[Scored], rng: random.Random) -> None:
    scores = score(rows, how=QUICK)
    graded = scores.attempts - len(scores.ungraded.infra_failures)
    assert scores.attempts == len(rows) == sum(scores.verdicts.values())
    assert sum(scores.stop_reasons.values()) == len(rows)
    assert sum(group.attempts for group in scores.by_repository) == graded
    assert sum(scores.resolved_by_seed.values()) == scores.resolved
    assert scores.resolved == scores.verdicts.get(Verdict.RESOLVED, 0)
    if scores.pass_at_1:
        assert 0 <= scores.ungraded.low <= scores.ungraded.high <= 1
        values = [one.rate.interval.value for one in scores.pass_at_k if one.rate.interval.n]
        assert values[0] == pytest.approx(scores.pass_at_1.interval.value)
    shuffled = list(rows)
    rng.shuffle(shuffled)
    assert score(shuffled, how=QUICK) == scores


def test_joining_the_records_of_one_attempt() -> None:
    instance = make_instance(difficulty="1-4 hours")
    made = Attempt(
        instance_id=instance.instance_id,
        method="m",
        seed=3,
        model=None,
        stop_reason=StopReason.FINISHED,
        detail="",
        usage=Usage(turns=7, generated_tokens=900),
        patch_sha256="0",
        patch_bytes=0,
        started_at="2026-01-01T00:00:00Z",
        seconds=12.5,
    )
    grade = Grade(
        instance_id=instance.instance_id,
        verdict=Verdict.RESOLVED,
        reason="",
        patch_sha256="0",
        image_digest="",
        grader="",
        cache_key="",
    )
    row = scored(instance, made, grade)
    assert (row.resolved, row.seed, row.turns, row.generated_tokens) == (True, 3, 7, 900)
    assert (row.repo, row.difficulty, row.seconds) == ("owner/pkg", "1-4 hours", 12.5)
    broken = made.model_copy(update={"stop_reason": StopReason.INFRASTRUCTURE})
    assert scored(instance, broken, None).verdict is Verdict.INFRA_FAILURE
    with pytest.raises(ValueError, match="seed 3: not graded"):
        scored(instance, made, None)
    with pytest.raises(ValueError, match="different instances: other, owner__pkg-1"):
        scored(instance, made, grade.model_copy(update={"instance_id": "other"}))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {FILES: "one file", LINES: "1–5 lines", TESTS: "1 test"}),
        ({"patch": "no diff"}, {FILES: "unreadable patch", LINES: "unreadable patch"}),
        ({"patch": "--- a/x\n+++ b/x\n@@ -1,9 +1 @@\n"}, {FILES: "unreadable patch"}),
        ({"FAIL_TO_PASS": []}, {TESTS: "no test"}),
        ({"FAIL_TO_PASS": list("abcde")}, {TESTS: "2–5 tests"}),
        ({"FAIL_TO_PASS": list("abcdef")}, {TESTS: "6 tests and more"}),
        (
            {
                "patch": "--- a/x\n+++ b/x\n@@ -0,0 +1,20 @@\n"
                + "+x\n" * 20
                + "--- a/y\n+++ b/y\n@@ -1 +0,0 @@\n-y\n"
            },
            {FILES: "several files", LINES: "21 lines and more"},
        ),
    ],
)
def test_categories(changes: dict[str, Any], expected: dict[str, str]) -> None:
    assert expected.items() <= categories(make_instance(**changes)).items()


@given(st.text(alphabet="@-+ \n/ab1,0\\", min_size=1, max_size=80))
@settings(deadline=None)
def test_no_patch_breaks_the_categories(text: str) -> None:
    patch = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n" + text
    assert set(categories(make_instance(patch=patch))) == {FILES, LINES, TESTS}


def test_categories_of_real_instances(verified_rows: list[dict[str, Any]]) -> None:
    found = [categories(make_instance(**row)) for row in verified_rows]
    assert sum(one[FILES] == "one file" for one in found) == 429
    assert not any("unreadable patch" in one.values() for one in found)
