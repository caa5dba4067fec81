"""What is in a folder of runs: an SQLite file in the cache, kept up to date by file times."""

import hashlib
import json
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from harness.records import RunFolder
from harness.reports.text import plain
from harness.viewer.reading import (
    attempt_figures,
    attempts_on_disk,
    repositories,
    run_figures,
    runs_on_disk,
    searched_text,
    stamp,
)

_SPACE = re.compile(r"\s+")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (
    run TEXT PRIMARY KEY, stamp TEXT, id TEXT, method TEXT, suite TEXT, model TEXT, scores TEXT);
CREATE TABLE IF NOT EXISTS attempt (
    number INTEGER PRIMARY KEY, run TEXT, instance TEXT, seed INTEGER, repo TEXT, stamp TEXT,
    status TEXT, stop TEXT, turns INTEGER, tokens INTEGER, seconds REAL, patch INTEGER,
    UNIQUE (run, instance, seed));
CREATE INDEX IF NOT EXISTS by_instance ON attempt (instance, run, seed);
CREATE INDEX IF NOT EXISTS by_status ON attempt (status, instance);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (text);
"""
ATTEMPT_SORTS = (
    *("run", "instance", "seed", "repo", "status"),
    *("stop", "turns", "tokens", "seconds", "patch"),
)
INSTANCE_SORTS = ("instance", "repo", "attempts", "share", "turns", "tokens")
_OUTCOMES = {
    "": "",
    "all": "HAVING share = 1",
    "some": "HAVING share > 0 AND share < 1",
    "none": "HAVING share = 0",
}


class Index:
    """Runs and attempts below a root. Safe to use from several threads."""

    def __init__(self, root: Path, cache: Path) -> None:
        self.root = root.resolve()
        digest = hashlib.sha256(str(self.root).encode()).hexdigest()[:16]
        path = cache / "viewer" / f"{digest}-2.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False, timeout=60)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.executescript(_SCHEMA)

    def refresh(self, on_progress: Callable[[int], None] = lambda done: None) -> int:
        """Read what is new or changed, forget what is gone; how many attempts there are."""
        runs = runs_on_disk(self.root)
        done = 0
        for name, folder in runs.items():
            with self._lock, self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                self._read_run(name, folder)
                for _ in self._read_attempts(name, folder):
                    done += 1
                    on_progress(done)
        with self._lock, self._connection:
            for (name,) in self._connection.execute("SELECT run FROM run").fetchall():
                if name not in runs:
                    query = "SELECT number FROM attempt WHERE run = ?"
                    self._forget([row[0] for row in self._connection.execute(query, (name,))])
                    self._connection.execute("DELETE FROM run WHERE run = ?", (name,))
        return done

    def folder(self, run: str) -> RunFolder:
        """The folder of a known run. Raises KeyError for another name."""
        with self._lock:
            found = self._connection.execute("SELECT 1 FROM run WHERE run = ?", (run,)).fetchone()
        if found is None:
            raise KeyError(run)
        return RunFolder(self.root / run)

    def runs(self) -> list[dict[str, Any]]:
        """Every run with its scores and how many attempts of it there are, by name."""
        found = self._select(
            "SELECT run.*, count(number) AS attempts, sum(status = 'resolved') AS resolved "
            "FROM run LEFT JOIN attempt USING (run) GROUP BY run ORDER BY run"
        )
        return [row | {"scores": json.loads(row["scores"])} for row in found]

    def attempts(
        self,
        *,
        where: Mapping[str, str],
        name: str = "",
        text: str = "",
        sort: str = "instance",
        down: bool = False,
        offset: int = 0,
        limit: int = 100,
    ) -> dict[str, Any]:
        """A page of attempts, and how many there are.

        where: run, status or repo. name: a part of the instance's id. text: words that the attempt
        has, all of them; each row has where. Raises ValueError for an unknown column.
        """
        if sort not in ATTEMPT_SORTS:
            raise ValueError(f"no column {sort!r}: {', '.join(ATTEMPT_SORTS)}")
        text = plain(text).strip()
        condition, values = _condition(where, name, text)
        (total,) = self._select(f"SELECT count(*) AS n FROM attempt {condition}", values)  # noqa: S608
        order = f"{sort} {'DESC' if down else 'ASC'}, instance, run, seed"
        rows = self._select(
            f"SELECT number, {', '.join(ATTEMPT_SORTS)} FROM attempt {condition} "  # noqa: S608
            f"ORDER BY {order} LIMIT ? OFFSET ?",
            [*values, limit, offset],
        )
        for row in rows:
            number = row.pop("number")
            if text:
                row["found"] = self._found(number, text)
        return {"total": total["n"], "rows": rows}

    def _found(self, number: int, text: str) -> list[tuple[str, bool]]:
        """Where the words are in an attempt: pieces of text, and whether each is one of them."""
        query = (
            "SELECT snippet(words, 0, char(2), char(3), '…', 24) AS piece FROM words "
            "WHERE words MATCH ? AND rowid = ?"
        )
        (row,) = self._select(query, [_match(text), number])
        parts = re.split("[\x02\x03]", row["piece"])
        return [(_SPACE.sub(" ", plain(part)), bool(place % 2)) for place, part in enumerate(parts)]

    def instances(
        self,
        *,
        where: Mapping[str, str],
        name: str = "",
        outcome: str = "",
        sort: str = "instance",
        down: bool = False,
        offset: int = 0,
        limit: int = 100,
    ) -> dict[str, Any]:
        """A page of instances over all runs, each with what every run resolved, and how many.

        outcome: resolved by "all" attempts, by "some" alone or by "none". Raises ValueError for
        an unknown column or outcome.
        """
        if sort not in INSTANCE_SORTS or outcome not in _OUTCOMES:
            raise ValueError(f"no column {sort!r} or outcome {outcome!r}")
        condition, values = _condition(where, name, "")
        grouped = (
            "SELECT instance, max(repo) AS repo, count(*) AS attempts, "  # noqa: S608
            "total(status = 'resolved') / count(*) AS share, avg(turns) AS turns, "
            f"avg(tokens) AS tokens FROM attempt {condition} "
            f"GROUP BY instance {_OUTCOMES[outcome]}"
        )
        (total,) = self._select(f"SELECT count(*) AS n FROM ({grouped})", values)  # noqa: S608
        rows = self._select(
            f"{grouped} ORDER BY {sort} {'DESC' if down else 'ASC'}, instance LIMIT ? OFFSET ?",
            [*values, limit, offset],
        )
        marks = ", ".join("?" * len(rows))
        cells = self._select(
            "SELECT instance, run, min(seed) AS seed, total(status = 'resolved') AS resolved, "  # noqa: S608
            f"count(*) AS attempts FROM attempt WHERE instance IN ({marks}) "
            "GROUP BY instance, run",
            [row["instance"] for row in rows],
        )
        runs: dict[str, dict[str, Any]] = {row["instance"]: {} for row in rows}
        for one in cells:
            runs[one.pop("instance")][one.pop("run")] = one
        return {
            "total": total["n"],
            "rows": [row | {"runs": runs[row["instance"]]} for row in rows],
        }

    def choices(self) -> dict[str, list[str]]:
        """What attempts can be filtered by."""
        distinct = "SELECT DISTINCT {0} FROM attempt ORDER BY 1"
        return {
            column: [row[column] for row in self._select(distinct.format(column))]
            for column in ("run", "status", "repo")
        }

    def beside(self, run: str, instance: str, seed: int) -> dict[str, Any]:
        """All attempts at an instance, and those before and after one in its run."""
        query = "SELECT run, seed, status FROM attempt WHERE instance = ? ORDER BY run, seed"
        found: dict[str, Any] = {"siblings": self._select(query, [instance])}
        for side, sign, order in (("previous", "<", "DESC"), ("next", ">", "ASC")):
            rows = self._select(
                f"SELECT instance, seed FROM attempt WHERE run = ? AND (instance, seed) {sign} "  # noqa: S608
                f"(?, ?) ORDER BY instance {order}, seed {order} LIMIT 1",
                [run, instance, seed],
            )
            found[side] = rows[0] if rows else None
        return found

    def actions(self, run: str) -> list[dict[str, Any]]:
        """One action of every attempt, of a run or of all, in an order without pattern that is
        the same at every start: annotators who take them in turn label the same actions.
        """
        condition, values = _condition({"run": run} if run else {}, "", "")
        found = self._select(
            f"SELECT run, instance, seed, turns FROM attempt {condition}",  # noqa: S608
            values,
        )
        drawn = []
        for one in found:
            if (turns := one.pop("turns")) > 0:
                key = f"{one['run']}/{one['instance']}/{one['seed']}"
                number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8])
                drawn.append((number, one | {"turn": 1 + number % turns}))
        return [one for _, one in sorted(drawn, key=lambda pair: pair[0])]

    def _select(self, query: str, values: list[Any] | None = None) -> list[dict[str, Any]]:
        with self._lock, closing(self._connection.execute(query, values or [])) as cursor:
            return [dict(row) for row in cursor]

    def _read_run(self, name: str, folder: RunFolder) -> None:
        now = stamp(folder.config, folder.scores)
        query = "SELECT 1 FROM run WHERE run = ? AND stamp = ?"
        if self._connection.execute(query, (name, now)).fetchone() is None:
            self._connection.execute(
                "INSERT OR REPLACE INTO run VALUES (?, ?, ?, ?, ?, ?, ?)",
                (name, now, *run_figures(folder, name)),
            )

    def _read_attempts(self, run: str, folder: RunFolder) -> Iterator[None]:
        """Bring the attempts of a run up to date, one at a time."""
        rows = self._connection.execute(
            "SELECT instance, seed, number, stamp FROM attempt WHERE run = ?", (run,)
        )
        known = {(instance, seed): (number, at) for instance, seed, number, at in rows}
        repository: dict[str, str] | None = None
        for instance, seed, now in attempts_on_disk(folder):
            number, before = known.pop((instance, seed), (None, None))
            if before != now:
                if repository is None:
                    repository = repositories(folder)
                values = (run, instance, seed, repository.get(instance, ""), now)
                figures = attempt_figures(folder, instance, seed)
                text = searched_text(folder, folder.attempt(instance, seed))
                self._replace(number, (*values, *figures), text)
            yield
        self._forget([number for number, _ in known.values()])

    def _replace(self, number: int | None, values: tuple[str | float, ...], text: str) -> None:
        marks = ", ".join("?" * (1 + len(values)))
        cursor = self._connection.execute(
            f"INSERT OR REPLACE INTO attempt VALUES ({marks})",  # noqa: S608
            (number, *values),
        )
        self._connection.execute("DELETE FROM words WHERE rowid = ?", (cursor.lastrowid,))
        self._connection.execute(
            "INSERT INTO words (rowid, text) VALUES (?, ?)", (cursor.lastrowid, text)
        )

    def _forget(self, numbers: list[int]) -> None:
        of = [(number,) for number in numbers]
        self._connection.executemany("DELETE FROM words WHERE rowid = ?", of)
        self._connection.executemany("DELETE FROM attempt WHERE number = ?", of)


def _condition(where: Mapping[str, str], name: str, text: str) -> tuple[str, list[Any]]:
    if not where.keys() <= {"run", "status", "repo"}:
        raise ValueError(f"no column of {sorted(where)}: run, status, repo")
    parts = [f"{column} = ?" for column in where]
    values: list[Any] = list(where.values())
    if name:
        parts.append("instr(lower(instance), lower(?)) > 0")
        values.append(name)
    if text:
        parts.append("number IN (SELECT rowid FROM words WHERE words MATCH ?)")
        values.append(_match(text))
    return f"WHERE {' AND '.join(parts)}" if parts else "", values


def _match(text: str) -> str:
    """All words of a text, each as the beginning of a word."""
    return " ".join('"' + word.replace('"', '""') + '"*' for word in text.split())
