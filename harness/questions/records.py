"""What is asked, how its answer is judged, and both as an instance of a run.

A run's files hold instances. A question is one without a repository: `patch` is the reference
answer, `test_patch` the rule by which answers are judged (JSON of `Rule`), and `repo` its suite and
subject, by which scores are grouped.
"""

import re
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from harness.records import Instance, Record
from harness.records.instance import QUESTION

MIB = 1024 * 1024
NO_COMMIT = "0" * 40
_SLUG = re.compile(r"[^A-Za-z0-9_.\-]+")


class MathRule(Record):
    """The answer has to mean the same as `answer`."""

    kind: Literal["math"] = "math"
    answer: str = Field(min_length=1, max_length=20_000)


class Tests(Record):
    """Tests of a program, as many inputs as outputs.

    Without `function` they are texts for standard input and output. With it, an input is the JSON
    list of the function's arguments and an output the JSON of what it returns.
    """

    __test__ = False

    inputs: tuple[str, ...] = Field(min_length=1)
    outputs: tuple[str, ...] = Field(min_length=1)
    function: str | None = Field(None, pattern=r"^[A-Za-z_]\w{0,99}$")


class CodeRule(Record):
    """The answer's program has to pass every test."""

    kind: Literal["code"] = "code"
    tests: Tests
    seconds: float = Field(gt=0, le=600, description="Wall clock of one test.")
    memory_bytes: int = Field(ge=64 * MIB)
    tolerance: float = Field(1e-6, ge=0, description="Of decimal numbers, absolute or relative.")
    ignore_case: bool = False


Rule = Annotated[MathRule | CodeRule, Field(discriminator="kind")]
_RULE: TypeAdapter[MathRule | CodeRule] = TypeAdapter(Rule)


def slug(text: str) -> str:
    """A text as a part of an id: other characters than letters, digits, `_`, `.`, `-` are `-`."""
    return _SLUG.sub("-", text).strip("-.")


def as_instance(
    *,
    suite: str,
    name: str,
    question: str,
    rule: MathRule | CodeRule,
    solution: str = "",
    subject: str = "",
    level: str = "",
) -> Instance:
    """A question as an instance. Raises ValidationError, ValueError for an empty name."""
    if not slug(name):
        raise ValueError(f"the id {name[:100]!r} has no letter or digit")
    if isinstance(rule, MathRule):
        tests = ["answer"]
        solution = solution or rule.answer
    else:
        tests = [f"test {number}" for number in range(1, len(rule.tests.inputs) + 1)]
    return Instance(
        instance_id=f"{suite}-{slug(name)}",
        repo=f"{suite}/{slug(subject) or 'all'}",
        base_commit=NO_COMMIT,
        patch=solution or "no reference solution",
        test_patch=rule.model_dump_json(),
        problem_statement=question,
        FAIL_TO_PASS=tuple(tests),
        PASS_TO_PASS=(),
        difficulty=level or None,
        eval_type=QUESTION,
    )


def rule_of(instance: Instance) -> MathRule | CodeRule:
    """How a question's answers are judged. Raises ValueError when the instance is no question."""
    if not instance.is_question:
        raise ValueError(f"{instance.instance_id} is no question")
    try:
        return _RULE.validate_json(instance.test_patch)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{instance.instance_id}: the rule's {where}: {first['msg']}") from None
