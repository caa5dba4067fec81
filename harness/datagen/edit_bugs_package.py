"""One package's edits through its tests, continued where an earlier start stopped.

<cache>/edit-bugs/<repo>-<key>/survey.json   the clean tree's tests
<cache>/edit-bugs/<repo>-<key>/tried.jsonl   a line for each edit whose tests ran, as they come
"""

import hashlib
import json
import tempfile
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from pydantic import Field, ValidationError

from harness.datagen.edit_bugs import Edit, candidates, source_files
from harness.datagen.edit_bugs_hide import HidingError
from harness.datagen.edit_bugs_rows import EditBug, PackageTexts, make_bug
from harness.datagen.edit_bugs_trial import (
    PackageTests,
    Survey,
    Tried,
    batches,
    job_of,
    package_tests,
    unpack_tree,
)
from harness.datagen.journal import Journal
from harness.environments.recipe import Recipe
from harness.records import Record
from harness.sandboxes.base import SandboxProvider

Progress = Callable[[str], None]
_PROGRESS_SECONDS = 15.0
_VERSION = "1"  # of what the worker does
_PARSING = threading.Lock()  # Python 3.11 cannot make two syntax trees at a time


class PackageYield(Record):
    """What became of a package's candidates. `operators`: outcomes by kind of edit."""

    repo: str
    tests: int
    unsteady: tuple[str, ...]
    functions: int
    tried: int
    outcomes: dict[str, int]
    operators: dict[str, dict[str, int]]
    seconds: float = Field(description="CPU seconds of the tests of all edits.")
    bugs: tuple[EditBug, ...] = Field(exclude=True)


class _Line(Record):
    edit: Edit
    tried: Tried


