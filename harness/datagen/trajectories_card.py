"""The dataset card of a set of trajectories."""

from harness.datagen.trajectories_report import TrajectoriesReport
from harness.datagen.trajectories_rows import FIELDS, SCHEMA_VERSION
from harness.datagen.triples_card import gate_text, listed


def card(report: TrajectoriesReport) -> str:
    """The card as Markdown, with the front matter by which `datasets` finds the files."""
    configs = "".join(
        f"- config_name: {name}\n  data_files: data/{name}.parquet\n"
        for name, one in report.configs.items()
        if one.rows  # `datasets` loads no empty split
    )
    files = "".join(
        f"| {name} | {one.rows} | `{one.sha256}` |\n" for name, one in report.configs.items()
    )
    fields = "".join(
        f"\n### {name}\n\n| field | meaning |\n|---|---|\n"
        + "".join(f"| `{field}` | {text} |\n" for field, (_, text) in columns.items())
        for name, columns in FIELDS.items()
        if name != "sft"
    )
    return f"""---
configs:
{configs}license: other
---
# Trajectories

Graded attempts of agents at software engineering instances. Schema {SCHEMA_VERSION}; the digests of
what they were made from are in each file's schema metadata (`swe_harness`) and in `manifest.json`.

{gate_text(report.gate)}

## Rows

| config | rows | SHA-256 |
|---|---|---|
{files}
{report.attempts} of {report.found} attempts at {report.instances} instances, {report.resolved} of
them resolved ({listed(report.verdicts)}). Left out: {listed(report.left_out)}.

- `attempts`: each attempt and its outcome; {report.duplicates} have the content (instance, patch,
  every turn's tokens) of an earlier one and say so in `duplicate_of`. The other configs leave them
  out.
- Shown the solution, and so neither in `sft` nor in `preferences`: {listed(report.privileged)}.
- `turns`: each answered turn of the agent, {report.sampled_tokens} sampled tokens, as the endpoint
  gave them. Of {report.calls} model calls left out: {listed(report.calls_left_out)}.
- `sequences`: the same turns, each joined to the one before where its prompt begins with it.
- `sft`: sequences of resolved attempts, at most {report.per_instance} of an instance: of
  {report.sft_attempts} attempts. Left out: {listed(report.sft_left_out)}.
- `preferences`: a resolved and an unresolved attempt of one instance after the same first prompt,
  each a single sequence and in one pair alone, at most {report.pairs_per_instance} pairs of an
  instance. Attempts in none: {listed(report.preferences_left_out)}.

## Fields

`sft` has the fields of `sequences`.
{fields}
## Licences

Prompts, actions and patches quote the source code and issues of the repositories below. Their
licences are not recorded here: look up each before you pass the rows on. Attempts by repository:
{listed(report.repositories)}.
"""
