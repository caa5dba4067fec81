"""What is in a folder of runs: an SQLite file in the cache, kept up to date by file times."""

import hashlib
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml

from harness.records import InstanceId, RunFolder
from harness.reports.files import contained
from harness.reports.load import read_entry

_DEPTH = 4  # folders from the root to a run.yaml
_TEXT = 40_000  # characters of an attempt that are searched
_EVENTS = 4 << 20  # bytes that are read for them
_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (
    run TEXT PRIMARY KEY, id TEXT, method TEXT, suite TEXT, model TEXT, stamp TEXT, scores TEXT);
CREATE TABLE IF NOT EXISTS attempt (
    number INTEGER PRIMARY KEY, run TEXT, instance TEXT, seed INTEGER, repo TEXT, status TEXT,
    stop TEXT, turns INTEGER, tokens INTEGER, seconds REAL, patch INTEGER, stamp TEXT,
    UNIQUE (run, instance, seed));
CREATE INDEX IF NOT EXISTS by_instance ON attempt (instance, run, seed);
CREATE INDEX IF NOT EXISTS by_status ON attempt (status, instance);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (text);
"""
_PLAIN = ("run", "instance", "seed", "status", "stop", "turns", "tokens", "seconds", "patch")
SORTS = (*_PLAIN, "repo")


class Index:
    """Runs and attempts below a root. Safe to use from several threads."""

    def __init__(self, root: Path, cache: Path) -> None:
        self.root = root.resolve()
        digest = hashlib.sha256(str(self.root).encode()).hexdigest()[:16]
        path = cache / "viewer" / f"{digest}-1.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.executescript(_SCHEMA)

    def refresh(self, on_progress: Callable[[int], None] = lambda done: None) -> int:
        """Read what is new or changed, forget what is gone; how many attempts there are."""
        with self._lock, self._connection:
            rows = self._connection.execute(
                "SELECT number, run, instance, seed, stamp FROM attempt"
            )
            known = {(row[1], row[2], row[3]): (row[0], row[4]) for row in rows}
            runs = {str(one.root.relative_to(self.root)): one for one in self._runs()}
            done = 0
            for name, folder in runs.items():
                self._read_run(name, folder)
                repositories: dict[str, str] = {}
                for instance, seed, stamp in _attempts(folder):
                    number, before = known.pop((name, instance, seed), (None, None))
                    if before != stamp:
                        repositories = repositories or _repositories(folder)
                        repo = repositories.get(instance, "")
                        self._read_attempt(number, name, folder, instance, seed, stamp, repo)
                    done += 1
                    on_progress(done)
            for number, _ in known.values():
                self._connection.execute("DELETE FROM words WHERE rowid = ?", (number,))
                self._connection.execute("DELETE FROM attempt WHERE number = ?", (number,))
            for (name,) in self._connection.execute("SELECT run FROM run").fetchall():
                if name not in runs:
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
        has, all of them. Raises ValueError for an unknown column.
        """
        if sort not in SORTS or not where.keys() <= {"run", "status", "repo"}:
            raise ValueError(f"no column {sort!r} or {sorted(where)}: {', '.join(SORTS)}")
        parts = [f"{column} = ?" for column in where]
        values: list[Any] = list(where.values())
        if name:
            parts.append("instr(lower(instance), lower(?)) > 0")
            values.append(name)
        if words := text.split():
            parts.append("number IN (SELECT rowid FROM words WHERE words MATCH ?)")
            values.append(" ".join('"' + word.replace('"', '""') + '"*' for word in words))
        condition = f"WHERE {' AND '.join(parts)}" if parts else ""
        (total,) = self._select(f"SELECT count(*) AS n FROM attempt {condition}", values)  # noqa: S608
        order = f"{sort} {'DESC' if down else 'ASC'}, instance, run, seed"
        rows = self._select(
            f"SELECT repo, {', '.join(_PLAIN)} FROM attempt {condition} "  # noqa: S608
            f"ORDER BY {order} LIMIT ? OFFSET ?",
            [*values, limit, offset],
        )
        return {"total": total["n"], "rows": rows}

    def choices(self) -> dict[str, list[str]]:
        """What attempts can be filtered by."""
        columns = ("run", "status", "repo")
        return {
            column: [
                row[column]
                for row in self._select(
                    f"SELECT DISTINCT {column} FROM attempt ORDER BY 1"  # noqa: S608
                )
            ]
            for column in columns
        }

    def siblings(self, instance: str) -> list[dict[str, Any]]:
        """All attempts at an instance."""
        query = "SELECT run, seed, status FROM attempt WHERE instance = ? ORDER BY run, seed"
        return self._select(query, [instance])

    def _select(self, query: str, values: list[Any] | None = None) -> list[dict[str, Any]]:
        with self._lock, closing(self._connection.execute(query, values or [])) as cursor:
            return [dict(row) for row in cursor]

    def _runs(self) -> Iterator[RunFolder]:
        for depth in range(_DEPTH):
            for path in sorted(self.root.glob("*/" * depth + "run.yaml")):
                if path.is_file() and path.resolve().is_relative_to(self.root):
                    yield RunFolder(path.parent)

    def _read_run(self, name: str, folder: RunFolder) -> None:
        stamp = f"{_time(folder.config)} {_time(folder.scores)}"
        query = "SELECT stamp FROM run WHERE run = ?"
        found = self._connection.execute(query, (name,)).fetchone()
        if found is not None and found[0] == stamp:
            return
        config = _mapping(folder.config)
        scores = _mapping(folder.scores)
        method = config.get("method")
        suite, model = config.get("suite"), config.get("model")
        self._connection.execute(
            "INSERT OR REPLACE INTO run VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                name,
                str(config.get("id", name)),
                str(method.get("name") if isinstance(method, dict) else method or ""),
                str(suite.get("reference") if isinstance(suite, dict) else suite or ""),
                str(model.get("name") if isinstance(model, dict) else model or ""),
                stamp,
                json.dumps(
                    {key: scores.get(key) for key in ("pass_at_1", "instances", "ungraded")}
                ),
            ),
        )

    def _read_attempt(
        self,
        number: int | None,
        run: str,
        folder: RunFolder,
        instance: InstanceId,
        seed: int,
        stamp: str,
        repo: str,
    ) -> None:
        entry = read_entry(folder, instance, seed)
        attempt = entry.attempt
        values = (
            *(number, run, instance, seed, repo, entry.status.value),
            attempt.stop_reason.value if attempt else "",
            attempt.usage.turns if attempt else 0,
            attempt.usage.generated_tokens if attempt else 0,
            attempt.seconds if attempt else 0.0,
            attempt.patch_bytes if attempt else 0,
            stamp,
        )
        if number is not None:
            self._connection.execute("DELETE FROM words WHERE rowid = ?", (number,))
        cursor = self._connection.execute(
            f"INSERT OR REPLACE INTO attempt VALUES ({', '.join('?' * len(values))})",  # noqa: S608
            values,
        )
        text = _text(folder, folder.attempt(instance, seed))
        self._connection.execute(
            "INSERT INTO words (rowid, text) VALUES (?, ?)", (cursor.lastrowid, text)
        )


