"""The record of one filtering, `filter.json`: what training may use, and why not the rest."""

from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from harness.records import Record

FILTER_VERSION = "leakage_filter/1"


class FilterError(ValueError):
    """The filter cannot vouch for its result; the text says why and what to do."""


class Rule(StrEnum):
    """Why a row is rejected, in the order in which the rules are asked.

    `CHOP_RULES` are the protocol; `SAFETY_RULES` are always asked; the rest are this project's own.
    """

    INVALID_ROW = "invalid_row"  # no instance id, repository, base commit or gold patch
    BASE_COMMIT = "base_commit"  # that of an evaluation instance
    MALFORMED_PATCH = "malformed_patch"  # what it touches cannot be told
    PATH = "path"  # one that an evaluation instance of the same repository touches
    INSTANCE_ID = "instance_id"  # that of an evaluation instance
    GOLD_PATCH = "gold_patch"  # that of an evaluation instance, in whatever repository
    REPOSITORY = "repository"  # one of the evaluation's; `strict` only


CHOP_RULES = (Rule.BASE_COMMIT, Rule.PATH, Rule.REPOSITORY)
"""Source: CHOP App. D.6."""

SAFETY_RULES = (Rule.INVALID_ROW, Rule.MALFORMED_PATCH)
"""Without these a row that cannot be judged would be kept."""


class Rejection(Record):
    """One rejected row and what proves it."""

    row: int = Field(ge=1, description="Line in JSONL, position elsewhere.")
    instance_id: str
    repo: str = Field(description="As the row writes it.")
    rule: Rule
    evaluation_instance: str | None = Field(
        None, description="The first of the evaluation instances that it clashes with, by id."
    )
    evidence: str = Field(description="The commit, path, digest or error that decided.")
    clashes: int = Field(0, ge=0, description="Evaluation instances that the rule names.")


class FilterInput(Record):
    """Rows that were read."""

    name: str
    split: str | None = None
    revision: str | None = None
    rows: int = Field(ge=0)
    sha256: str = Field(description="Of the rows as lines of JSON, each with a line feed.")


class RepositoryCounts(Record):
    """What became of one repository's rows."""

    kept: int = Field(0, ge=0)
    rejected: int = Field(0, ge=0)


class Fork(Record):
    """A training repository that was taken for one of the evaluation's."""

    repo: str
    of: str
    commit: str = Field(description="Which both have.")


class FilterManifest(Record):
    """`filter.json`. A training instance is allowed when it is in `kept` and in no rejection."""

    schema_version: Literal[1] = 1
    filter: str = Field(FILTER_VERSION, description="Name and version of the rules.")
    strict: bool
    rules: tuple[Rule, ...] = Field(description="Rules that were asked, in this order.")
    own_rules: tuple[Rule, ...] = Field(
        description="Those of them that are this project's own and can be left out."
    )
    train: FilterInput
    evaluation: FilterInput
    kept_rows: int = Field(ge=0)
    kept_sha256: str = Field(description="Of `kept.jsonl`.")
    rejected_rows: int = Field(ge=0)
    by_rule: dict[str, int]
    by_repository: dict[str, RepositoryCounts] = Field(description="By canonical name.")
    forks: tuple[Fork, ...] = ()
    rejected: tuple[Rejection, ...]
    kept: tuple[str, ...] = Field(description="Instance ids, in the order of the rows.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        rows, counted = self.kept_rows + self.rejected_rows, sum(self.by_rule.values())
        if (len(self.kept), len(self.rejected)) != (self.kept_rows, self.rejected_rows):
            raise ValueError("the lists are not as long as the counts say")
        if rows != self.train.rows or counted != self.rejected_rows:
            raise ValueError(
                f"{self.train.rows} rows read, but {self.kept_rows} kept, {self.rejected_rows} "
                f"rejected, {counted} counted by rule"
            )
        return self

    def allowed(self) -> frozenset[str]:
        """The instance ids that training may use."""
        return frozenset(self.kept) - {one.instance_id for one in self.rejected}


def load_filter_manifest(path: Path) -> FilterManifest:
    """Read a `filter.json`. Raises FilterError naming the field that is wrong."""
    try:
        return FilterManifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise FilterError(f"{path}: no such file; `harness leakage filter` writes it") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "manifest"
        raise FilterError(f"{path}: field {field}: {first['msg']}") from None


def manifest_schema() -> dict[str, Any]:
    """The JSON schema of `filter.json`, as shipped in `manifests/leakage/filter.schema.json`."""
    return FilterManifest.model_json_schema(mode="serialization")
