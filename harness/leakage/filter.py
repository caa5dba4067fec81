"""The leakage filter: which training rows share nothing with an evaluation suite."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from harness.leakage.filter_manifest import (
    CHOP_RULES,
    SAFETY_RULES,
    FilterError,
    FilterInput,
    FilterManifest,
    Fork,
    Rejection,
    RepositoryCounts,
    Rule,
)
from harness.leakage.filter_repositories import forks
from harness.leakage.filter_rows import LineDigest, RowSource
from harness.leakage.filter_rules import Evaluation, RowFacts, row_facts

KEPT, REJECTED, MANIFEST = "kept.jsonl", "rejected.jsonl", "filter.json"
_NO_REPOSITORY = "(none)"


def filter_rows(
    train: RowSource, evaluation: RowSource, *, strict: bool = False, own_rules: bool = True
) -> FilterManifest:
    """Judge every training row by itself; the order of rows does not matter.

    `strict` rejects whole repositories. `own_rules` asks for equal instance ids and gold patches
    too. Raises FilterError for an evaluation row that cannot be read, SuiteError.
    Source: CHOP App. D.6.
    """
    rules = tuple(
        rule
        for rule in Rule
        if (rule in SAFETY_RULES or rule in CHOP_RULES or own_rules)
        and (strict or rule is not Rule.REPOSITORY)
    )
    digest = LineDigest()
    index = Evaluation(_facts(evaluation, digest), evaluation.name)
    evaluation_input = _input(evaluation, index.rows, digest)

    digest, kept_digest = LineDigest(), LineDigest()
    rows = list(_facts(train, digest))
    found = forks(((row.repository, row.commit) for row in rows), index.commits)
    verdicts = {row.number: index.judge(row, rules, found) for row in rows}
    for row in train:
        if verdicts.get(row.number, row) is None:
            kept_digest.add(row.line)
    return _manifest(
        rows,
        verdicts,
        strict=strict,
        rules=rules,
        forks=tuple(
            Fork(repo=repo, of=of, commit=commit) for repo, (of, commit) in sorted(found.items())
        ),
        train=_input(train, len(rows), digest),
        evaluation=evaluation_input,
        kept_sha256=kept_digest.hex,
    )


def write_filtered(train: RowSource, manifest: FilterManifest, folder: Path) -> None:
    """Write `kept.jsonl`, `rejected.jsonl` and, when both are whole, `filter.json` to a folder.

    Rows are written byte for byte. Raises FilterError when the rows are no longer those that the
    manifest was made from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    rejections = {one.row: one for one in manifest.rejected}
    read, written = LineDigest(), LineDigest()
    draft = folder / f"{KEPT}.draft"
    with draft.open("wb") as kept:
        for row in train:
            read.add(row.line)
            if row.number not in rejections:
                kept.write(row.line + b"\n")
                written.add(row.line)
    if (read.hex, written.hex) != (manifest.train.sha256, manifest.kept_sha256):
        draft.unlink()
        raise FilterError(f"{train.name}: the rows changed while they were filtered; run it again")
    draft.replace(folder / KEPT)
    lines = "".join(f"{one.model_dump_json()}\n" for one in manifest.rejected)
    (folder / REJECTED).write_text(lines, encoding="utf-8")
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _facts(source: RowSource, digest: LineDigest) -> Iterator[RowFacts]:
    for row in source:
        digest.add(row.line)
        yield row_facts(row)


def _input(source: RowSource, rows: int, digest: LineDigest) -> FilterInput:
    return FilterInput(
        name=source.name,
        split=source.split,
        revision=source.revision,
        rows=rows,
        sha256=digest.hex,
    )


def _manifest(
    rows: list[RowFacts],
    verdicts: dict[int, Rejection | None],
    *,
    strict: bool,
    rules: tuple[Rule, ...],
    forks: tuple[Fork, ...],
    train: FilterInput,
    evaluation: FilterInput,
    kept_sha256: str,
) -> FilterManifest:
    kept: list[str] = []
    rejected: list[Rejection] = []
    by_repository: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        verdict = verdicts[row.number]
        by_repository[row.repository or _NO_REPOSITORY]["rejected" if verdict else "kept"] += 1
        if verdict is None:
            kept.append(row.instance_id)
        else:
            rejected.append(verdict)
    by_rule = Counter(one.rule for one in rejected)
    return FilterManifest(
        strict=strict,
        rules=rules,
        own_rules=tuple(rule for rule in rules if rule not in CHOP_RULES + SAFETY_RULES),
        train=train,
        evaluation=evaluation,
        kept_rows=len(kept),
        kept_sha256=kept_sha256,
        rejected_rows=len(rejected),
        by_rule={rule.value: by_rule[rule] for rule in rules},
        by_repository={
            name: RepositoryCounts(**counts) for name, counts in sorted(by_repository.items())
        },
        forks=forks,
        rejected=tuple(rejected),
        kept=tuple(kept),
    )
