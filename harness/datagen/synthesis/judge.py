"""From what a candidate's tests said to an instance, or to the reason why it is none."""

from collections.abc import Sequence

from harness.datagen.edit_bugs_hide import HidingError, git_diff
from harness.datagen.edit_bugs_rows import PackageTexts, hiding_patch, nameable
from harness.datagen.edit_bugs_statement import function_at, without_names
from harness.datagen.edit_bugs_trial import Again, Survey, Tried
from harness.datagen.synthesis.candidates import Candidate
from harness.datagen.synthesis.difficulty import Difficulty, estimate
from harness.datagen.synthesis.statement import Failure, leaks, templated, values_of
from harness.records import Record

MOST_TESTS = 200  # of a list


class Finding(Record):
    """A validated bug: a row's parts that no commit id is in, and what is known besides."""

    instance_id: str
    repo: str
    operator: str
    kind: str
    path: str
    function: str
    estimate: Difficulty
    problem_statement: str
    patch: str
    test_patch: str
    fail_to_pass: tuple[str, ...]
    pass_to_pass: tuple[str, ...]
    test_files: tuple[str, ...]
    shown: tuple[str, ...]

    @property
    def difficulty(self) -> str:
        """The estimate in the benchmark's words."""
        return self.estimate.label

    @property
    def behaviour(self) -> tuple[str, str, tuple[str, ...]]:
        """Two bugs of one function that the same tests show are one."""
        return self.path, self.function, self.fail_to_pass


class RejectedError(Exception):
    """A candidate is no instance; the text is its outcome, in one or two words."""


def judge(
    repo: str,
    candidate: Candidate,
    tried: Tried,
    survey: Survey,
    clean: Again | None,
    texts: PackageTexts,
    *,
    covering: int,
) -> Finding:
    """The instance of a candidate whose tests ran. Raises RejectedError.

    covering: tests that may see it. clean: how the tests of the failing tests' files end in runs of
    the clean tree.
    """
    if tried.outcome != "seen":
        raise RejectedError(tried.outcome)
    if tried.again is None or clean is None:
        raise RejectedError("flaky")
    good = {test for test in clean.passed if test in survey.tests and nameable(test)}
    failing = sorted(good & set(tried.again.failed) & set(tried.failed))
    passing = sorted(good & set(tried.again.passed) - set(tried.failed))
    if not failing:
        raise RejectedError("flaky")
    if not passing:
        raise RejectedError("nothing passes")
    hidden = sorted(
        {*tried.failed, *tried.again.failed, *tried.again.unsteady} & survey.tests.keys()
    )
    try:
        test_patch = hiding_patch(hidden, survey, texts)
    except HidingError:
        raise RejectedError("not hidden") from None
    patch = "".join(
        git_diff(path, broken, texts.sources[path])
        for path, broken in sorted(candidate.changed(texts.sources).items())
    )
    failures = _failures(tried, failing, hidden, survey, texts)
    shown = _shown(hidden, survey, texts)
    text = _statement(failures, texts, patch=patch, tests=hidden, shown=shown, path=candidate.path)
    return Finding(
        instance_id=f"{repo.replace('/', '__')}-s{candidate.key}",
        repo=repo,
        operator=candidate.operator,
        kind=candidate.kind,
        path=candidate.path,
        function=candidate.function,
        estimate=_difficulty(candidate, tried, survey, texts, patch, covering),
        problem_statement=text,
        patch=patch,
        test_patch=test_patch,
        fail_to_pass=_first(failing, tried),
        pass_to_pass=tuple(passing[:MOST_TESTS]),
        test_files=tuple(sorted({test.partition("::")[0] for test in hidden})),
        shown=tuple(shown),
    )


def _first(failing: Sequence[str], tried: Tried) -> tuple[str, ...]:
    """The tests that the statement tells of, and others up to a bound."""
    told = [test for test in failing if test in tried.errors]
    others = [test for test in failing if test not in tried.errors]
    return tuple(sorted([*told, *others][:MOST_TESTS]))


def _failures(
    tried: Tried,
    failing: Sequence[str],
    hidden: Sequence[str],
    survey: Survey,
    texts: PackageTexts,
) -> list[Failure]:
    """What is known of failing tests, as far as their functions can be shown."""
    found = []
    for name, (exception, message, line) in sorted(tried.errors.items()):
        place = survey.tests[name].defined
        if name not in failing or place is None:
            continue
        source = texts.test_file(place[0])
        if function_at(source, place[1]) is None:
            continue
        found.append(
            Failure(
                source=source,
                first=place[1],
                line=line,
                exception=exception,
                message=without_names(message, hidden),
                values=values_of(tried.values.get(name, {}), hidden),
            )
        )
    return found


def _statement(
    failures: Sequence[Failure],
    texts: PackageTexts,
    *,
    patch: str,
    tests: Sequence[str],
    shown: Sequence[str],
    path: str,
) -> str:
    """The first statement that gives nothing away."""
    for brief in (False, True):
        for failure in failures:
            text = templated(failure, texts.functions | texts.classes, brief=brief)
            if not any(leaks(text, patch=patch, tests=tests, shown=shown, path=path)):
                return text
    raise RejectedError("leaks" if failures else "not shown")


def _shown(hidden: Sequence[str], survey: Survey, texts: PackageTexts) -> list[str]:
    """The code of the hidden tests."""
    places = {place for name in hidden if (place := survey.tests[name].defined)}
    found = []
    for path, first in sorted(places):
        source = texts.test_file(path)
        if (function := function_at(source, first)) is not None:
            found.append("\n".join(source.splitlines()[first - 1 : function.end_lineno]))
    return found


def _difficulty(
    candidate: Candidate,
    tried: Tried,
    survey: Survey,
    texts: PackageTexts,
    patch: str,
    covering: int,
) -> Difficulty:
    places = set(candidate.places)
    reached = {
        place
        for test in tried.failed
        if test in survey.tests
        for place in survey.tests[test].functions
        if place[0] in texts.sources
    }
    headers = ("+++ ", "--- ")
    changed = [line for line in patch.splitlines() if not line.startswith(headers)]
    return estimate(
        arises_there=any(place in places for place in tried.raised.values()),
        reached=len(reached),
        failing=len(tried.failed),
        covering=covering,
        lines=max(sum(line[:1] == sign for line in changed) for sign in "+-"),
        functions=len(candidate.places),
    )