def _attempts(folder: RunFolder) -> Iterator[tuple[InstanceId, int, str]]:
    """Instance, seed and the times of the files of every attempt."""
    for path in sorted((folder.root / "attempts").glob("*/[0-9]*")):
        if path.name.isdecimal() and path.is_dir():
            instance, seed = InstanceId(path.parent.name), int(path.name)
            grade = folder.grade(instance, seed) / "grade.json"
            yield instance, seed, f"{_time(path / 'attempt.json')} {_time(grade)}"


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _mapping(path: Path) -> dict[str, Any]:
    """A YAML or JSON file; nothing where it cannot be read."""
    try:
        data = path.read_text(encoding="utf-8")
        found = json.loads(data) if path.suffix == ".json" else yaml.safe_load(data)
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _repositories(folder: RunFolder) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        for line in folder.suite.read_text(encoding="utf-8", errors="replace").splitlines():
            row = json.loads(line)
            found[str(row["instance_id"])] = str(row["repo"])
    except (OSError, ValueError, TypeError, KeyError):
        pass
    return found


def _text(folder: RunFolder, attempt: Path) -> str:
    """What was said and done in an attempt, and its patch, as far as they are searched."""
    parts: list[str] = []
    for name in ("patch.diff", "events.jsonl"):
        try:
            file = contained(folder, attempt / name)
            if file is None:
                continue
            with file.open("rb") as stream:
                data = stream.read(_EVENTS).decode(errors="replace")
        except (OSError, ValueError):
            continue
        parts += [data] if name == "patch.diff" else _said(data)
    return "\n".join(parts)[:_TEXT].encode(errors="replace").decode()


def _said(lines: str) -> Iterator[str]:
    for line in lines.splitlines():
        try:
            yield str(json.loads(line)["text"])
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
