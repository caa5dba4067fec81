"""A package's own tests on edits of its source, in one process sandbox with a warm interpreter."""

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
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

_WORKER, _OUT = "/tmp/edit_bugs_worker.py", "/tmp/survey.json"  # noqa: S108
_PYTHON = f"{PREFIX}/envs/testbed/bin/python"
_ENVIRONMENT = {
    "PATH": f"{PREFIX}/envs/testbed/bin:{PREFIX}/bin:{PATH}",
    "PYTHONHASHSEED": "0",
}
_SURVEY_SECONDS = 600
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


class Tried(Record):
    """What the tests that execute a function say of an edit of it.

    stopped: why the run did not end, `hang` or `crash`. wide: more test functions failed than
    asked for. errors: type, message and line of some failed tests.
    """

    number: int
    stopped: Literal["", "hang", "crash"]
    seconds: float
    passed: tuple[Name, ...]
    failed: tuple[Name, ...]
    errors: dict[Name, tuple[Name, Name, int]]
    wide: bool
    code: int

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
        worker = resources.files("harness.datagen").joinpath("edit_bugs_worker.py").read_bytes()
        sandbox.write(_WORKER, worker)

    def survey(self) -> Survey:
        """Run the clean tree's tests twice. Raises TrialError when they do not end."""
        result = self._sandbox.exec(
            [_PYTHON, _WORKER, "survey", _OUT],
            timeout=3 * _SURVEY_SECONDS,
            env=_ENVIRONMENT,
            stdin=json.dumps({"cpu": _SURVEY_SECONDS, "seconds": _SURVEY_SECONDS}).encode(),
        )
        try:
            return Survey.model_validate_json(self._sandbox.read(_OUT))
        except (FileNotFoundError, ValueError) as error:
            raise TrialError(f"{self._repo}: {result.text[-1000:] or error}") from None

    def try_edits(
        self,
        survey: Survey,
        edits: Sequence[Edit],
        *,
        most: int,
        on_result: Callable[[Tried], bool],
    ) -> None:
        """Run the covering tests of each edit; stop when `on_result` returns True.

        most: test functions that may fail; more are not waited for. Raises TrialError for output
        that is not the worker's.
        """
        covered = survey.covered()
        numbers = {edit.number for edit in edits}
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
            "jobs": [
                {
                    **edit.model_dump(include={"number", "path", "start", "end", "text"}),
                    "tests": covered[edit.path, edit.first],
                }
                for edit in edits
            ],
        }
        result = self._sandbox.exec(
            [_PYTHON, _WORKER, "try"],
            timeout=(30 + 6 * seconds) * len(edits),
            env=_ENVIRONMENT,
            stdin=json.dumps(settings).encode(),
            on_output=read,
        )
        if problems or result.exit_code not in (0, None):
            raise TrialError(f"{self._repo}: {problems or result.text[-1000:]}")


def batches(edits: Iterator[Edit]) -> Iterator[list[Edit]]:
    """Edits in lists of a length that is sent at once."""
    batch = []
    for edit in edits:
        batch.append(edit)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
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
