"""Agreement of a score with a reference, on closed forms."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from trainers.diagnostics.agreement import (
    calibration_error,
    decile_of,
    deciles,
    disagreement,
    gate_error,
    spearman,
)

NAMES = [f"i{number % 10}" for number in range(100)]
SCORE = (np.arange(100) + 0.5) / 100


def test_rank_correlation() -> None:
    rng = np.random.default_rng(0)
    other = SCORE + rng.normal(scale=0.3, size=100)
    other[::10] = np.nan
    there = np.isfinite(other)
    found = spearman(SCORE, other, NAMES)
    assert found["value"] == pytest.approx(spearmanr(SCORE[there], other[there]).statistic)
    assert found["n"] == 90
    assert found["low"] < found["value"] < found["high"]  # type: ignore[operator]
    assert spearman(SCORE, -(SCORE**3), NAMES)["value"] == pytest.approx(-1)
    assert spearman(SCORE, np.ones(100), NAMES)["value"] is None


def test_deciles_part_the_states_evenly() -> None:
    shuffled = np.random.default_rng(0).permutation(100)
    assert np.bincount(decile_of(SCORE[shuffled])).tolist() == [10] * 10
    assert decile_of(SCORE).tolist() == [number // 10 for number in range(100)]
    # equal scores stay together
    tied = np.array([0.0] * 50 + [1.0] * 50)
    assert decile_of(tied).tolist() == [0] * 50 + [5] * 50
    assert decile_of(np.empty(0)).tolist() == []


def test_a_row_of_each_decile() -> None:
    reference = np.where(SCORE < 0.5, 0.2, 0.8)
    reference[:5] = np.nan
    rows = deciles(SCORE, {"reference": reference}, NAMES)
    assert [row["decile"] for row in rows] == list(range(1, 11))
    assert [row["share"] for row in rows] == pytest.approx([0.1] * 10)
    assert rows[2]["score"]["value"] == pytest.approx(0.25)
    assert (rows[2]["low"], rows[2]["high"]) == pytest.approx((0.205, 0.295))
    assert rows[0]["n"] == 10
    assert rows[0]["columns"]["reference"]["n"] == 5
    assert [row["columns"]["reference"]["value"] for row in rows] == pytest.approx(
        [0.2] * 5 + [0.8] * 5
    )


def test_calibration_error_is_the_mean_gap_of_the_deciles() -> None:
    assert calibration_error(SCORE, SCORE, NAMES)["value"] == pytest.approx(0)
    assert calibration_error(SCORE, SCORE - 0.3, NAMES)["value"] == pytest.approx(0.3)
    # too high in one half, too low in the other: gaps do not cancel between deciles
    bent = SCORE + np.where(SCORE < 0.5, 0.1, -0.1)
    assert calibration_error(SCORE, bent, NAMES)["value"] == pytest.approx(0.1)
    # but they do within one: 1 or 0 as often as the score says is calibrated
    pairs = np.repeat(np.array([0.25, 0.75]), 40)
    outcomes = np.tile(np.array([1.0, 0, 0, 0]), 20)
    outcomes[40:] = 1 - outcomes[40:]
    assert calibration_error(pairs, outcomes, NAMES[:80])["value"] == pytest.approx(0)


def test_contradictions_are_counted() -> None:
    score = np.array([0.9, 0.9, 0.1, 0.5, 0.9])
    reference = np.array([0.1, 0.9, 0.8, 0.0, np.nan])
    found = disagreement(score, reference, list("abcde"))
    assert found.confidently_wrong["value"] == pytest.approx(1 / 4)
    assert found.needlessly_doubted["value"] == pytest.approx(1 / 4)


def test_gate_error_adds_both_sides() -> None:
    alpha = np.array([0.1, 0.2, 0.3, 0.3, 0.9, 0.8, 0.5, np.nan])
    trusted = np.array([True, False, False, False, True, False, False, True])
    found = gate_error(trusted, alpha, 0.5, list("abcdefgh"))
    assert found["value"] == pytest.approx(1 / 4 + 2 / 3)
    assert gate_error(trusted, alpha, 0.05, list("abcdefgh"))["value"] is None
