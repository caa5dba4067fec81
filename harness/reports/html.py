"""Writes the HTML report: one file, complete in itself."""

import base64
import hashlib
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.filters import do_filesizeformat
from markupsafe import Markup

from harness import __version__
from harness.records import Instance, InstanceId, RunFolder
from harness.reports.caps import Caps
from harness.reports.card import cards
from harness.reports.comparison import comparisons
from harness.reports.estimates import count, whole_points
from harness.reports.groups import group_tables
from harness.reports.headline import headline_context
from harness.reports.load import load_runs
from harness.reports.outcomes import infrastructure, outcome_tables, problems, refused
from harness.reports.payload import attempt_payload, instance_payload, pack, script_json
from harness.reports.plots import rate_axis
from harness.reports.rows import LABELS, SYMBOLS, InstanceRow, instance_rows
from harness.reports.run import Run
from harness.reports.text import line

SCRIPTS = ("elements.js", "page.js", "diff.js", "instances.js", "parts.js", "attempt.js")
STYLES = ("report.css", "attempt.css")
FEW_RUNS = 4  # up to here the instance table spells verdicts out
MANY_RUNS = 8  # from here on it scrolls sideways


def write_report(
    runs: Sequence[RunFolder], destination: Path, *, title: str, caps: Caps | None = None
) -> None:
    """Write a report on one or several runs to one HTML file, replacing it whole.

    Complete and incomplete runs both show; what a run lacks is named in the page. Raises
    ValueError when there is no run, FileNotFoundError when one is not there, OSError when the
    destination cannot be written.
    """
    loaded = load_runs(runs)
    caps = caps or Caps()
    environment = _environment()
    context = _context(loaded, caps, title, environment)
    destination.parent.mkdir(parents=True, exist_ok=True)
    draft = destination.with_name(f".{destination.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.writelines(environment.get_template("report.html").generate(context))
        draft.replace(destination)
    finally:
        draft.unlink(missing_ok=True)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("harness.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["bytes"] = lambda size: do_filesizeformat(size, binary=True)
    environment.filters["thousands"] = lambda number: f"{number:,}"
    environment.filters["spaced"] = lambda text: str(text).replace("_", " ")
    return environment


def _context(
    runs: Sequence[Run], caps: Caps, title: str, environment: Environment
) -> dict[str, Any]:
    style, script = (_asset(environment, names) for names in (STYLES, SCRIPTS))
    rows = instance_rows(runs)
    common_facts, run_cards = cards(runs)
    present = {mark.status for row in rows for cell in row.cells for mark in cell.marks}
    return {
        "title": line(title),
        "subtitle": _subtitle(runs, rows),
        "written_at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "version": __version__,
        "style": style,
        "style_hash": _hash(style),
        "script": script,
        "script_hash": _hash(script),
        "labels": LABELS,
        "symbols": SYMBOLS,
        **headline_context(runs),
        "comparison": comparisons(runs),
        "groups": group_tables(runs),
        "group_axis": rate_axis([1.0]),
        "whole_points": whole_points,
        "addresses": {row.id: row.first for row in rows},
        "attempt_files": [f"{run.folder.root.name}/{{attempts,grades}}/*" for run in runs],
        "outcomes": outcome_tables(runs),
        "runs": [
            {
                "name": line(run.name),
                "statuses": sorted({entry.status for entry in run.entries.values()}),
            }
            for run in runs
        ],
        "instance_rows": rows,
        "instance_files": [run.label(run.folder.suite) for run in runs],
        "has_difficulty": any(row.difficulty for row in rows),
        "repositories": sorted({row.repository for row in rows}),
        "stops": sorted({s for row in rows for cell in row.cells for s in cell.stops.split()}),
        "compact": len(runs) > FEW_RUNS or any(len(run.seeds) > 1 for run in runs),
        "many_runs": MANY_RUNS,
        "present_statuses": [status for status in LABELS if status in present],
        "infrastructure": list(infrastructure(runs)),
        "refused": refused(runs),
        "problems": list(problems(runs)),
        "common_facts": common_facts,
        "common_files": [
            f"*/{name}" for name in dict.fromkeys(f.file for f in common_facts) if name
        ],
        "cards": run_cards,
        "page_data": Markup(script_json(_page_data(runs, rows))),  # noqa: S704
        "blocks": Blocks(runs, rows, caps),
        "caps": caps,
    }


class Blocks:
    """The packed details, made one at a time while the page is written."""

    def __init__(self, runs: Sequence[Run], rows: Sequence[InstanceRow], caps: Caps) -> None:
        self._runs = runs
        self._rows = rows
        self._caps = caps
        self.left_out = 0

    def __iter__(self) -> Iterator[tuple[str, str]]:
        room = self._caps.report_bytes
        for row in self._rows:
            owner = _owner(self._runs, row.id)
            if owner:
                data = pack(instance_payload(*owner, self._caps))
                room -= len(data)
                yield f"instance/{row.id}", data
            for run, cell in zip(self._runs, row.cells, strict=True):
                for mark in cell.marks:
                    entry = run.entries[row.id, mark.seed]
                    instance = run.instances.get(row.id)
                    self.left_out += room <= 0
                    payload = attempt_payload(run, entry, instance, self._caps, full=room > 0)
                    data = pack(payload)
                    room -= len(data)
                    yield f"attempt/{mark.address}", data


def _owner(runs: Sequence[Run], instance_id: InstanceId) -> tuple[Instance, Run] | None:
    """The instance and the run it is read from: the first that has it."""
    return next(
        ((run.instances[instance_id], run) for run in runs if instance_id in run.instances), None
    )


def _page_data(runs: Sequence[Run], rows: Sequence[InstanceRow]) -> dict[str, Any]:
    return {
        "runs": [{"name": line(run.name), "seeds": len(run.seeds)} for run in runs],
        "statuses": LABELS,
        "symbols": SYMBOLS,
        "attempts": {
            row.id: [[(mark.seed, mark.status) for mark in cell.marks] for cell in row.cells]
            for row in rows
        },
    }


def _suite_name(reference: str) -> str:
    """A file's name, or a suite's name with its split."""
    path = Path(reference)
    return path.name if path.suffix else reference


def _subtitle(runs: Sequence[Run], rows: Sequence[InstanceRow]) -> str:
    suites = [run.config.get("suite") for run in runs]
    names = dict.fromkeys(
        _suite_name(str(s["reference"])) for s in suites if isinstance(s, dict) and "reference" in s
    )
    of = f" of {', '.join(names)}" if names else ""
    repositories = len({row.repository for row in rows})
    return line(
        f"{count(len(runs), 'method')} on {count(len(rows), 'instance')}{of} from "
        f"{repositories} {'repository' if repositories == 1 else 'repositories'}"
    )


def _asset(environment: Environment, names: Sequence[str]) -> Markup:
    """Our own style or script, concatenated. Only package files come this way."""
    assert environment.loader
    texts = (environment.loader.get_source(environment, name)[0] for name in names)
    return Markup("\n".join(texts))  # noqa: S704


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
