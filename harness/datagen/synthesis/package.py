"""One package's candidates through its tests, continued where an earlier start stopped.

<folder>/recipe.yaml    the proven environment
<folder>/survey.json    the clean tree's tests
<folder>/clean.jsonl    how the tests of whole files end without any change
<folder>/tried.jsonl    a line for each candidate whose tests ran, as they come
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from itertools import islice
from pathlib import Path

import yaml
from pydantic import ValidationError

from harness.datagen.edit_bugs import source_files
from harness.datagen.edit_bugs_rows import PackageTexts
from harness.datagen.edit_bugs_trial import (
    Again,
    Job,
    PackageTests,
    Survey,
    Tried,
    package_tests,
)
from harness.datagen.journal import Journal
from harness.datagen.synthesis.candidates import PARSING, Candidate, candidates
from harness.datagen.synthesis.prove import prove_recipe
from harness.datagen.synthesis.settings import Settings
from harness.datagen.synthesis.sources import Source
from harness.datagen.synthesis.yields import Count, PackageYield
from harness.datagen.trial import TrialError
from harness.environments.recipe import Recipe
from harness.environments.source import fetch_sdist, unpack_sdist
from harness.records import Record
from harness.sandboxes.base import SandboxProvider

Progress = Callable[[str], None]
More = Callable[[Mapping[str, str], Survey], Sequence[Candidate]]
Sandboxes = Callable[[], Sequence[PackageTests]]
LEAST_TESTS = 10
_BATCH, _LEAST = 24, 4  # candidates that are sent at once to a sandbox, at most; to all, at least
_PROGRESS_SECONDS = 15.0


class _Line(Record):
    key: str
    tried: Tried


class _Clean(Record):
    paths: tuple[str, ...]
    again: Again


class Package:
    """A package, its tests, and what is known of its candidates.

    known: recipes that are taken where they have the same archive. more: candidates that are not
    made of syntax trees, from the sources' texts. sandboxes: at a time.
    """

    def __init__(
        self,
        source: Source,
        settings: Settings,
        folder: Path,
        *,
        provider: SandboxProvider,
        cache: Path,
        known: Sequence[Recipe] = (),
        more: More = lambda files, survey: (),
        sandboxes: int = 1,
        on_progress: Progress = lambda text: None,
    ) -> None:
        self.source, self._settings, self._folder = source, settings, folder
        self._provider, self._cache, self._known = provider, cache, known
        self._more, self._sandboxes = more, sandboxes
        self._on_progress = on_progress
        self._told = 0.0

    def _say(self, text: str) -> None:
        self._on_progress(f"{self.source.repo}: {text}")

    def build(self) -> PackageYield:
        """Try candidates until there are enough instances, or no more candidates.

        Raises TrialError, ImageError, SandboxFailure.
        """
        began = time.monotonic()
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
            tree = Path(name, "tree")
            tree.mkdir()
            unpack_sdist(fetch_sdist(self.source.archive, self._cache), tree)
            recipe = self._recipe(tree)
            place = self._provider, self._cache, self._say

            @cache
            def sandboxes() -> list[PackageTests]:  # none where all is known
                opened = (package_tests(recipe, *place) for _ in range(self._sandboxes))
                return [stack.enter_context(one) for one in opened]

            survey = self._survey(sandboxes)
            files = source_files(tree)
            more = self._more(files, survey)
            with PARSING:
                texts = PackageTexts(tree, files)
            count = Count(self.source.repo, survey, texts, self._settings)
            trials = _Trials(self._folder, survey, sandboxes, self._settings)
            found = candidates(
                files,
                survey.covered().keys(),
                operators=self._settings.operators,
                seed=self._settings.seed,
                more=more,
            )
            most = _BATCH * self._sandboxes
            while wave := list(islice(found, max(_LEAST, min(most, count.wanted)))):
                self._tell(count, began)
                trials.run(wave)
                for one in wave:
                    if count.full:
                        break
                    tried = trials.tried[one.key]
                    with PARSING:
                        count.take(one, tried, trials.clean(tried), len(trials.covering(one)))
                if count.full:
                    break
            cpu = sum(tried.seconds for tried in trials.tried.values())
            result = count.result(recipe, cpu=cpu, wall=time.monotonic() - began)
        self._say(f"{len(result.findings)} instances of {result.tried} candidates")
        return result

    def _tell(self, count: Count, began: float) -> None:
        if time.monotonic() - self._told > _PROGRESS_SECONDS:
            self._told = time.monotonic()
            self._say(count.progress(self._told - began))

    def _recipe(self, tree: Path) -> Recipe:
        """The shipped recipe of the same archive, the one of an earlier start, or a new one."""
        path = self._folder / "recipe.yaml"
        for one in self._known:
            if one.sdist and one.sdist.sha256 == self.source.archive.sha256:
                return one
        try:
            (entry,) = yaml.safe_load(path.read_text())
            return Recipe.model_validate(entry)
        except (FileNotFoundError, ValidationError, ValueError):
            recipe = prove_recipe(self.source, tree, self._provider, self._cache, self._on_progress)
        write_recipes(path, [recipe])
        return recipe

    def _survey(self, sandboxes: Sandboxes) -> Survey:
        path = self._folder / "survey.json"
        try:
            return Survey.model_validate_json(path.read_bytes())
        except (FileNotFoundError, ValidationError):
            self._say(f"running the tests of the clean tree, {self._settings.runs} times")
        (tests, *_) = sandboxes()
        survey = tests.survey(self._settings.runs, ["--continue-on-collection-errors"])
        if len(survey.tests) < LEAST_TESTS:
            raise TrialError(
                f"{self.source.given}: {len(survey.tests)} tests pass in every run, at least "
                f"{LEAST_TESTS} are needed; pytest says:\n{tests.collect()[-600:]}"
            )
        draft = path.with_suffix(".draft")
        draft.write_text(survey.model_dump_json())
        draft.rename(path)
        return survey


class _Trials:
    """What tests say of candidates and of the clean tree, run or read from the journals."""

    def __init__(
        self, folder: Path, survey: Survey, sandboxes: Sandboxes, settings: Settings
    ) -> None:
        self._survey, self._sandboxes, self._settings = survey, sandboxes, settings
        self._covered = survey.covered()
        self._journal = Journal(folder / "tried.jsonl", _Line)
        self._clean_journal = Journal(folder / "clean.jsonl", _Clean)
        self.tried = {line.key: line.tried for line in self._journal}
        self._clean = {line.paths: line.again for line in self._clean_journal}

    def covering(self, candidate: Candidate) -> tuple[str, ...]:
        """The tests that may see a candidate."""
        if not candidate.places:
            return tuple(self._survey.tests)
        found = {test for place in candidate.places for test in self._covered.get(place, ())}
        return tuple(sorted(found))

    def run(self, wave: Sequence[Candidate]) -> None:
        """Run what is not known, each sandbox its share."""
        new = [one for one in wave if one.key not in self.tried]
        if new:
            sandboxes = self._sandboxes()
            count = len(sandboxes)
            shares = [new[number::count] for number in range(count)]
            with ThreadPoolExecutor(count) as pool:
                list(pool.map(self._run_in, sandboxes, shares))

    def _run_in(self, sandbox: PackageTests, share: Sequence[Candidate]) -> None:
        by_number = dict(enumerate(share, start=1))
        jobs = [
            Job(
                number=number,
                changes=tuple(sorted(one.changes, key=lambda change: -change.start)),
                tests=self.covering(one),
                repeat=self._settings.runs - 1,
            )
            for number, one in by_number.items()
        ]

        def take(tried: Tried) -> bool:
            key = by_number[tried.number].key
            self._journal.add(_Line(key=key, tried=tried))
            self.tried[key] = tried
            return False

        if jobs:
            sandbox.run(self._survey, jobs, most=self._settings.most_failing, on_result=take)

    def clean(self, tried: Tried) -> Again | None:
        """How the tests of the failed tests' files end without the change, run by themselves."""
        if tried.outcome != "seen" or tried.again is None:
            return None
        paths = tuple(sorted({test.partition("::")[0] for test in tried.failed}))
        if paths not in self._clean:
            tests = tuple(t for t in self._survey.tests if t.partition("::")[0] in paths)
            job = Job(number=1, changes=(), tests=tests, repeat=self._settings.runs - 1)
            found: list[Tried] = []

            def take(tried: Tried) -> bool:
                found.append(tried)
                return False

            self._sandboxes()[0].run(self._survey, [job], most=0, on_result=take)
            again = found[0].again if found else None
            self._clean[paths] = again or Again(passed=(), failed=(), unsteady=tests)
            self._clean_journal.add(_Clean(paths=paths, again=self._clean[paths]))
        return self._clean[paths]


def write_recipes(path: Path, recipes: Sequence[Recipe]) -> None:
    """Recipes as a file that `load_recipes` reads."""
    entries = [one.model_dump(mode="json", exclude_defaults=True) for one in recipes]
    draft = path.with_suffix(".draft")
    draft.write_text(yaml.safe_dump(entries, sort_keys=False, width=200))
    draft.rename(path)
