"""Bugs that a repository once had: its own fixes, taken back."""

import ast
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from harness.datagen.edit_bugs_trial import Change
from harness.datagen.synthesis.candidates import (
    PARSING,
    Candidate,
    Place,
    outer_functions,
    places_at,
)
from harness.datagen.synthesis.git import change_of, commits, run_git
from harness.datagen.synthesis.sources import Source
from harness.environments.errors import ImageError

OPERATOR = "commit"
_MOST_COMMITS = 2000
_MOST_LINES, _MOST_FILES = 200, 5
_HUNK = re.compile(r"^@@ -\d+(?:,\d+)? \+(?P<first>\d+)(?:,(?P<count>\d+))? @@", re.M)


def reverted_commits(
    source: Source, files: Mapping[str, str], covered: Collection[Place] | None
) -> Iterator[Candidate]:
    """The changes of source files by commits that changed tests too, taken back, newest first.

    Commits that cannot be taken back in today's files are left out, and so are those of over 200
    lines or 5 files, and of files that are new or gone. covered: functions that tests execute, by
    path and first line; None: all.
    """
    if source.mirror is None or source.commit is None:
        return
    for commit in commits(source.mirror, source.commit, _MOST_COMMITS):
        paths = [path for path in commit.paths if path in files]
        tests = any("test" in path.lower() and path.endswith(".py") for path in commit.paths)
        if not tests or not 0 < len(paths) <= _MOST_FILES:
            continue
        patch = change_of(source.mirror, commit, paths)
        if sum(line[:1] in ("+", "-") for line in patch.splitlines()) > _MOST_LINES:
            continue
        before = _taken_back(patch, {path: files[path] for path in paths})
        if before is not None:
            one = candidate_of({path: files[path] for path in paths}, before, "reverted", covered)
            if one is not None:
                yield one


def candidate_of(
    old: Mapping[str, str],
    new: Mapping[str, str],
    kind: str,
    covered: Collection[Place] | None,
    operator: str = OPERATOR,
) -> Candidate | None:
    """The candidate that makes new texts of old ones; None when no covered function changes.

    Changes outside of functions may be seen by every test.
    """
    changes, places, functions = [], [], []
    everywhere = False
    for path in sorted(old):
        if old[path] == new[path]:
            continue
        change = _difference(path, old[path], new[path])
        changes.append(change)
        first, last = _lines(old[path], change)
        with PARSING:
            found = list(outer_functions(ast.parse(old[path])))
        inside = [
            (name, node)
            for name, node in found
            if node.lineno <= first and last <= (node.end_lineno or node.lineno)
        ]
        everywhere = everywhere or not inside
        functions += [name for name, _ in inside]
        places += [place for _, node in inside for place in places_at(node, path, first, last)]
    if covered is not None:
        places = [place for place in places if place in covered]
    if not changes or not (places or everywhere):
        return None
    return Candidate(
        operator=operator,
        kind=kind,
        path=changes[0].path,
        function=functions[0] if functions else "",
        places=() if everywhere else tuple(places),
        changes=tuple(changes),
    )


def _taken_back(patch: str, files: Mapping[str, str]) -> dict[str, str] | None:
    """Files without a patch; None where it does not come off, or adds or removes one."""
    if re.search(r"^(new file|deleted file|old) mode", patch, re.M):
        return None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(text.encode())
        try:
            run_git(folder, "apply", "-R", "--whitespace=nowarn", "-", stdin=patch)
            return {path: (folder / path).read_bytes().decode() for path in files}
        except (ImageError, OSError, UnicodeDecodeError):
            return None


def _difference(path: str, old: str, new: str) -> Change:
    """The lines between what two texts begin and end with alike."""
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    most = min(len(before), len(after))
    head = next((n for n in range(most) if before[n] != after[n]), most)
    left = most - head
    tail = next((n for n in range(left) if before[-1 - n] != after[-1 - n]), left)
    start = len("".join(before[:head]).encode())
    end = len("".join(before[: len(before) - tail]).encode())
    return Change(path=path, start=start, end=end, text="".join(after[head : len(after) - tail]))


def _lines(text: str, change: Change) -> tuple[int, int]:
    """The first and last line that a change touches."""
    data = text.encode()
    first = data[: change.start].count(b"\n") + 1
    return first, max(first, data[: change.end].rstrip(b"\n").count(b"\n") + 1)
