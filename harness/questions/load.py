"""One way to any question suite: shipped, on the Hugging Face hub, or in a file."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from harness.questions.columns import (
    ColumnError,
    memory_bytes,
    question,
    read_tests,
    seconds,
    text,
    value,
)
from harness.questions.manifest import (
    Columns,
    QuestionSuite,
    load_question_suite,
    questions_folder,
)
from harness.questions.records import MIB, CodeRule, MathRule, as_instance, slug
from harness.records import Instance
from harness.suites.errors import SuiteError
from harness.suites.hub import read_hub
from harness.suites.load import Suite, rows_sha256
from harness.suites.rows import SUFFIXES, Row, Unreadable, read_rows
from harness.suites.validate import RefusedRow

_MISSING = 3  # so many rows without a column, and no good one: the column's name is wrong


@dataclass(frozen=True)
class Questions:
    """A suite of one kind of questions, and how many rows its `where` left out."""

    kind: Literal["math", "code"]
    suite: Suite
    elsewhere: int
    licence: str


def load_questions(
    reference: str, *, rows: Path | None = None, split: str | None = None
) -> Questions:
    """Load a suite: a shipped name (`aime-2024`, `aime-2024@REVISION`), a YAML file with a mapping
    of columns, or a file of rows in the project's own columns (see `own_columns`).

    `rows` is a local file with the rows of a named suite, in its public columns. Rows that are no
    questions are in `suite.refused`. Raises SuiteError.
    """
    if reference.lower().endswith(SUFFIXES):
        if rows or split:
            raise SuiteError(f"{reference}: a file has no splits and no other rows")
        return _questions(own_suite(Path(reference)), reference, read_rows(Path(reference)))
    name, _, revision = reference.partition("@")
    manifest = load_question_suite(name)
    if split and (rows or manifest.file):
        raise SuiteError(f"--split {split}: only a dataset on the hub has splits")
    if rows is not None:
        return _questions(manifest, str(rows), read_rows(rows))
    if manifest.file is not None:
        path = questions_folder() / manifest.file
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != manifest.sha256:
            raise SuiteError(
                f"{path}: SHA-256 is {found}, the manifest says {manifest.sha256}: restore it or "
                "install the package again"
            )
        return _questions(manifest, str(path), read_rows(path))
    assert manifest.dataset is not None
    hub = read_hub(
        manifest.dataset,
        config=manifest.config,
        files=manifest.files,
        split=(split := split or manifest.split),
        revision=revision or manifest.revision,
    )
    questions = _questions(manifest, manifest.dataset, hub.rows)
    suite = replace(questions.suite, split=split, revision=hub.revision)
    return replace(questions, suite=suite)


def own_suite(path: Path) -> QuestionSuite:
    """The suite of a file in the project's own columns: id, problem and answer for mathematics;
    id, problem and tests for programs (and starter_code, solution, subject, level, seconds,
    memory where there are some)."""
    first = next((row for _, row in read_rows(path) if isinstance(row, Mapping)), {})
    optional = ("starter_code", "solution", "subject", "level", "seconds", "memory")
    kind: Literal["math", "code"] = "code" if "tests" in first else "math"
    given: dict[str, Any] = {name: name for name in optional if name in first}
    given |= {"tests": ("tests",)} if kind == "code" else {"answer": "answer"}
    return QuestionSuite(
        name=slug(path.name.split(".")[0].lower()).replace("_", "-").strip("-")[:60] or "questions",
        title=path.name,
        kind=kind,
        licence="the file's own",
        schema_source="docs/questions.md",
        dataset=str(path),
        columns=Columns(id="id", question=("problem",), **given),
    )


def _questions(manifest: QuestionSuite, source: str, rows: Iterator[Row]) -> Questions:
    instances: dict[str, Instance] = {}
    first_rows: dict[str, int] = {}
    refused: list[RefusedRow] = []
    elsewhere = 0
    for number, row in rows:
        try:
            if isinstance(row, Mapping) and not _chosen(row, manifest.where):
                elsewhere += 1
                continue
            instance = _instance(manifest, number, row)
            earlier = first_rows.setdefault(instance.instance_id, number)
            if earlier != number:
                raise ColumnError(f"the id {instance.instance_id!r} is already in row {earlier}")
            instances[instance.instance_id] = instance
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(map(str, first["loc"]))
            refused.append(_refused(source, number, field, str(first["msg"])))
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            refused.append(_refused(source, number, "row", str(error)))
        if not instances and len(refused) == _MISSING and "no column" in refused[0].message:
            raise SuiteError(f"{source}: {refused[0].message}; the suite is {manifest.name}")
    if not instances:
        shown = "".join(f"\n  {one.text}" for one in refused[:5])
        raise SuiteError(f"{source}: no row is a question of {manifest.name}{shown}")
    chosen = tuple(instances.values())
    suite = Suite(
        name=manifest.name,
        source=source,
        split=None,
        revision=None,
        instances=chosen,
        refused=tuple(refused),
        ignored_fields=(),
        sha256=rows_sha256(chosen),
    )
    return Questions(kind=manifest.kind, suite=suite, elsewhere=elsewhere, licence=manifest.licence)


def _chosen(row: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    for column, wanted in where.items():
        found = value(row, column)
        if (found or None) != wanted if wanted is None else found != wanted:
            return False
    return True


def _instance(manifest: QuestionSuite, number: int, row: Any) -> Instance:
    if isinstance(row, Unreadable):
        raise ColumnError(str(row))
    if not isinstance(row, Mapping):
        raise ColumnError(f"expected an object, found {type(row).__name__}")
    columns = manifest.columns
    asked = question(row, columns)
    if not asked:
        raise ColumnError(f"{', '.join(columns.question)}: the question is empty")
    return as_instance(
        suite=manifest.name,
        name=text(row, columns.id) if columns.id else str(number),
        question=asked,
        rule=_rule(manifest, row),
        solution=text(row, columns.solution),
        subject=text(row, columns.subject),
        level=text(row, columns.level),
    )


def _rule(manifest: QuestionSuite, row: Mapping[str, Any]) -> MathRule | CodeRule:
    columns = manifest.columns
    if manifest.kind == "math":
        return MathRule(answer=text(row, columns.answer).strip().strip("$").strip())
    limit = seconds(value(row, columns.seconds)) if columns.seconds else 0.0
    memory = memory_bytes(value(row, columns.memory)) if columns.memory else 0
    return CodeRule(
        tests=read_tests(row, columns.tests),
        seconds=min(max(limit * manifest.time_factor, manifest.seconds), 600.0),
        memory_bytes=min(max(memory, manifest.memory_mib * MIB), 8192 * MIB),
        tolerance=manifest.tolerance,
        ignore_case=manifest.ignore_case,
    )


def _refused(file: str, row: int, field: str, message: str) -> RefusedRow:
    return RefusedRow(file=file, row=row, field=field, message=message[:500])
