"""What controls say: each table's arms against its reference, all comparisons one family."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.pipeline.controls import (
    Arm,
    Controls,
    ControlTable,
    TableRow,
    runs_of,
    trainings_of,
)
from harness.pipeline.experiment import SEEDS_OF_A_RUN, differences, load_runs
from harness.pipeline.manifest import Job
from harness.records import RunFolder
from harness.reports.sections import Section, write_sections
from harness.scoring import Scored, score

Pair = tuple[str, str]


def write_controls(controls: Controls, jobs: Sequence[Job], out: Path) -> Path:
    """Write `controls.json` and `index.html` to `out`; the page's path.

    Arms without a finished run are named as not run; of an arm, runs that are not finished are left
    out and counted.
    """
    values = {key: str(value) for key, value in controls.values.items()} | {"out": str(out.parent)}
    runs = {arm.name: runs_of(arm, jobs, values) for arm in controls.arms}
    done = {
        name: [one for one in of if RunFolder(one).scores.is_file()] for name, of in runs.items()
    }
    rows = {name: load_runs([RunFolder(one) for one in of]) for name, of in done.items() if of}
    family = _family(controls, rows)
    found = {
        "family": len(family),
        "tables": [
            {"title": table.title, "reference": table.reference}
            | {"rows": [_row(row, table, rows, family) for row in table.rows]}
            for table in controls.tables
        ],
        "arms": [_arm(arm, rows, runs, trainings_of(arm, jobs, values)) for arm in controls.arms],
    }
    out.mkdir(parents=True, exist_ok=True)
    draft = out / ".controls.json"
    draft.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(out / "controls.json")
    page = out / "index.html"
    write_sections(
        list(_sections(controls, found, done)),
        page,
        title=controls.title,
        question=controls.question,
        file="controls.json",
    )
    return page


def _family(controls: Controls, rows: Mapping[str, list[Scored]]) -> dict[Pair, dict[str, Any]]:
    """All comparisons of all tables, each once."""
    pairs = dict.fromkeys(
        (table.reference, row.arm)
        for table in controls.tables
        for row in table.rows
        if row.arm != table.reference and {row.arm, table.reference} <= rows.keys()
    )
    return differences(list(pairs), rows, common_only=True)


def _row(
    row: TableRow,
    table: ControlTable,
    rows: Mapping[str, list[Scored]],
    family: Mapping[Pair, dict[str, Any]],
) -> dict[str, Any]:
    rate = score(rows[row.arm]).pass_at_1 if row.arm in rows else None
    standing = "reference" if row.arm == table.reference else "not run" if rate is None else ""
    unknown = dict.fromkeys(("difference", "p exact (Holm)", "p bootstrap (Holm)"))
    compared = family.get((table.reference, row.arm), unknown | {"shown": standing})
    columns = ["difference", "p exact (Holm)", "p bootstrap (Holm)", "shown"]
    return (
        {"control": row.arm, "resolve": rate.interval.model_dump() if rate else None}
        | {name: compared[name] for name in columns}
        | {"paper": _paper(row, table), "takeaway": row.takeaway}
        | {name: compared[name] for name in compared if name not in columns}
    )


def _paper(row: TableRow, table: ControlTable) -> str:
    """The paper's share in per cent, and how far it is from the reference's."""
    if row.paper is None:
        return ""
    reference = next((one.paper for one in table.rows if one.arm == table.reference), None)
    if reference is None or row.arm == table.reference:
        return f"{row.paper:.1f}"
    return f"{row.paper:.1f} ({row.paper - reference:+.1f})"


def _arm(
    arm: Arm, rows: Mapping[str, list[Scored]], runs: Mapping[str, list[Path]], trained: list[Path]
) -> dict[str, Any]:
    graded = rows.get(arm.name, [])
    return {
        "arm": arm.name,
        "runs": f"{len({row.seed // SEEDS_OF_A_RUN for row in graded})} of {len(runs[arm.name])}",
        "attempts": len(graded),
        "resolved": sum(row.resolved for row in graded),
        "infra_failures": sum(not row.graded for row in graded),
        **_spent(trained),
        "what": arm.what,
    }


def _spent(trained: Sequence[Path]) -> dict[str, Any]:
    """What a training of an arm took, the mean over its trainings that are there."""
    totals = [
        [json.loads(line) for line in (one / "metrics.jsonl").read_text("utf-8").splitlines()]
        for one in trained
        if (one / "metrics.jsonl").is_file()
    ]
    if not totals:
        return {"updates": None, "teacher tokens": None, "seconds": None}

    lines = [line for one in totals for line in one]

    def mean(key: str) -> int | None:
        if not all(key in line for line in lines):
            return None
        return int(sum(line[key] for line in lines) / len(totals))

    return {
        "updates": round(len(lines) / len(totals)),
        "teacher tokens": mean("teacher_tokens"),
        "seconds": mean("seconds"),
    }


def _sections(
    controls: Controls, found: dict[str, Any], done: Mapping[str, list[Path]]
) -> Iterator[Section]:
    for number, (table, result) in enumerate(zip(controls.tables, found["tables"], strict=True)):
        arms = dict.fromkeys([table.reference, *(row.arm for row in table.rows)])
        yield Section(
            f"table-{number + 1}",
            table.title,
            (
                *table.texts,
                f"Δ is against {table.reference}, paired on the same instances. All "
                f"{found['family']} comparisons of this page are one family (Holm–Bonferroni); a "
                "difference is shown where the exact test and the bootstrap agree at 5 %. Paper: "
                "its percentage, and in brackets how far that is from its reference.",
            ),
            {table.title: result["rows"]},
            files=tuple(str(RunFolder(one).scores) for name in arms for one in done.get(name, ())),
        )
    yield Section(
        "arms",
        "Arms, and what they cost",
        (
            *controls.texts,
            "Updates, teacher tokens (prompts, privileged information and sampled segments that "
            "the teacher was run on, padding included) and seconds are of one training, the mean "
            "over seeds. Seconds depend on what else the machine did.",
        ),
        {"arms": found["arms"]},
    )
