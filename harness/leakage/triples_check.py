"""Training rows: whose they are, and whether a deployable one holds the solution."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.leakage.filter_rows import open_rows
from harness.leakage.findings import Severity
from harness.leakage.inputs import AuditInputs
from harness.leakage.material import AuditError
from harness.leakage.ngrams import Index, Oracle, oracle, tokens
from harness.leakage.pi_records import Kind
from harness.leakage.training import rows, triple_instances
from harness.records import Instance
from pi_extractors.base import ExtractionError
from pi_extractors.records import TIERS, SourceName, Tier

NGRAMS, SHARE = 3, 0.6  # of the gold patch, in one PI text
COLUMNS = ("instance_id", "base_commit", "pi_source", "pi_tier", "pi_text")

EVALUATED = Kind(Severity.LEAK, "Training rows are about an evaluation instance")
STRANGER = Kind(Severity.WARNING, "Training rows are about an instance the training suite has not")
MISLABELLED = Kind(Severity.LEAK, "Training rows call an oracle source deployable")
OTHER_COMMIT = Kind(Severity.LEAK, "Training rows are of another commit than the base commit")
SOLUTION = Kind(Severity.LEAK, "Deployable training rows hold the instance's gold patch")

Found = tuple[Kind, str, str]


def triple_findings(
    path: Path,
    inputs: AuditInputs,
    evaluation: Mapping[str, Instance],
    counts: dict[str, int],
) -> Iterator[Found]:
    """What is wrong with a Parquet file of training rows: kind, place, evidence.

    Raises AuditError for a file without the columns of training rows.
    """
    known = rows(inputs.train).ids if inputs.train is not None else None
    for instance_id, number in sorted(triple_instances(path).items()):
        counts["training_rows"] += number
        if instance_id in evaluation:
            yield EVALUATED, str(path), f"{instance_id} ({number} rows)"
        elif known is not None and instance_id not in known:
            yield STRANGER, str(path), f"{instance_id} ({number} rows)"
    patches = _patches(inputs)
    commits = (
        {one.instance_id: one.commit for one in rows(inputs.train).facts} if inputs.train else {}
    )
    seen: set[bytes] = set()
    for number, row in _texts(path):
        where = f"{path}: row {number}"
        instance_id, commit, source, tier, text = (row[name] or "" for name in COLUMNS)
        if commits.get(instance_id, commit) != commit:
            yield OTHER_COMMIT, where, f"{instance_id} at {commit}, not {commits[instance_id]}"
        is_oracle = source in set(SourceName) and TIERS[SourceName(source)] is Tier.ORACLE
        if is_oracle and tier == Tier.DEPLOYABLE:
            yield MISLABELLED, where, f"{source} of {instance_id} has the tier {tier}"
        if is_oracle and tier != Tier.DEPLOYABLE:
            continue
        key = hashlib.sha256(f"{instance_id}\0{text}".encode(errors="surrogatepass")).digest()
        if not text or key in seen:
            continue
        seen.add(key)
        counts["deployable_texts"] = counts.get("deployable_texts", 0) + 1
        wanted = patches(instance_id)
        if wanted is None:
            continue
        counts["deployable_texts_compared"] = counts.get("deployable_texts_compared", 0) + 1
        found = Index([wanted]).find(tokens(text))
        if len(found) >= NGRAMS and wanted.share(found) >= SHARE:
            quote = " ".join(found[0])
            yield (
                SOLUTION,
                where,
                f"{source or 'PI'} of {instance_id} has {wanted.share(found):.0%} of the gold "
                f"patch's n-grams: {quote}",
            )


def _texts(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
        if missing:
            raise AuditError(
                f"{path}: no column {', '.join(missing)}; expected rows of "
                "`harness datagen triples`"
            )
        number = 0
        for batch in file.iter_batches(batch_size=1024, columns=list(COLUMNS)):
            for row in batch.to_pylist():
                number += 1
                yield number, row


def _patches(inputs: AuditInputs) -> Callable[[str], Oracle | None]:
    """The n-grams of training instances' gold patches, made when asked for; None without one.

    The issue and the tests are known: a deployable source may show them.
    """
    wanted = {one for path in inputs.triples for one in triple_instances(path)}
    raw: dict[str, tuple[str, str, str]] = {}
    for row in open_rows(inputs.train) if inputs.train is not None else ():
        if isinstance(row.value, dict) and row.value.get("instance_id") in wanted:
            issue, tests, patch = (
                str(row.value.get(name) or "")
                for name in ("problem_statement", "test_patch", "patch")
            )
            raw[row.value["instance_id"]] = issue, tests, patch
    last: dict[str, Oracle | None] = {}

    def find(instance_id: str) -> Oracle | None:
        if instance_id not in last:
            last.clear()
            made = None
            if instance_id in raw:
                issue, tests, patch = raw[instance_id]
                try:
                    made = oracle(instance_id, "patch", patch, known=[issue, tests])
                except ExtractionError:  # a training row's patch may be no diff; the filter says so
                    made = None
            last[instance_id] = made
        return last[instance_id]

    return find
