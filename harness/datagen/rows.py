"""From an authored bug to a row in the benchmark's shape, before its test lists are known."""

import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from unidiff.patch import PatchSet

from harness.datagen.bugs import AuthoringError, Bug
from harness.environments.recipe import Recipe
from harness.environments.source import commit_base, fetch_sdist
from harness.records import Instance

TEST_COMMAND = "pytest -rA"
PARSER = "parse_log_pytest"
_HEREDOC = "EOF_114329324912"

_SCRIPT = """\
#!/bin/bash
set -uxo pipefail
source /opt/miniconda3/bin/activate
conda activate testbed
cd /testbed
git config --global --add safe.directory /testbed
cd /testbed
git status
git show
git -c core.fileMode=false diff {base}
source /opt/miniconda3/bin/activate
conda activate testbed
git checkout {base} {files}
git apply -v - <<'{heredoc}'
{test_patch}
{heredoc}
: '>>>>> Start Test Output'
{command}
: '>>>>> End Test Output'
git checkout {base} {files}
"""


def make_row(bug: Bug, recipe: Recipe, cache: Path, *, created_at: str) -> Instance:
    """The row of a bug, with its base commit and evaluation script, and no test lists yet.

    Raises AuthoringError when a patch touches the other's side, SourceError when one does not
    revert in the pinned source.
    """
    return assemble_row(bug, recipe, cache, created_at=created_at, tests=_test_files(bug))


class Parts(Protocol):
    """What a row is made of, besides its source."""

    @property
    def instance_id(self) -> str: ...
    @property
    def repo(self) -> str: ...
    @property
    def difficulty(self) -> str: ...
    @property
    def problem_statement(self) -> str: ...
    @property
    def patch(self) -> str: ...
    @property
    def test_patch(self) -> str: ...


def assemble_row(
    bug: Parts,
    recipe: Recipe,
    cache: Path,
    *,
    created_at: str,
    tests: Sequence[str],
    options: Sequence[str] = (),
) -> Instance:
    """The row of a bug whose evaluation names `tests`, files or node ids, to pytest.

    options: of pytest, besides `-rA`.
    Raises AuthoringError without a source distribution, SourceError when a patch does not revert.
    """
    if recipe.sdist is None:
        raise AuthoringError(f"{bug.instance_id}: the recipe of {bug.repo} has no sdist")
    with tempfile.TemporaryDirectory() as folder:
        base = commit_base(
            fetch_sdist(recipe.sdist, cache),
            Path(folder, "testbed"),
            {"test_patch": bug.test_patch, "patch": bug.patch},
            message=f"{recipe.repo} {recipe.version}",
        )
    owner, _, name = bug.repo.partition("/")
    number = bug.instance_id.rpartition("-")[2]
    return Instance(
        instance_id=bug.instance_id,
        repo=bug.repo,
        base_commit=base,
        patch=bug.patch,
        test_patch=bug.test_patch,
        problem_statement=bug.problem_statement,
        created_at=created_at,
        version=recipe.version,
        FAIL_TO_PASS=(),
        PASS_TO_PASS=(),
        environment_setup_commit=base,
        difficulty=bug.difficulty,
        image=f"swebench/sweb.eval.x86_64.{owner}_1776_{name}-{number}:latest".lower(),
        log_parser=PARSER,
        eval_type="pass_and_fail",
        eval_script=_SCRIPT.format(
            base=base,
            files=" ".join(sorted(file.path for file in PatchSet(bug.test_patch))),
            heredoc=_HEREDOC,
            test_patch=bug.test_patch,
            command=shlex.join([*TEST_COMMAND.split(), *options, *tests]),
        ),
    )


def _test_files(bug: Bug) -> list[str]:
    fixed = {file.path for file in PatchSet(bug.patch)}
    tests = {file.path for file in PatchSet(bug.test_patch)}
    shared = fixed & tests
    if shared:
        raise AuthoringError(f"{bug.instance_id}: both patches change {', '.join(sorted(shared))}")
    if any(not file.is_modified_file for file in PatchSet(bug.test_patch)):
        raise AuthoringError(f"{bug.instance_id}: test_patch adds or removes a file")
    return sorted(tests)
