"""A package's own tests on edits of its source, in one process sandbox with a warm interpreter."""

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from harness.datagen.edit_bugs import Edit
from harness.datagen.trial import TrialError
from harness.environments.base_images import PREFIX
from harness.environments.process_images import build_environment
from harness.environments.recipe import Recipe
from harness.environments.source import fetch_sdist, unpack_sdist
from harness.records import Record
from harness.sandboxes.base import MIB, WORKDIR, Limits, Sandbox, SandboxProvider
from harness.sandboxes.bubblewrap import PATH
from harness.sandboxes.process import Mount, ProcessImage

_FOLDER, _OUT = "/tmp/harness-worker", "/tmp/survey.json"  # noqa: S108
_MODULES = ("edit_bugs_worker", "edit_bugs_recorder")
_WORKER = (f"{PREFIX}/envs/testbed/bin/python", "-m", f"harness.datagen.{_MODULES[0]}")
_ENVIRONMENT = {
    "PATH": f"{PREFIX}/envs/testbed/bin:{PREFIX}/bin:{PATH}",
    "PYTHONHASHSEED": "0",
}
_SURVEY_SECONDS = 600
_COLLECT_SECONDS = 120
LEAST_SECONDS = 3  # of CPU for the tests of an edit, besides twice those of all tests
_BATCH = 60
_MOST_LINE = 4 * MIB

Name = Annotated[str, Field(max_length=2000)]
Place = tuple[str, int]


class SurveyedTest(Record):
    """A test that passes twice: the functions it executes, and where its own function begins."""

    functions: tuple[Place, ...]
    defined: Place | None


class Survey(Record):
    """The tests of a clean tree. `imported` are functions that run before any test does."""

    tests: dict[Name, SurveyedTest]
    unsteady: tuple[Name, ...]
    imported: tuple[Place, ...]
    modules: tuple[Name, ...]
    seconds: float = Field(description="CPU seconds of all tests.")

    def covered(self) -> dict[Place, list[str]]:
        """The tests of each function that does not run on import already."""
        found: dict[Place, list[str]] = {}
        for name, test in self.tests.items():
            for place in test.functions:
                found.setdefault(place, []).append(name)
        for place in self.imported:
            found.pop(place, None)
        return found


class Change(Record):
    """Bytes `start` to `end` of the tree's file at `path` become `text`."""

    path: str
    start: int
    end: int
    text: str


class Job(Record):
    """Changes of the clean tree, and the tests to run with them.

    Changes of one file come from its end to its beginning. repeat: further runs of all tests in
    the files of the failed tests or, without a change, in those of `tests`.
    """

    number: int
    changes: tuple[Change, ...]
    tests: tuple[Name, ...]
    repeat: int = 0


class Again(Record):
    """How the tests of whole files ended in several runs; the unsteady ones did not always so."""

    passed: tuple[Name, ...]
    failed: tuple[Name, ...]
    unsteady: tuple[Name, ...]


class Tried(Record):
    """What a job's tests say of its changes.

    stopped: why a run did not end, `hang` or `crash`. wide: more test functions failed than
    asked for. errors: type, message and line of some failed tests; `raised`, the function of the
    tree in which each error arose, and `values`, texts of the test's variables.
    """

    number: int
    stopped: Literal["", "hang", "crash"]
    seconds: float
    passed: tuple[Name, ...]
    failed: tuple[Name, ...]
    errors: dict[Name, tuple[Name, Name, int]]
    wide: bool
    code: int
    raised: dict[Name, Place] = Field(default_factory=dict)
    values: dict[Name, dict[Name, Name]] = Field(default_factory=dict)
    again: Again | None = None

    @property
    def outcome(self) -> str:
        """`seen` when tests show the edit, else why it is no bug to take."""
        if self.stopped:
            return self.stopped
        if self.wide:
            return "wide"
        if self.code not in (0, 1):
            return "import"
        return "seen" if self.failed else "survived"


