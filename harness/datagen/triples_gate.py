"""Which instances may become training rows: the leakage filter's word, or a recorded waiver."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from harness.leakage.filter_manifest import Rule, load_filter_manifest
from harness.leakage.filter_repositories import forks
from harness.leakage.filter_rows import LineDigest, RawRow, open_rows
from harness.leakage.filter_rules import Evaluation, RowFacts, row_facts
from harness.records import Instance, Record

NOT_FILTERED = "not_in_filter"


class TriplesError(ValueError):
    """Triples cannot be made; the text says why and what to do."""


class GateRecord(Record):
    """What decided which instances were used; part of the rows' metadata."""

    kind: str = Field(description="`manifest`, `evaluation`, or `none`: nothing was filtered.")
    evaluation: str = ""
    evaluation_sha256: str = Field("", description="Of the evaluation's rows.")
    manifest_sha256: str = Field("", description="Of the `filter.json`.")
    strict: bool = False


class Gate:
    """Says of an instance why it may not be used, or nothing."""

    def __init__(self, record: GateRecord) -> None:
        self.record = record

    def see(self, instances: Iterable[Instance]) -> None:
        """Look at all instances before the first is asked about."""
        return

    def refusal(self, instance: Instance) -> str:
        """The reason; empty for an instance that may be used."""
        return ""


class ManifestGate(Gate):
    """Allows what a `filter.json` kept; an instance that it does not know is refused.

    Raises FilterError for a damaged manifest.
    """

    def __init__(self, path: Path) -> None:
        manifest = load_filter_manifest(path)
        self._allowed = manifest.allowed()
        self._rules = {one.instance_id: one.rule for one in manifest.rejected}
        super().__init__(
            GateRecord(
                kind="manifest",
                evaluation=manifest.evaluation.name,
                evaluation_sha256=manifest.evaluation.sha256,
                manifest_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
                strict=manifest.strict,
            )
        )

    def refusal(self, instance: Instance) -> str:
        """See `Gate`."""
        if instance.instance_id in self._allowed:
            return ""
        rule = self._rules.get(instance.instance_id)
        return f"filter:{rule}" if rule else NOT_FILTERED


class EvaluationGate(Gate):
    """Asks the filter's rules of each instance. Raises FilterError, SuiteError."""

    def __init__(self, reference: str, *, strict: bool, rows: Path | None = None) -> None:
        source = open_rows(reference, rows=rows)
        digest = LineDigest()

        def read(row: RawRow) -> RowFacts:
            digest.add(row.line)
            return row_facts(row)

        self._index = Evaluation(map(read, source), source.name)
        self._rules = [rule for rule in Rule if strict or rule is not Rule.REPOSITORY]
        self._forks: dict[str, tuple[str, str]] = {}
        super().__init__(
            GateRecord(
                kind="evaluation",
                evaluation=source.name,
                evaluation_sha256=digest.hex,
                strict=strict,
            )
        )

    def see(self, instances: Iterable[Instance]) -> None:
        """Find forks of the evaluation's repositories."""
        facts = [_facts(one) for one in instances]
        self._forks = forks(((one.repository, one.commit) for one in facts), self._index.commits)

    def refusal(self, instance: Instance) -> str:
        """See `Gate`."""
        rejection = self._index.judge(_facts(instance), self._rules, self._forks)
        return f"filter:{rejection.rule}" if rejection else ""


def _facts(instance: Instance) -> RowFacts:
    return row_facts(RawRow(1, b"", instance.model_dump()))


def make_gate(
    manifest: Path | None, evaluation: str | None, *, strict: bool, waived: bool, rows: Path | None
) -> Gate:
    """The gate. Raises TriplesError unless exactly one of the three ways is chosen."""
    chosen = (manifest is not None) + (evaluation is not None) + waived
    if chosen != 1:
        raise TriplesError(
            "training rows need the leakage filter's word: name its filter.json or the evaluation "
            "suite, or say that nothing is to be filtered"
            + ("" if chosen == 0 else " (only one of them)")
        )
    if manifest is not None:
        return ManifestGate(manifest)
    if evaluation is not None:
        return EvaluationGate(evaluation, strict=strict, rows=rows)
    return Gate(GateRecord(kind="none"))
