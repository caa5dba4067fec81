"""What decides which instances are made."""

from typing import Literal

from pydantic import Field

from harness.datagen.synthesis.operators import OPERATORS
from harness.records import Record

ALL_OPERATORS = (*OPERATORS, "commit", "model")


class Settings(Record):
    """The options that a second start of the same work must share with the first."""

    seed: str = "0"
    operators: tuple[str, ...] = ALL_OPERATORS
    instances: int = Field(40, ge=1, description="Of a package, at most.")
    candidates: int = Field(400, ge=1, description="Tried of a package, at most.")
    most_failing: int = Field(20, ge=1, description="Test functions that may fail with a bug.")
    runs: int = Field(3, ge=2, description="In each of which a test must end the same.")
    model_bugs: int = Field(10, ge=1, description="Functions of a package that a model rewrites.")
    statements: Literal["template", "model"] = "template"
    created_at: str = "2026-11-01T00:00:00Z"