class PackageTests:
    """The tests of one package, in a sandbox without network."""

    def __init__(self, sandbox: Sandbox, repo: str) -> None:
        self._sandbox = sandbox
        self._repo = repo
        for module in _MODULES:
            text = resources.files("harness.datagen").joinpath(f"{module}.py").read_bytes()
            sandbox.write(f"{_FOLDER}/harness/datagen/{module}.py", text)

    def collect(self) -> str:
        """What pytest says when it collects the tests and runs none."""
        command = [_WORKER[0], "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
        return self._sandbox.exec(command, timeout=_COLLECT_SECONDS, env=_ENVIRONMENT).text

    def survey(self, runs: int = 2, arguments: Sequence[str] = ()) -> Survey:
        """Run the clean tree's tests; those that pass in every run count.

        arguments: pytest's. Raises TrialError when the tests do not end.
        """
        settings = {"runs": runs, "arguments": list(arguments)}
        limits = {"cpu": _SURVEY_SECONDS, "seconds": _SURVEY_SECONDS}
        result = self._sandbox.exec(
            [*_WORKER, "survey", _OUT],
            timeout=(1 + runs) * _SURVEY_SECONDS,
            cwd=_FOLDER,
            env=_ENVIRONMENT,
            stdin=json.dumps(settings | limits).encode(),
        )
        try:
            return Survey.model_validate_json(self._sandbox.read(_OUT))
        except (FileNotFoundError, ValueError) as error:
            raise TrialError(f"{self._repo}: {result.text[-1000:] or error}") from None

    def run(
        self,
        survey: Survey,
        jobs: Sequence[Job],
        *,
        most: int,
        on_result: Callable[[Tried], bool],
    ) -> None:
        """Run the tests of each job; stop when `on_result` returns True.

        most: test functions that may fail; more are not waited for. Raises TrialError for output
        that is not the worker's.
        """
        numbers = {job.number for job in jobs}
        rest = b""
        problems: list[str] = []

        def read(chunk: bytes) -> bool:
            nonlocal rest
            *lines, rest = (rest + chunk).split(b"\n")
            try:
                for line in lines:
                    tried = Tried.model_validate_json(line)
                    if tried.number not in numbers:
                        raise ValueError(f"number {tried.number} was not asked for")
                    numbers.remove(tried.number)
                    if on_result(tried):
                        return True
            except (ValidationError, ValueError) as error:
                problems.append(str(error))
            return bool(problems) or len(rest) > _MOST_LINE

        seconds = LEAST_SECONDS + 2 * survey.seconds
        settings = {
            "modules": survey.modules,
            "places": {name: test.defined for name, test in survey.tests.items()},
            "most": most,
            "cpu": math.ceil(seconds),
            "seconds": 20 + 6 * seconds,
            "jobs": [job.model_dump() for job in jobs],
        }
        result = self._sandbox.exec(
            [*_WORKER, "try"],
            timeout=(30 + 6 * seconds) * sum(1 + job.repeat for job in jobs),
            cwd=_FOLDER,
            env=_ENVIRONMENT,
            stdin=json.dumps(settings).encode(),
            on_output=read,
        )
        if problems or result.exit_code not in (0, None):
            raise TrialError(f"{self._repo}: {problems or result.text[-1000:]}")


def job_of(edit: Edit, covered: Mapping[Place, Sequence[str]]) -> Job:
    """An edit with the tests that execute its function."""
    change = Change(path=edit.path, start=edit.start, end=edit.end, text=edit.text)
    tests = tuple(covered[edit.path, edit.first])
    return Job(number=edit.number, changes=(change,), tests=tests)


def batches(edits: Iterator[Edit]) -> Iterator[list[Edit]]:
    """Edits in lists of a length that is sent at once."""
    while batch := list(islice(edits, _BATCH)):
        yield batch


@contextmanager
def package_tests(
    recipe: Recipe, provider: SandboxProvider, cache: Path, on_progress: Callable[[str], None]
) -> Iterator[PackageTests]:
    """A package's clean tree in a sandbox; the environment is built where it is missing.

    Raises ImageError, SandboxFailure.
    """
    environment = build_environment(recipe, cache, on_progress)
    with tempfile.TemporaryDirectory(prefix="harness-edits-") as name:
        folder = Path(name)
        unpack_tree(recipe, cache, folder / "testbed")
        ProcessImage(
            digest=recipe.digest,
            mounts=(
                Mount(source=str(environment.resolve()), target=PREFIX, mode="ro"),
                Mount(source="testbed", target=WORKDIR, mode="copy"),
            ),
        ).save(folder)
        with provider.start(str(folder), limits=Limits(), owner="datagen") as sandbox:
            yield PackageTests(sandbox, recipe.repo)


def unpack_tree(recipe: Recipe, cache: Path, folder: Path) -> None:
    """The clean tree of a recipe's source distribution. Raises TrialError, SourceError."""
    if recipe.sdist is None:
        raise TrialError(f"{recipe.repo}: the recipe has no source distribution")
    folder.mkdir()
    unpack_sdist(fetch_sdist(recipe.sdist, cache), folder)
