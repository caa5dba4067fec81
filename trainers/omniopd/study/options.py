"""What the estimator study can be told."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from harness.records.base import Record
from trainers.engine.config import DType


class StudyOptions(Record):
    """Numbers are the paper's. Source: OmniOPD Table 3."""

    student: str = Field("repair-student", description="A shipped name, a folder, or a hub id.")
    teacher: str = Field("repair-teacher", description="Another; its tokeniser may be its own.")
    runs: tuple[Path, ...] = Field((), description="Whose trajectories the student sampled.")
    texts: tuple[Path, ...] = Field((), description="Text files; the student continues pieces.")
    limit: int = Field(1000, ge=1, description="Trajectories, drawn by a hash.")
    chunks: int = Field(20, ge=1, description="Of a trajectory, at most.")
    chunk_tokens: int = Field(50, ge=1)
    selection: Literal["entropy", "uniform"] = "entropy"
    rollouts: tuple[int, ...] = Field((10, 20), min_length=1)
    strength: float = Field(1.0, gt=0, description="α.")
    length_factor: float = Field(
        1.0, ge=1, description="Tokens of a continuation for each of the chunk's."
    )
    prompt_tokens: int = Field(64, ge=1, description="Of a piece of text.")
    sampled_tokens: int = Field(256, ge=1, description="That the student continues it by.")
    dtype: DType = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.runs) == bool(self.texts):
            raise ValueError("give --runs or --texts, and not both")
        if min(self.rollouts) < 2:
            raise ValueError(
                "--rollouts: one continuation has no noise to speak of; give 2 or more"
            )
        return self
