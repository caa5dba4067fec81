"""The counts of a set of trajectories: `manifest.json`."""

from typing import Literal

from pydantic import Field

from harness.datagen.triples_gate import GateRecord
from harness.records import Record

Counts = dict[str, int]


class TrajectoriesError(ValueError):
    """A set of trajectories cannot be made or checked; the text says why and what to do."""


class ConfigFile(Record):
    """The rows of one configuration of the data set."""

    rows: int
    sha256: str = Field("", description="Of the Parquet file; empty when nothing was written.")


class TrajectoriesReport(Record):
    """`manifest.json`: where every attempt and every model call of the runs went.

    `found` is `attempts` and all of `left_out`. `attempts` is the rows of `sft`'s attempts and all
    of `sft_left_out`, and twice the pairs and all of `preferences_left_out`. `calls` of these
    attempts is the rows of `turns` and all of `calls_left_out`.
    """

    schema_version: Literal[1] = 1
    gate: GateRecord
    per_instance: int = Field(description="At most so many SFT attempts of an instance.")
    pairs_per_instance: int
    runs: dict[str, str] = Field(description="SHA-256 of the run's lock.json, by name.")
    tokenizers: dict[str, str] = Field(description="SHA-256 of the tokeniser, by run.")
    found: int
    left_out: Counts = Field(description="Attempts that are no row, by reason.")
    attempts: int
    instances: int
    resolved: int
    verdicts: Counts
    repositories: Counts = Field(description="Attempts by repository.")
    privileged: Counts = Field(description="Attempts that were shown the solution, by what.")
    duplicates: int = Field(description="Attempts with the content of an earlier one.")
    calls: int
    calls_left_out: Counts
    sampled_tokens: int = Field(description="In `turns`.")
    sft_attempts: int
    sft_left_out: Counts
    preferences_left_out: Counts
    configs: dict[str, ConfigFile]
