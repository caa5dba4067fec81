"""The authored side of a synthesised suite: a folder of bugs and `suite.yaml` on top."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import Field, StringConstraints, ValidationError

from harness.records import Record

SUITE_FILE = "suite.yaml"

_Repo = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.\-]+/[A-Za-z0-9_.\-]+$")]
_Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.\-]+__[A-Za-z0-9_.\-]+-9\d{4}$")]


class AuthoringError(ValueError):
    """A file of an authored suite is malformed or does not fit the others."""


class Bug(Record):
    """One authored instance. Its number is above 90000: no upstream issue has it.

    Both patches are against the base tree, and the pinned source is the base tree with both.
    """

    instance_id: _Id
    repo: _Repo
    difficulty: Literal["<15 min fix", "15 min - 1 hour", "1-4 hours", ">4 hours"]
    problem_statement: str = Field(min_length=80)
    patch: str = Field(pattern=r"^diff --git ", description="The fix.")
    test_patch: str = Field(pattern=r"^diff --git ", description="The tests that show the bug.")


class AuthoredSuite(Record):
    """`suite.yaml`: what the suite is, and which repositories are in which split."""

    name: str
    title: str
    licence: str
    source: str
    created_at: str
    splits: dict[str, tuple[_Repo, ...]]
    licences: dict[_Repo, str] = Field(description="SPDX expression of each repository's package.")
    left_out: dict[_Repo, dict[str, str]] = Field(
        {}, description="Tests (without parameters) that depend on the machine, and how."
    )

    def split_of(self, repo: str) -> str:
        """The split of a repository. Raises AuthoringError when it is in none or in several."""
        found = [name for name, repos in self.splits.items() if repo in repos]
        if len(found) != 1:
            raise AuthoringError(f"{repo} is in {len(found)} splits of {self.name}, not in one")
        return found[0]


_Model = TypeVar("_Model", bound=Record)


def load_authored(folder: Path) -> tuple[AuthoredSuite, tuple[Bug, ...]]:
    """The suite and its bugs, by instance id.

    Raises AuthoringError naming file and field.
    """
    suite = load_record(folder / SUITE_FILE, AuthoredSuite)
    bugs = []
    for path in sorted(folder.glob("*.yaml")):
        if path.name == SUITE_FILE:
            continue
        bug = load_record(path, Bug)
        owner_name = bug.repo.replace("/", "__")
        if path.stem != bug.instance_id or bug.instance_id.rpartition("-")[0] != owner_name:
            raise AuthoringError(
                f"{path}: expected the file name {bug.instance_id}.yaml and an id that begins with "
                f"{owner_name}-"
            )
        suite.split_of(bug.repo)
        bugs.append(bug)
    if not bugs:
        raise AuthoringError(f"{folder}: no bugs in it; expected <instance_id>.yaml files")
    return suite, tuple(bugs)


def load_record(path: Path, model: type[_Model]) -> _Model:
    """A YAML file as a record. Raises AuthoringError naming file and field."""
    try:
        value: Mapping[str, Any] = yaml.safe_load(path.read_text())
        return model.model_validate(value)
    except FileNotFoundError:
        raise AuthoringError(f"{path} is missing") from None
    except yaml.YAMLError as error:
        raise AuthoringError(f"{path}: not YAML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise AuthoringError(f"{path}: field {field}: {first['msg']}") from None
