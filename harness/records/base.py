"""The base of every record that crosses a stage."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """An immutable, strictly validated value: an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
