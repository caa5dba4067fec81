"""What a small model is trained on and how, as a file."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError

from harness.records import Record

_Count = Annotated[int, Field(gt=0)]


class RecipeError(ValueError):
    """A recipe or a corpus that cannot be used; the text says why."""


class StageKind(StrEnum):
    """What the rows of a stage teach."""

    NAMES = "names"  # to choose a function by a report
    PLACES = "places"  # to read functions, and to say what stood at their places
    REPAIRS = "repairs"  # the repair task, and what stood at the other places


class Stage(Record):
    """So many steps on rows of one kind."""

    kind: StageKind
    steps: _Count


class Recipe(Record):
    """A small model of the Qwen3 architecture and its training."""

    schema_version: Literal[1] = 1
    seed: int = 0
    vocabulary: _Count = Field(1024, description="Tokens at most.")
    layers: _Count = 3
    width: _Count = 128
    heads: _Count = 4
    rows: _Count = Field(32, description="Rows of a step.")
    learning_rate: Annotated[float, Field(gt=0)] = 4e-3
    warm_up: _Count = 50
    hold: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.3, description="The share of all steps before the learning rate falls, linearly to 0."
    )
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    snapshot_every: _Count = Field(100, description="Steps between two exported models.")

    @property
    def steps(self) -> int:
        """All stages' steps."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> StageKind:
        """The kind of rows of a step, counted from 0."""
        for stage in self.stages:
            if step < stage.steps:
                return stage.kind
            step -= stage.steps
        raise ValueError(f"the recipe ends {step + 1} steps before")

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        falling = (self.steps - step) / (self.steps * (1 - self.hold))
        return self.learning_rate * min(1, (step + 1) / self.warm_up, falling)


def load_recipe(path: Path) -> Recipe:
    """A recipe's file. Raises RecipeError."""
    try:
        return Recipe.model_validate(yaml.safe_load(path.read_text()))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise RecipeError(f"{path}: {error}") from None
