"""How long the PI of each source is, and how often it is empty or cut."""

from collections import defaultdict
from collections.abc import Iterable

from harness.records import Record
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


def pi_stats(records: Iterable[PIRecord]) -> list[SourceStats]:
    """One row a source, in the order of `SourceName`."""
    groups: dict[SourceName, list[PIRecord]] = defaultdict(list)
    for record in records:
        groups[record.source].append(record)
    return [_stats(groups[name]) for name in SourceName if name in groups]


def _stats(records: list[PIRecord]) -> SourceStats:
    import numpy as np

    lengths = [record.tokens for record in records if record.text] or [0]
    p10, median, p90 = (float(value) for value in np.percentile(lengths, (10, 50, 90)))
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
    )
