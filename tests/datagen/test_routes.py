"""Routes as controls, from a ledger."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.datagen.routes import (
    Decision,
    Decisions,
    RouteError,
    by_outcome,
    misplaced,
    read_ledger,
    write_route,
)


def ledger(folder: Path, step: int, rows: list[tuple[str, int, bool, bool]], open_: bool) -> None:
    folder.mkdir(exist_ok=True)
    names, tokens, trusted, active = zip(*rows, strict=True)
    threshold = [0.5 if open_ else None] * len(rows)
    columns = {
        "trajectory": names,
        "token": tokens,
        "trusted": trusted,
        "pi_active": active,
        "reliability_threshold": threshold,
        "pi_threshold": threshold,
    }
    pq.write_table(pa.table(columns), folder / f"step-{step:06d}.parquet")


def many() -> Decisions:
    return {
        (f"r/i{one}/0#0", 3 * place): Decision(place < 10, place % 4 == 0)
        for one in range(5)
        for place in range(20)
    }


def test_the_last_decision_of_open_gates_counts(tmp_path: Path) -> None:
    ledger(tmp_path / "l", 1, [("r/a/0#0", 4, True, False), ("r/a/0#0", 7, True, False)], False)
    ledger(tmp_path / "l", 2, [("r/a/0#0", 4, False, False), ("r/a/0#0", 7, True, True)], True)
    ledger(tmp_path / "l", 3, [("r/a/0#0", 4, False, True)], True)
    found = read_ledger(tmp_path / "l")
    assert found == {("r/a/0#0", 4): Decision(False, True), ("r/a/0#0", 7): Decision(True, True)}
    ledger(tmp_path / "l", 4, [("r/b/0#0", 1, True, False)], False)
    with pytest.raises(RouteError, match=r"1 of 3 states .* token 1 of r/b/0#0"):
        read_ledger(tmp_path / "l")
    with pytest.raises(RouteError, match="no ledger"):
        read_ledger(tmp_path)
    (tmp_path / "l" / "step-000005.parquet").write_text("x")
    with pytest.raises(RouteError, match="step-000005"):
        read_ledger(tmp_path / "l")


def test_misplaced_decisions_keep_the_cells() -> None:
    given = many()
    found = misplaced(given, 0)
    assert found.keys() == given.keys()
    assert Counter(found.values()) == Counter(given.values())
    assert found != given
    assert found == misplaced(given, 0) != misplaced(given, 1)


def test_misplaced_by_depth_keeps_the_cells_of_each_tenth() -> None:
    given = many()
    found = misplaced(given, 0, by_depth=True)
    for tenth in range(10):
        places = {3 * (2 * tenth), 3 * (2 * tenth + 1)}
        before, after = (
            Counter(one for (_, token), one in each.items() if token in places)
            for each in (given, found)
        )
        assert before == after
    assert found != given


def test_an_oracle_s_route_is_what_the_teacher_resolved() -> None:
    states = [("r/a/0#0", 1), ("r/b/1#0", 2), ("r/c/0#0", 3)]
    found = by_outcome(states, {"a": 1.0, "b": 0.0, "c": 0.0}, {"a": 1.0, "b": 0.5, "c": 0.0})
    assert list(found.values()) == [
        Decision(True, False),
        Decision(False, True),
        Decision(False, False),
    ]
    with pytest.raises(RouteError, match="no graded attempt at b"):
        by_outcome(states, {"a": 1.0}, {"a": 1.0})


def test_the_command_writes_what_a_training_reads(tmp_path: Path) -> None:
    rows = [(name, token, *decision) for (name, token), decision in many().items()]
    ledger(tmp_path / "l", 1, rows, True)
    out = tmp_path / "routes" / "quota.parquet"
    arguments = ["datagen", "route", str(tmp_path / "l"), "--kind", "quota", "--out", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert "100 states, 50.0% untrusted, 25.0% with PI" in result.output
    write_route(misplaced(many(), 0), tmp_path / "same")
    assert out.read_bytes() == (tmp_path / "same").read_bytes()
