"""One problem of a mathematical suite."""

from pydantic import Field

from harness.records.base import Record


class Question(Record):
    """A problem whose final answer is known."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$", max_length=200)
    problem: str = Field(min_length=1)
    answer: str = Field(min_length=1, description="The final answer alone, as `204` or `\\frac12`.")
    suite: str = Field("", description="Where it is from, as `aime-2024`.")