class PackageEdits:
    """The edits of one package.

    most_failing: test functions that may fail with an edit. left_out: tests (without parameters)
    that do not count. refused: instances that are not taken.
    """

    def __init__(
        self,
        recipe: Recipe,
        cache: Path,
        *,
        seed: str,
        most_failing: int,
        left_out: Collection[str] = (),
        refused: Collection[str] = (),
        on_progress: Progress = lambda text: None,
    ) -> None:
        self._recipe, self._cache = recipe, cache
        self._seed, self._most_failing = seed, most_failing
        self._left_out, self._refused = left_out, refused
        self._on_progress = on_progress
        facts = [_VERSION, recipe.digest, most_failing, *sorted(left_out)]
        key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
        self._folder = cache / "edit-bugs" / f"{recipe.repo.replace('/', '__')}-{key}"

    def _say(self, text: str) -> None:
        self._on_progress(f"{self._recipe.repo}: {text}")

    def build(self, provider: SandboxProvider, most: int) -> PackageYield:
        """Try edits until `most` of them are bugs.

        Raises TrialError, ImageError, SandboxFailure.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as name:
            tree = Path(name, "tree")
            unpack_tree(self._recipe, self._cache, tree)
            sources = source_files(tree)
            with package_tests(self._recipe, provider, self._cache, self._say) as tests:
                survey = self._survey(tests)
                with _PARSING:
                    texts = PackageTexts(tree, sources)
                run = _Run(self._recipe.repo, survey, texts, most, self._seed, self._refused)
                covered = survey.covered()
                journal = _Journal(self._folder / "tried.jsonl")
                found = batches(candidates(sources, covered, seed=self._seed))
                while batch := _next(found):
                    self._try(batch, tests, survey, run, journal)
                    if run.full:
                        break
        result = run.result()
        self._say(f"{len(result.bugs)} instances of {result.tried} edits, {result.outcomes}")
        return result

    def _try(
        self,
        batch: list[Edit],
        tests: PackageTests,
        survey: Survey,
        run: "_Run",
        journal: "_Journal",
    ) -> None:
        known = {edit.number: tried for edit in batch if (tried := journal.get(edit))}
        by_number = {edit.number: edit for edit in batch}
        new = [edit for edit in batch if edit.number not in known]
        waiting = deque(batch)
        began = told = time.monotonic()

        def count() -> bool:
            """Take what is known, in the order of the batch: the same bugs after any crash."""
            while waiting and waiting[0].number in known and not run.full:
                edit = waiting.popleft()
                run.take(edit, known[edit.number])
            return run.full

        def take(tried: Tried) -> bool:
            nonlocal told
            journal.add(by_number[tried.number], tried)
            known[tried.number] = tried
            if time.monotonic() - told > _PROGRESS_SECONDS:
                told = time.monotonic()
                done = len(known) - len(batch) + len(new)
                self._say(run.progress((told - began) / done))
            return count()

        if not count() and new:
            covered = survey.covered()
            jobs = [job_of(edit, covered) for edit in new]
            tests.run(survey, jobs, most=self._most_failing, on_result=take)

    def _survey(self, tests: PackageTests) -> Survey:
        path = self._folder / "survey.json"
        try:
            return Survey.model_validate_json(path.read_bytes())
        except (FileNotFoundError, ValidationError):
            self._say("running the tests of the clean tree twice")
        found = tests.survey()
        kept = {
            name: test
            for name, test in found.tests.items()
            if name.partition("[")[0] not in self._left_out
        }
        survey = found.model_copy(update={"tests": kept})
        draft = path.with_suffix(".draft")
        draft.write_text(survey.model_dump_json())
        draft.rename(path)
        return survey


def _next(found: Iterator[list[Edit]]) -> list[Edit]:
    with _PARSING:
        return next(found, [])


class _Journal:
    """What is known of edits."""

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path, _Line)
        self._known = {_identity(line.edit): line.tried for line in self._journal}

    def get(self, edit: Edit) -> Tried | None:
        """What the tests said of an edit."""
        return self._known.get(_identity(edit))

    def add(self, edit: Edit, tried: Tried) -> None:
        """Keep it, on the disk before it is counted."""
        self._journal.add(_Line(edit=edit, tried=tried))


def _identity(edit: Edit) -> tuple[object, ...]:
    return edit.path, edit.first, edit.start, edit.end, edit.text


class _Run:
    """The bugs found so far, and what the other edits came to."""

    def __init__(
        self,
        repo: str,
        survey: Survey,
        texts: PackageTexts,
        most: int,
        seed: str,
        refused: Collection[str],
    ) -> None:
        self._repo, self._survey, self._texts = repo, survey, texts
        self._most, self._seed, self._refused = most, seed, refused
        self._bugs: list[EditBug] = []
        self._outcomes: dict[str, Counter[str]] = defaultdict(Counter)
        self._functions: set[tuple[str, str]] = set()
        self._seconds = 0.0

    @property
    def full(self) -> bool:
        """Whether there are enough bugs."""
        return len(self._bugs) >= self._most

    def take(self, edit: Edit, tried: Tried) -> None:
        """Count an edit, and make a bug of it if it is one."""
        outcome = tried.outcome
        if outcome == "seen":
            try:
                with _PARSING:
                    bug = make_bug(
                        self._repo, edit, tried, self._survey, self._texts, seed=self._seed
                    )
            except HidingError:
                outcome = "not hidden"
            else:
                if bug.instance_id in self._refused:
                    outcome = "refused"
                else:
                    self._bugs.append(bug)
                    self._functions.add((edit.path, edit.function))
        self._outcomes[edit.operator][outcome] += 1
        self._seconds += tried.seconds

    def progress(self, seconds_each: float) -> str:
        """How far it is, and how long it takes for the rest if it goes on like this."""
        tried = sum(counts.total() for counts in self._outcomes.values())
        left = (self._most - len(self._bugs)) * tried / max(1, len(self._bugs)) * seconds_each
        return (
            f"{len(self._bugs)} of at most {self._most} instances, {tried} edits tried, "
            f"{seconds_each:.1f} s each, at most {left:.0f} s left"
        )

    def result(self) -> PackageYield:
        """What became of all."""
        total = sum(self._outcomes.values(), Counter())
        return PackageYield(
            repo=self._repo,
            tests=len(self._survey.tests),
            unsteady=self._survey.unsteady,
            functions=len(self._functions),
            tried=total.total(),
            outcomes=dict(total.most_common()),
            operators={name: dict(found) for name, found in sorted(self._outcomes.items())},
            seconds=round(self._seconds, 1),
            bugs=tuple(sorted(self._bugs, key=lambda bug: bug.instance_id)),
        )
