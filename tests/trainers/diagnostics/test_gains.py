"""Gains by decile on made-up attempts."""

import numpy as np
import pytest

from trainers.diagnostics.gains import Visited, decile_gains


def _visited(low: float, high: float, instances: int = 12, shift: float = 0.0) -> Visited:
    """Each instance: 50 states of an attempt in each half of ρ, resolved at the rates given."""
    rho, outcome, names = [], [], []
    for number in range(instances):
        for half, rate in ((0, low), (1, high)):
            rho.append((np.arange(50) + 0.5) / 100 + half / 2 + shift)
            outcome.append(np.full(50, float((number + 0.5) / instances < rate)))
            names += [f"i{number:02d}"] * 50
    return Visited(np.concatenate(rho), np.concatenate(outcome), np.array(names))


def test_the_gain_is_where_it_was_made() -> None:
    rows = decile_gains(_visited(0.75, 0.5), _visited(0.25, 0.5))
    assert [row["decile"] for row in rows] == list(range(1, 11))
    assert [row["gain"]["value"] for row in rows] == pytest.approx([0.5] * 5 + [0.0] * 5)
    assert rows[0]["outcome"] == pytest.approx(0.75)
    assert rows[0]["baseline"] == pytest.approx(0.25)
    assert {row["n"] + row["baseline_n"] for row in rows} == {240}
    assert rows[0]["gain"]["low"] < 0.5 < rows[0]["gain"]["high"]  # type: ignore[operator]
    # paired: the same instances in both, so that what they have in common is no noise
    assert rows[9]["gain"]["low"] == rows[9]["gain"]["high"] == 0


def test_only_common_graded_instances_count() -> None:
    student, baseline = _visited(1, 1), _visited(0, 0, instances=6)
    assert sum(row["n"] for row in decile_gains(student, baseline)) == 600
    ungraded = baseline._replace(outcome=np.full(600, np.nan))
    assert decile_gains(student, ungraded) == []


def test_deciles_are_of_both_together() -> None:
    rows = decile_gains(_visited(1, 1), _visited(0, 0, shift=10.0))
    assert rows == []  # no decile has states of both
    rows = decile_gains(_visited(1, 1), _visited(0, 0, shift=0.25))
    assert rows[0]["decile"] > 1
    assert all(row["gain"]["value"] == 1 for row in rows)
