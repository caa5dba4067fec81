"""Labels of criticality, and how far annotators agree. Source: CHOP App. L."""

import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from harness.records import Record

RUBRIC = (
    "boilerplate: the next token is unambiguous",
    "local syntactic fill",
    "local semantic fill that any competent agent would pick",
    "a decision among two to five semantically distinct options",
    "a decisive engineering choice: which file, which test, a refactoring's boundary, an inversion",
)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS label (
    annotator TEXT, run TEXT, instance TEXT, seed INTEGER, turn INTEGER, score INTEGER, at TEXT,
    PRIMARY KEY (annotator, run, instance, seed, turn));
"""


class Label(Record):
    """What an annotator says of one action. score: 1 to 5, as `RUBRIC` has it."""

    annotator: str = Field(min_length=1, max_length=60, pattern=r"^[\w .@-]+$")
    run: str = Field(max_length=500)
    instance: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$")
    seed: int = Field(ge=0)
    turn: int = Field(ge=1)
    score: int = Field(ge=1, le=5)


class Labels:
    """A file of labels; a later label of the same annotator on the same action replaces the first.

    Safe to use from several threads and processes.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False, timeout=30)
        self._connection.row_factory = sqlite3.Row
        self._connection.executescript(_SCHEMA)

    def put(self, label: Label) -> None:
        """Keep a label; it is on the disk when this returns."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        values = (*label.model_dump().values(), at)
        with self._lock, self._connection:
            self._connection.execute(
                "INSERT OR REPLACE INTO label VALUES (?, ?, ?, ?, ?, ?, ?)", values
            )

    def of(self, run: str, instance: str, seed: int) -> list[dict[str, Any]]:
        """All labels on an attempt."""
        query = "SELECT * FROM label WHERE run = ? AND instance = ? AND seed = ? ORDER BY turn"
        return self._select(query, (run, instance, seed))

    def done(self, annotator: str) -> set[tuple[str, str, int, int]]:
        """The actions that somebody labelled: run, instance, seed, turn."""
        query = "SELECT run, instance, seed, turn FROM label WHERE annotator = ?"
        return {tuple(row.values()) for row in self._select(query, (annotator,))}

    def agreement(self) -> dict[str, Any]:
        """See `agreement`, over all labels."""
        return agreement(self._select("SELECT * FROM label", ()))

    def _select(self, query: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
        with self._lock, closing(self._connection.execute(query, values)) as cursor:
            return [dict(row) for row in cursor]


def agreement(labels: list[dict[str, Any]]) -> dict[str, Any]:
    """How many actions each annotator labelled, Cohen's κ of each pair with a 95 % interval, and
    Fleiss' κ on the actions that all of them labelled; none where it is not defined.

    Source: Cohen 1960, Fleiss 1971, by `statsmodels.stats.inter_rater`.
    """
    from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

    scores: dict[tuple[Any, ...], dict[str, int]] = {}
    for one in labels:
        item = (one["run"], one["instance"], one["seed"], one["turn"])
        scores.setdefault(item, {})[one["annotator"]] = one["score"]
    names = sorted({one["annotator"] for one in labels})
    common = [of for of in scores.values() if len(of) == len(names)]
    fleiss: float | None = None
    if len(names) > 1 and len({score for of in common for score in of.values()}) > 1:
        table, _ = aggregate_raters(np.array([[of[name] for name in names] for of in common]))
        fleiss = float(fleiss_kappa(table))
    return {
        "annotators": {name: sum(name in of for of in scores.values()) for name in names},
        "fleiss": {"kappa": fleiss, "actions": len(common), "annotators": len(names)},
        "pairs": [_cohen(a, b, scores) for a, b in combinations(names, 2)],
    }


def _cohen(a: str, b: str, scores: dict[tuple[Any, ...], dict[str, int]]) -> dict[str, Any]:
    from statsmodels.stats.inter_rater import cohens_kappa

    table = np.zeros((5, 5), dtype=int)
    for of in scores.values():
        if a in of and b in of:
            table[of[a] - 1, of[b] - 1] += 1
    used = np.flatnonzero(table.sum(0) + table.sum(1))
    found: dict[str, Any] = {"pair": [a, b], "actions": int(table.sum())}
    if len(used) < 2:
        return found | {"kappa": None, "low": None, "high": None}
    result = cohens_kappa(table[np.ix_(used, used)])
    numbers = {"kappa": result.kappa, "low": result.kappa_low, "high": result.kappa_upp}
    return found | {key: round(float(value), 12) for key, value in numbers.items()}
