"""What extraction yields: PI records with their tier, budget and provenance."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from harness.records import Record


class Tier(StrEnum):
    """Who could have a source. Source: CHOP §5.1, App. D.1."""

    DEPLOYABLE = "deployable"  # of the repository and its tests, without knowing the solution
    ORACLE = "oracle"  # of the solution


class SourceName(StrEnum):
    """The PI sources. Source: CHOP App. D.1."""

    CALL_GRAPH = "call_graph"  # symbols reachable from the module that the issue names
    TEST_MANIFEST = "test_manifest"  # FAIL_TO_PASS and PASS_TO_PASS test functions
    GOLD_PATCH = "gold_patch"  # the unified diff of the gold commit
    NEXT_FILE = "next_file"  # the gold patch's next file, at each step
    GOLD_ANSWER = "gold_answer"  # of a mathematical problem


TIERS: dict[SourceName, Tier] = {
    SourceName.CALL_GRAPH: Tier.DEPLOYABLE,
    SourceName.TEST_MANIFEST: Tier.DEPLOYABLE,
    SourceName.GOLD_PATCH: Tier.ORACLE,
    SourceName.NEXT_FILE: Tier.ORACLE,
    SourceName.GOLD_ANSWER: Tier.ORACLE,
}


class Skipped(Record):
    """A part of the input that was left out, and why."""

    path: str
    reason: str


class Provenance(Record):
    """What a record was made from: equal provenance, equal text."""

    extractor: str = Field(description="Name and version, as `gold_patch/1`.")
    inputs: dict[str, str] = Field(
        default_factory=dict, description="Digest of each input, as `patch` or `snapshot`."
    )
    notes: tuple[str, ...] = Field((), description="Choices made, as a fallback that was taken.")
    skipped: tuple[Skipped, ...] = ()


class PIRecord(Record):
    """The PI of one source about one instance; an empty text says that there is none."""

    schema_version: Literal[1] = 1
    instance_id: str
    source: SourceName
    tier: Tier
    step: int | None = Field(None, ge=0, description="Model calls made before; None: any step.")
    text: str
    tokens: int = Field(ge=0, description="Of the text, as `tokenizer` counts.")
    tokenizer: str = Field(description="What counted, as `estimate/1` or a tokenizer's digest.")
    budget: int = Field(ge=0, description="Most tokens that the text may have.")
    truncated: bool = Field(description="Whether something was cut to stay within the budget.")
    provenance: Provenance
