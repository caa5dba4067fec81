"""What a diagnosis can be told."""

from pathlib import Path

from pydantic import Field, field_validator

from harness.records.base import Record


class DiagnosisOptions(Record):
    """Numbers are the paper's. Source: CHOP App. N.1, Table 27, §4.4."""

    limit: int | None = Field(None, ge=1, description="Trajectories, drawn by a hash.")
    states: int = Field(12, ge=1, description="Reference states of a trajectory.")
    rollouts: int = Field(0, ge=0, description="Teacher continuations of each; 0: no α.")
    length: int = Field(128, ge=1, description="Tokens of such a continuation, at most.")
    anchors: int = Field(0, ge=0, description="States of a trajectory with segments; 0: none.")
    segments: int = Field(8, ge=2, description="Of each model at an anchor.")
    segment_length: int = Field(64, ge=1)
    resets: int = Field(400, ge=0, description="States of each group of the reset list.")
    reliability_quantile: float = Field(0.30, ge=0, le=1)
    pi_quantile: float = Field(0.70, ge=0, le=1)
    boundary: float = Field(0.32, description="α*: below it, token supervision is taken to fail.")
    returns: Path | None = Field(None, description="Outcomes of the teacher's rollouts (Parquet).")
    outcomes: Path | None = Field(None, description="Outcomes of resets (Parquet).")
    baseline: Path | None = Field(None, description="The folder of another student's diagnosis.")
    seed: int = Field(0, ge=0)

    @field_validator("rollouts")
    @classmethod
    def _several(cls, value: int) -> int:
        if value == 1:
            raise ValueError("one rollout has no α: give 0, or 2 and more")
        return value
