"""From an edit that tests show to a row of the suite: the row's base tree has the edit, and not the
tests that fail with it."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.datagen.edit_bugs import Edit, broken_text
from harness.datagen.edit_bugs_hide import HidingError, git_diff, without_tests
from harness.datagen.edit_bugs_statement import (
    called_functions,
    defined_classes,
    defined_functions,
    statement,
    without_names,
)
from harness.datagen.edit_bugs_trial import Survey, Tried
from harness.datagen.rows import assemble_row
from harness.environments.recipe import Recipe
from harness.records import Instance, Record

MOST_TESTS = 30
FIRST_NUMBER = 80_000  # of pypi-mini 90,000; no upstream issue has either
_DIFFICULTY = "<15 min fix"


class EditBug(Record):
    """A row's parts that no commit id is in."""

    instance_id: str
    repo: str
    operator: str
    difficulty: str = _DIFFICULTY
    problem_statement: str
    patch: str
    test_patch: str
    fail_to_pass: tuple[str, ...]
    pass_to_pass: tuple[str, ...]


class PackageTexts:
    """The texts of a clean tree, read once."""

    def __init__(self, tree: Path, sources: Mapping[str, str]) -> None:
        self.sources = sources
        self.functions = defined_functions(sources.values())
        self.classes = defined_classes(sources.values())
        self._tree = tree
        self._tests: dict[str, str] = {}

    def test_file(self, path: str) -> str:
        """Raises HidingError for a path outside the tree or a file that is no text."""
        if path not in self._tests:
            file = self._tree / path
            if ".." in Path(path).parts or file.is_symlink() or not file.is_file():
                raise HidingError(f"{path} is no file of the tree")
            try:
                data = file.read_bytes()
                if b"\r" in data:
                    raise HidingError(f"{path} has carriage returns")
                self._tests[path] = data.decode()
            except UnicodeDecodeError as error:
                raise HidingError(f"{path}: {error}") from None
        return self._tests[path]


def make_bug(
    repo: str, edit: Edit, tried: Tried, survey: Survey, texts: PackageTexts, *, seed: str
) -> EditBug:
    """The bug of an edit that tests show.

    Raises HidingError when a failing test cannot be hidden, or none can be named in a log.
    """
    test_patch = hiding_patch(tried.failed, survey, texts)
    failing = _named(tried.failed, seed, edit)
    reported = next((name for name in tried.failed if name in tried.errors), None)
    place = survey.tests[reported].defined if reported else None
    if not failing or reported is None or place is None:
        raise HidingError("no failing test has a name without spaces")
    exception, message, line = tried.errors[reported]
    source = texts.sources[edit.path]
    owner_name = repo.replace("/", "__")
    return EditBug(
        instance_id=f"{owner_name}-{FIRST_NUMBER + edit.number}",
        repo=repo,
        operator=edit.operator,
        problem_statement=statement(
            exception=exception,
            message=without_names(message, tried.failed),
            called=called_functions(texts.test_file(place[0]), place[1], line, texts.functions),
            path=edit.path,
            functions=edit.functions,
        ),
        patch=git_diff(edit.path, broken_text(source, edit), source),
        test_patch=test_patch,
        fail_to_pass=failing,
        pass_to_pass=_named(tried.passed, seed, edit),
    )


def make_edit_row(bug: EditBug, recipe: Recipe, cache: Path, *, created_at: str) -> Instance:
    """The row of a bug. Its evaluation runs the functions of the listed tests alone."""
    tests = sorted({name.partition("[")[0] for name in (*bug.fail_to_pass, *bug.pass_to_pass)})
    row = assemble_row(bug, recipe, cache, created_at=created_at, tests=tests)
    return row.model_copy(
        update={"FAIL_TO_PASS": bug.fail_to_pass, "PASS_TO_PASS": bug.pass_to_pass}
    )


def hiding_patch(failed: Sequence[str], survey: Survey, texts: PackageTexts) -> str:
    """The patch that brings back the functions of tests which are taken out of their files.

    Raises HidingError when one cannot be taken out.
    """
    firsts: dict[str, set[int]] = defaultdict(set)
    for name in failed:
        place = survey.tests[name].defined if name in survey.tests else None
        if place is None:
            raise HidingError(f"{name} is no function of the tree")
        firsts[place[0]].add(place[1])
    return "".join(
        git_diff(path, without_tests(text, firsts[path]), text)
        for path in sorted(firsts)
        for text in [texts.test_file(path)]
    )


def _named(tests: Sequence[str], seed: str, edit: Edit) -> tuple[str, ...]:
    """At most `MOST_TESTS` tests, sorted, of those that the log's parser names in full."""
    names = sorted(name for name in tests if nameable(name))
    if len(names) > MOST_TESTS:
        names = random.Random(f"{seed} {edit.path} {edit.start}").sample(names, MOST_TESTS)  # noqa: S311
    return tuple(sorted(names))


def nameable(test: str) -> bool:
    """Whether the log's parser names a test in full."""
    return test.isprintable() and " " not in test
