"""The record of a question suite: `manifests/questions/<name>.yaml`."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, StringConstraints, ValidationError, model_validator

from harness.records import Record
from harness.suites.errors import SuiteError, did_you_mean
from harness.suites.manifests import manifests_root

Column = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Columns(Record):
    """Which column of a row says what. A dot leads into a column: `extra_info.index`, `prompt.1`.

    question: several columns are joined, each but the first under a heading of its name.
    tests: several columns' tests are joined; what one may hold is in `columns.read_tests`.
    seconds, memory: limits of a test, as numbers or as text with a unit.
    """

    id: Column | None = Field(None, description="None: the row's number.")
    question: tuple[Column, ...] = Field(("problem",), min_length=1)
    answer: Column | None = None
    tests: tuple[Column, ...] = ()
    starter_code: Column | None = None
    solution: Column | None = None
    subject: Column | None = None
    level: Column | None = None
    seconds: Column | None = None
    memory: Column | None = None


class QuestionSuite(Record):
    """Where a suite's rows are, what their columns mean, and how its programs are tested.

    schema_source: where the columns are documented. where: values that a row has to have to be
    in the suite; null stands for an empty column. seconds: of one test, at least. time_factor: by
    which the dataset's own limit is multiplied, since that is for compiled languages.
    memory_mib: at least. tolerance, ignore_case: of a program's output.
    """

    schema_version: Literal[1] = 1
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.\-]*$", max_length=60)]
    title: str
    kind: Literal["math", "code"]
    licence: str = Field(min_length=1)
    schema_source: str = Field(min_length=1)
    note: str = ""
    dataset: str | None = Field(None, description="Hub dataset id.")
    config: str | None = None
    files: str | None = Field(
        None, description="Parquet files of the dataset with `{split}` in it: runs no script of it."
    )
    split: str = "test"
    revision: str | None = Field(None, description="Hub commit, branch or tag; None: the newest.")
    file: str | None = Field(None, pattern=r"^[A-Za-z0-9][\w.\-]*$")
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    columns: Columns
    where: dict[Column, Any] = Field(default_factory=dict)
    seconds: float = Field(10.0, gt=0, le=600)
    time_factor: float = Field(5.0, gt=0)
    memory_mib: int = Field(1024, ge=64)
    tolerance: float = Field(1e-6, ge=0, le=1)
    ignore_case: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.file is None) == (self.dataset is None):
            raise ValueError("a suite has either a dataset or a file")
        if (self.file is None) != (self.sha256 is None):
            raise ValueError("a file goes with its sha256")
        if (self.kind == "math") != (self.columns.answer is not None):
            raise ValueError("kind math needs columns.answer, kind code has none")
        if (self.kind == "code") != bool(self.columns.tests):
            raise ValueError("kind code needs columns.tests, kind math has none")
        return self


def question_suites() -> tuple[str, ...]:
    """The names of the shipped question suites, sorted."""
    return tuple(sorted(path.stem for path in questions_folder().glob("*.yaml")))


def questions_folder() -> Path:
    """Where the shipped question suites are."""
    return manifests_root() / "questions"


def load_question_suite(name: str) -> QuestionSuite:
    """A question suite by name, or from a YAML file of one's own. Raises SuiteError."""
    own = Path(name)
    if own.suffix in (".yaml", ".yml"):
        return _parse(own)
    names = question_suites()
    if name not in names:
        raise SuiteError(
            f"no question suite named {name!r} (shipped: {', '.join(names)})"
            f"{did_you_mean(name, names)}"
        )
    return _parse(questions_folder() / f"{name}.yaml")


def _parse(path: Path) -> QuestionSuite:
    try:
        return QuestionSuite.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SuiteError(f"{path}: cannot be read as YAML: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "manifest"
        raise SuiteError(f"{path}: field {where}: {first['msg']}") from None
