"""The PI sources as options describe them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from harness.records import Instance, Record
from pi_extractors.base import ExtractionError, TokenCounter
from pi_extractors.budget import BUDGETS
from pi_extractors.cache import CacheableSource
from pi_extractors.gold_patch import GoldPatchSource
from pi_extractors.next_file import NextFileSource
from pi_extractors.records import TIERS, SourceName, Tier
from pi_extractors.test_manifest import TestManifestSource
from pi_extractors.tokens import Estimate, TokenizerFile

INSTANCE_SOURCES = (
    SourceName.CALL_GRAPH,
    SourceName.TEST_MANIFEST,
    SourceName.GOLD_PATCH,
    SourceName.NEXT_FILE,
)

View = Literal["repair"]
VIEW_SOURCES: dict[View, tuple[SourceName, ...]] = {
    "repair": (SourceName.TEST_MANIFEST, SourceName.GOLD_PATCH)
}

_WHAT = {
    SourceName.CALL_GRAPH: "symbols reachable from the module that the issue names",
    SourceName.TEST_MANIFEST: "FAIL_TO_PASS and PASS_TO_PASS test functions with their source",
    SourceName.GOLD_PATCH: "the gold commit's diff of the files that it modifies",
    SourceName.NEXT_FILE: "the gold patch's next file and its docstring, at each step",
    SourceName.GOLD_ANSWER: "the final answer of a mathematical problem",
}


class PIOptions(Record):
    """What to extract, and from where."""

    sources: tuple[SourceName, ...] = INSTANCE_SOURCES
    view: View | None = Field(None, description="repair: short texts for the repair agent.")
    budgets: dict[SourceName, int] = Field(
        default_factory=dict, description="Tokens, where not a source's own default."
    )
    tokenizer: Path | None = Field(None, description="A `tokenizer.json`; else the estimate.")
    repos: Path | None = Field(None, description="Folder of local git repositories.")
    releases: bool = Field(False, description="Use a release where no base commit is at hand.")
    use_cache: bool = True


class SourceDescription(Record):
    """A source in a line; `budget` in tokens."""

    name: SourceName
    tier: Tier
    budget: int
    what: str


def describe_sources() -> list[SourceDescription]:
    """All sources, with their default budgets."""
    return [
        SourceDescription(name=name, tier=TIERS[name], budget=BUDGETS[name], what=_WHAT[name])
        for name in SourceName
    ]


def make_counter(options: PIOptions) -> TokenCounter:
    """The token counter. Raises ExtractionError for a bad tokenizer file."""
    return TokenizerFile(options.tokenizer) if options.tokenizer else Estimate()


def make_sources(options: PIOptions) -> Iterator[CacheableSource[Instance]]:
    """The sources about instances that the options name. Raises ExtractionError."""
    counter = make_counter(options)
    for name in options.sources:
        budget = options.budgets.get(name)
        if options.view == "repair":
            yield _repair_view(name, counter, budget)
            continue
        match name:
            case SourceName.CALL_GRAPH:
                from pi_extractors.call_graph.source import CallGraphSource

                yield CallGraphSource(counter, budget)
            case SourceName.TEST_MANIFEST:
                yield TestManifestSource(counter, budget)
            case SourceName.GOLD_PATCH:
                yield GoldPatchSource(counter, budget)
            case SourceName.NEXT_FILE:
                yield NextFileSource(counter, budget)
            case SourceName.GOLD_ANSWER:
                raise ExtractionError("gold_answer is about questions, not about instances")


def _repair_view(
    name: SourceName, counter: TokenCounter, budget: int | None
) -> CacheableSource[Instance]:
    from pi_extractors.repair.gold import RepairGoldSource
    from pi_extractors.repair.reach import RepairReachSource

    match name:
        case SourceName.TEST_MANIFEST:
            return RepairReachSource(counter, budget)
        case SourceName.GOLD_PATCH:
            return RepairGoldSource(counter, budget)
    fitting = ", ".join(VIEW_SOURCES["repair"])
    raise ExtractionError(f"the repair view has texts for {fitting}, not for {name}")
