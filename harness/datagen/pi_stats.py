"""How long the PI of each source is, and how often it is empty or cut."""

from collections import defaultdict
from collections.abc import Iterable

from pydantic import Field

from harness.records import Record
from pi_extractors.base import TokenCounter
from pi_extractors.records import PIRecord, SourceName, Tier


class SourceStats(Record):
    """Of the records of one source. Lengths are in tokens, as `tokenizers` count, of the texts
    that are not empty."""

    source: SourceName
    tier: Tier
    records: int
    empty: int
    truncated: int
    with_skipped: int
    median: float
    p10: float
    p90: float
    budgets: tuple[int, ...]
    tokenizers: tuple[str, ...]
    error_median: float | None = Field(
        None, description="Of `tokens` relative to another counter's, of each text."
    )
    error_p90: float | None = Field(None, description="Of the absolute relative error.")


def pi_stats(records: Iterable[PIRecord], counter: TokenCounter | None = None) -> list[SourceStats]:
    """One row a source, in the order of `SourceName`; with a counter, how far off `tokens` is."""
    groups: dict[SourceName, list[PIRecord]] = defaultdict(list)
    for record in records:
        groups[record.source].append(record)
    return [_stats(groups[name], counter) for name in SourceName if name in groups]


def _stats(records: list[PIRecord], counter: TokenCounter | None) -> SourceStats:
    import numpy as np

    lengths = [record.tokens for record in records if record.text] or [0]
    p10, median, p90 = (float(value) for value in np.percentile(lengths, (10, 50, 90)))
    median_error = p90_error = None
    if counter:
        recounted = [counter.count(record.text) for record in records if record.text] or [0]
        errors = np.divide(lengths, np.maximum(recounted, 1)) - 1
        median_error = float(np.median(errors))
        p90_error = float(np.percentile(np.abs(errors), 90))
    return SourceStats(
        source=records[0].source,
        tier=records[0].tier,
        records=len(records),
        empty=sum(not record.text for record in records),
        truncated=sum(record.truncated for record in records),
        with_skipped=sum(bool(record.provenance.skipped) for record in records),
        median=median,
        p10=p10,
        p90=p90,
        budgets=tuple(sorted({record.budget for record in records})),
        tokenizers=tuple(sorted({record.tokenizer for record in records})),
        error_median=median_error,
        error_p90=p90_error,
    )
