"""The rules: what of an evaluation suite no training row may share."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.leakage.filter_diff import MalformedDiffError, TouchedPaths, touched_paths
from harness.leakage.filter_manifest import FilterError, Rejection, Rule
from harness.leakage.filter_repositories import RepositoryNameError, canonical_repository
from harness.leakage.filter_rows import RawRow
from harness.suites.rows import Unreadable

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_NO_TRAINING = (Rule.INVALID_ROW, Rule.MALFORMED_PATCH)


@dataclass(frozen=True, slots=True)
class RowFacts:
    """What the rules ask of a row; `problem` says why it cannot be judged."""

    number: int
    instance_id: str
    repo: str
    repository: str
    commit: str
    touched: TouchedPaths | None
    problem: str = ""


def row_facts(row: RawRow) -> RowFacts:
    """Read a row. A row without the four fields has no repository, one with a malformed gold patch
    no `touched`; both have a `problem`.
    """
    value = row.value
    if not isinstance(value, dict):
        reason = str(value) if isinstance(value, Unreadable) else "expected an object"
        return RowFacts(row.number, "", "", "", "", None, reason)
    texts = [_text(value, name) for name in ("instance_id", "repo", "base_commit", "patch")]
    instance_id, repo, commit, patch = texts
    facts = (row.number, instance_id[:200], repo[:200])
    missing = [
        name
        for name, text in zip(("instance_id", "repo", "base_commit"), texts, strict=False)
        if not text
    ]
    if missing:
        return RowFacts(*facts, "", "", None, f"no {', '.join(missing)}")
    commit = commit.strip().casefold()
    try:
        repository = canonical_repository(repo)
    except RepositoryNameError as error:
        return RowFacts(*facts, "", "", None, f"repo: {error}")
    if not _COMMIT.fullmatch(commit):
        problem = f"base_commit: expected 40 hexadecimal digits, found {commit[:80]!r}"
        return RowFacts(*facts, "", "", None, problem)
    try:
        return RowFacts(*facts, repository, commit, touched_paths(patch))
    except MalformedDiffError as error:
        return RowFacts(*facts, repository, commit, None, f"patch: {error}")


class Evaluation:
    """The evaluation instances, by what the rules ask for.

    Raises FilterError for a row that cannot be judged: nothing could be kept away from it.
    """

    def __init__(self, rows: Iterable[RowFacts], name: str) -> None:
        self.rows = 0
        self.commits: set[tuple[str, str]] = set()
        self._by: dict[Rule, dict[Any, list[str]]] = {
            rule: defaultdict(list) for rule in Rule if rule not in _NO_TRAINING
        }
        self._written: dict[tuple[str, str, str], str] = {}
        for row in rows:
            if row.touched is None:
                raise FilterError(
                    f"{name}: row {row.number} {row.instance_id}: {row.problem}. Nothing can be "
                    "kept away from an evaluation instance that cannot be read: mend the row"
                )
            self._add(row, row.touched)
        if not self.rows:
            raise FilterError(f"{name}: no evaluation instances")

    def _add(self, row: RowFacts, touched: TouchedPaths) -> None:
        self.rows += 1
        self.commits.add((row.repository, row.commit))
        self._by[Rule.BASE_COMMIT][row.commit].append(row.instance_id)
        self._by[Rule.INSTANCE_ID][row.instance_id.casefold()].append(row.instance_id)
        self._by[Rule.GOLD_PATCH][touched.digest].append(row.instance_id)
        self._by[Rule.REPOSITORY][row.repository].append(row.instance_id)
        for key, path in touched.paths.items():
            self._by[Rule.PATH][row.repository, key].append(row.instance_id)
            self._written[row.repository, key, row.instance_id] = path

    def judge(
        self, row: RowFacts, rules: Iterable[Rule], forks: Mapping[str, tuple[str, str]]
    ) -> Rejection | None:
        """The rejection by the first rule that names the row; None for a row that is kept."""
        repository = forks.get(row.repository, (row.repository, ""))[0]
        for rule in rules:
            clash = self._clash(rule, row, repository)
            if clash is not None:
                ids, evidence = clash
                return Rejection(
                    row=row.number,
                    instance_id=row.instance_id,
                    repo=row.repo,
                    rule=rule,
                    evaluation_instance=min(ids, default=None),
                    evidence=evidence,
                    clashes=len(ids),
                )
        return None

    def _clash(self, rule: Rule, row: RowFacts, repository: str) -> tuple[set[str], str] | None:
        if rule is Rule.INVALID_ROW:
            return (set(), row.problem) if not row.repository else None
        if rule is Rule.MALFORMED_PATCH:
            return (set(), row.problem) if row.touched is None else None
        if rule is Rule.PATH:
            return self._path_clash(row, repository)
        asked = {
            Rule.BASE_COMMIT: row.commit,
            Rule.INSTANCE_ID: row.instance_id.casefold(),
            Rule.GOLD_PATCH: row.touched.digest if row.touched else "",
            Rule.REPOSITORY: repository,
        }[rule]
        found = self._by[rule].get(asked)
        return (set(found), asked) if found else None

    def _path_clash(self, row: RowFacts, repository: str) -> tuple[set[str], str] | None:
        assert row.touched is not None
        by_path = self._by[Rule.PATH]
        hit = {key: ids for key in row.touched.paths if (ids := by_path.get((repository, key)))}
        if not hit:
            return None
        every = {one for ids in hit.values() for one in ids}
        first = min(every)
        key = min(key for key, ids in hit.items() if first in ids)
        mine, theirs = row.touched.paths[key], self._written[repository, key, first]
        return every, mine if mine == theirs else f"{mine} (there: {theirs})"


def _text(value: dict[str, Any], name: str) -> str:
    found = value.get(name)
    return found if isinstance(found, str) else ""
