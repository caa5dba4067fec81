"""The counts of a set of triples: `triples.json`."""

from typing import Literal

from pydantic import Field

from harness.datagen.triples_gate import GateRecord
from harness.records import Record


class SourceCounts(Record):
    """What the rows of one source are."""

    rows: int = 0
    given: int = 0
    empty: int = 0
    blanked: int = 0
    dropped: dict[str, int] = Field(default_factory=dict, description="Expert states, by reason.")
    sha256: str = Field("", description="Of the Parquet file.")


class TriplesReport(Record):
    """`triples.json`: where every model call of the runs went.

    `calls` = `expert_calls` + all of `dropped`. A call with several expert actions is several
    `expert_states`, and each is a row of each source but for that source's `dropped`.
    """

    schema_version: Literal[1] = 1
    gate: GateRecord
    empty_share: float
    min_similarity: float
    pi_sha256: str
    tokenizer: str | None
    runs: dict[str, str] = Field(description="SHA-256 of the run's lock.json, by name.")
    attempts: int
    instances: int = Field(description="With at least one expert state.")
    calls: int
    expert_calls: int
    expert_states: int
    dropped: dict[str, int] = Field(description="Model calls that are no expert state, by reason.")
    unused_attempts: dict[str, int] = Field(description="Attempts that were not read, by reason.")
    alignments: dict[str, int]
    rewritten: int
    repositories: dict[str, int] = Field(description="Expert states by repository.")
    sources: dict[str, SourceCounts]
    problems: dict[str, str] = Field(description="Instances without a snapshot, and why.")
