"""One SWE-bench instance, in the benchmark's own schema (v4 and v5 rows)."""

import json
from typing import Annotated, Any, NewType

from pydantic import BeforeValidator, Field, StringConstraints

from harness.records.base import Record

InstanceId = NewType("InstanceId", str)
QUESTION = "question"

_InstanceIdText = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$", max_length=200)
]
_Sha1 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
_Repo = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.\-]+/[A-Za-z0-9_.\-]+$")]


def _json_list(value: Any) -> Any:
    """The benchmark ships test lists as JSON text; local files may hold real lists."""
    return json.loads(value) if isinstance(value, str) else value


def _json_object(value: Any) -> Any:
    if isinstance(value, str):
        return json.loads(value) if value else {}
    return {} if value is None else value


TestIds = Annotated[tuple[str, ...], BeforeValidator(_json_list)]


class Instance(Record):
    """A row of a SWE-bench suite.

    A v5 row carries what grading needs (`image`, `eval_script`, `log_parser`, `eval_type`); a
    v4 row does not, and can be rolled out but not graded. Field names are the dataset's columns.
    """

    instance_id: _InstanceIdText
    repo: _Repo
    base_commit: _Sha1
    patch: str = Field(min_length=1, description="The gold patch.")
    test_patch: str = Field(min_length=1)
    problem_statement: str = Field(min_length=1)
    hints_text: str = ""
    created_at: str = ""
    version: str = ""
    FAIL_TO_PASS: TestIds
    PASS_TO_PASS: TestIds
    environment_setup_commit: str | None = None
    difficulty: str | None = None
    image: str | None = None
    eval_script: str | None = None
    log_parser: str | None = None
    eval_type: str | None = None
    image_assets: Annotated[dict[str, Any], BeforeValidator(_json_object)] = Field(
        default_factory=dict
    )

    @property
    def id(self) -> InstanceId:
        """The instance's id, typed."""
        return InstanceId(self.instance_id)

    @property
    def is_question(self) -> bool:
        """Whether it is a question with an answer, and no repository to change."""
        return self.eval_type == QUESTION

    @property
    def gradable(self) -> bool:
        """Whether the row says how it is graded (v5) or not (v4)."""
        return None not in (self.image, self.eval_script, self.log_parser, self.eval_type)
