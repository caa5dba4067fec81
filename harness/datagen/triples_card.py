"""The dataset card of a folder of triples."""

from pathlib import Path

from harness.datagen.triples_gate import GateRecord
from harness.datagen.triples_report import TriplesReport
from harness.datagen.triples_rows import FIELDS, SCHEMA_VERSION

_GATES = {
    "manifest": "Instances that the leakage filter kept, against {evaluation} (SHA-256 of its rows "
    "{digest}).",
    "evaluation": "Instances that the leakage filter's rules allow, against {evaluation} (SHA-256 "
    "of its rows {digest}).",
    "none": "**Nothing was filtered**: the leakage filter was waived. Not for training that is "
    "evaluated.",
}


def write_card(report: TriplesReport, folder: Path) -> None:
    """Write `README.md`."""
    (folder / "README.md").write_text(card(report), encoding="utf-8")


def card(report: TriplesReport) -> str:
    """The card as Markdown, with the front matter by which `datasets` finds the files."""
    configs = "".join(
        f"- config_name: {name}\n  data_files: data/{name}.parquet\n" for name in report.sources
    )
    sources = "".join(
        f"| {name} | {one.rows} | {one.given} | {one.empty} | {one.blanked} "
        f"| {listed(one.dropped)} | `{one.sha256}` |\n"
        for name, one in report.sources.items()
    )
    fields = "".join(f"| `{name}` | {text} |\n" for name, text in FIELDS.items())
    return f"""---
configs:
{configs}license: other
---
# PI adapter triples

(state, PI text, expert action) rows for PI adapters: one file for each PI source. Schema
{SCHEMA_VERSION}; the digests of what they were made from are in each file's schema metadata
(`swe_harness`) and in `triples.json`.

{gate_text(report.gate)}

## Rows

| source | rows | with PI | empty anyway | blanked | dropped | SHA-256 |
|---|---|---|---|---|---|---|
{sources}
{report.empty_share:.0%} of each source's rows have no PI. Of {report.calls} model calls in
{report.attempts} attempts {report.expert_calls} have an expert action ({report.expert_states}
actions on {report.instances} instances; {listed(report.alignments)}; {report.rewritten}
rewritten with the gold hunks' content).

Not used, calls: {listed(report.dropped)}. Not used, attempts:
{listed(report.unused_attempts)}.

## Loss

On the action alone: `completion[action_start:action_end]`, as tokens
`completion_ids[action_token_start:action_token_end]` where they are known. The state and what the
model wrote before the action are context. `pi_text` goes in front of the state; rows without it
teach the adapter to change nothing.

## Fields

| field | meaning |
|---|---|
{fields}
## Licences

States and actions quote the source code and issues of the repositories below. Their licences are
not recorded here: look up each before you pass the rows on. Rows by repository:
{listed(report.repositories)}.
"""


def gate_text(gate: GateRecord) -> str:
    """What decided which instances were used."""
    text = _GATES[gate.kind].format(evaluation=gate.evaluation, digest=gate.evaluation_sha256)
    return text + (" Strict rules." if gate.strict else "")


def listed(counts: dict[str, int]) -> str:
    """Counts by name in a line."""
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
