"""Does any oracle field reach a student? Canaries that were planted in them are searched for."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.leakage import taint_natural
from harness.leakage.findings import Check, Finding, Severity, Status
from harness.leakage.inputs import AuditInputs
from harness.leakage.ledger import Ledger
from harness.leakage.material import evaluation_instances, not_run
from harness.leakage.taint import Scanner
from harness.leakage.taint_sinks import Place, Sink, row_places, run_places
from harness.records import RunFolder
from harness.suites.load import load_suite

NAME = "canaries"
QUESTION = "Does any oracle field of an instance reach a student?"

# Of which fields the PI of a source is made. All of it is about training instances.
PI_FIELDS = {
    "gold_patch": frozenset({"patch"}),
    "next_file": frozenset({"patch"}),
    "test_manifest": frozenset({"test_patch", "FAIL_TO_PASS", "PASS_TO_PASS"}),
}
PI_COLUMNS = frozenset({"pi_text", "text"})
SOURCE_COLUMNS = ("pi_source", "source")
TARGET_COLUMN = "completion"
STATE_COLUMN = "state"
_SAID = frozenset({"assistant", "action"})
_SHOWN = 100
_LISTED = 2000


def check(inputs: AuditInputs) -> Check:
    """Search runs, PI and training rows for the ledger's canaries; any sighting is a leak.

    Allowed are, of a training instance and its own canaries only: in PI text, those of the fields
    that its source is made of (gold_patch, next_file: `patch`; test_manifest: the tests); in a
    training row's action, which is the gold patch's, `patch`. Where a script played the gold patch,
    as a rehearsal does, `patch` is a note where the agent wrote it before it was shown it.
    Inconclusive when something was not made from the planted copy, so that finding nothing shows
    nothing. Without a ledger, distinctive lines of the patches are searched in prompts. Raises
    LedgerError.
    """
    runs = list(dict.fromkeys((*inputs.runs, *inputs.control_runs.values())))
    if not (runs or inputs.pi or inputs.triples):
        return not_run(NAME, QUESTION, "runs, pi or triples")
    if inputs.ledger is None:
        if not runs:
            return not_run(NAME, QUESTION, "ledger (harness leakage plant), or runs")
        return taint_natural.check(NAME, QUESTION, runs)
    ledger = Ledger.load(inputs.ledger)
    return _Search(inputs, ledger, runs).check()


@dataclass
class _Seen:
    place: Place
    count: int = 0


@dataclass
class _Search:
    """One search for the canaries of a ledger."""

    inputs: AuditInputs
    ledger: Ledger
    runs: list[Path]
    leaks: dict[tuple[str, str, str], _Seen] = field(default_factory=dict)
    expected: dict[tuple[str, str, str], _Seen] = field(default_factory=dict)
    played: dict[tuple[str, str, str], _Seen] = field(default_factory=dict)
    unplanted: list[str] = field(default_factory=list)

    def check(self) -> Check:
        scanner = Scanner(self.ledger.prefix, self.ledger.by_canary)
        evaluation = evaluation_instances(self.inputs.evaluation)
        for run in self.runs:
            self._run(scanner, run)
        for path in self.inputs.pi:
            self._rows(row_places(scanner, path, Sink.PI), str(path), evaluation)
        for path in self.inputs.triples:
            self._rows(row_places(scanner, path, Sink.TRIPLES), str(path), evaluation)
        findings = [_finding(seen, Severity.LEAK) for seen in self.leaks.values()]
        findings += [_finding(seen, Severity.NOTE) for seen in self.played.values()]
        return Check(
            name=NAME,
            question=QUESTION,
            status=self._status(),
            reason=self._reason(),
            findings=tuple(findings[:_SHOWN]),
            figures=self._figures(),
        )

    def _run(self, scanner: Scanner, run: Path) -> None:
        instances = load_suite(str(RunFolder(run).suite), strict=False).instances
        if not any(self.ledger.carried_by(instance) for instance in instances):
            self.unplanted.append(str(run))
        by_design = _plays_gold(run)
        written: set[tuple[str, str]] = set()
        for place in run_places(scanner, run):
            planted = place.sighting.planted
            own = by_design and planted is not None and planted.field == "patch"
            if own and planted is not None:
                attempt = (str(Path(place.file).parent), planted.canary)
                if place.sink is Sink.ANSWER or (place.row or {}).get("kind") in _SAID:
                    written.add(attempt)
                shown = place.sink in (Sink.PROMPT, Sink.EVENTS)
                own = not shown or attempt in written
            self._note(self.played if own else self.leaks, place)

    def _rows(self, places: Iterator[Place], file: str, evaluation: Any) -> None:
        confirmed = False
        for place in places:
            own = _own_training_row(place, evaluation)
            if own and _expected(place):
                confirmed = True
                self._note(self.expected, place)
            else:
                self._note(self.played if own and _written_by_agent(place) else self.leaks, place)
        if not confirmed:
            self.unplanted.append(file)

    def _note(self, seen: dict[tuple[str, str, str], _Seen], place: Place) -> None:
        planted = place.sighting.planted
        key = (
            planted.name if planted else "a cut canary",
            f"{place.sink} {place.column}",
            place.file,
        )
        seen.setdefault(key, _Seen(place)).count += 1

    def _status(self) -> Status:
        if self.leaks:
            return Status.FAILED
        return Status.INCONCLUSIVE if self.unplanted else Status.PASSED

    def _reason(self) -> str:
        searched = len(self.runs) + len(self.inputs.pi) + len(self.inputs.triples)
        said = (
            f"{len(self.leaks)} leaks of {len(self.ledger.planted)} canaries in {searched} inputs"
        )
        if self.unplanted:
            said += (
                f"; without canaries where they would be, so not made from the planted copy or "
                f"not able to show it: {', '.join(self.unplanted[:3])}"
            )
        return said

    def _figures(self) -> dict[str, Any]:
        ledgers = {"leak": self.leaks, "expected": self.expected, "by design": self.played}
        rows = [
            {"verdict": verdict, **_row(seen)}
            for verdict, each in ledgers.items()
            for seen in each.values()
        ]
        return {
            "canaries": len(self.ledger.planted),
            "fields without a canary": len(self.ledger.unplanted),
            "runs": len(self.runs),
            "PI files": len(self.inputs.pi),
            "training files": len(self.inputs.triples),
            "leaks": len(self.leaks),
            "expected sightings": len(self.expected),
            "not planted": self.unplanted,
            "taint ledger": rows[:_LISTED],
            "taint ledger rows": len(rows),
        }


def _own_training_row(place: Place, evaluation: Any) -> bool:
    planted, row = place.sighting.planted, place.row or {}
    if planted is None or planted.instance_id in evaluation:
        return False
    return bool(row.get("instance_id") == planted.instance_id)


def _expected(place: Place) -> bool:
    planted, row = place.sighting.planted, place.row or {}
    assert planted is not None
    if place.sink is Sink.TRIPLES and place.column == TARGET_COLUMN:
        return planted.field == "patch"
    source = next((row[name] for name in SOURCE_COLUMNS if row.get(name)), "")
    fields = PI_FIELDS.get(str(source), frozenset())
    return place.column in PI_COLUMNS and planted.field in fields


def _written_by_agent(place: Place) -> bool:
    """Whether the agent wrote the `patch` canary of a state before it was shown it: it cannot have
    guessed it, so it plays the gold patch."""
    planted, row = place.sighting.planted, place.row or {}
    if place.column != STATE_COLUMN or planted is None or planted.field != "patch":
        return False
    try:
        messages = json.loads(row[STATE_COLUMN])["messages"]
        first = next(each for each in messages if planted.canary in json.dumps(each))
        return bool(first["role"] == "assistant")
    except (ValueError, RecursionError, LookupError, TypeError, StopIteration):
        return False


def _plays_gold(run: Path) -> bool:
    """Whether the agent is no student: it, or the script in place of a model, has the patch."""
    config = yaml.safe_load(RunFolder(run).config.read_text(encoding="utf-8"))
    kinds = (config["method"]["agent"]["kind"], (config.get("model") or {}).get("kind"))
    return kinds[0] == "gold" or kinds[1] == "rehearsal"


def _row(seen: _Seen) -> dict[str, Any]:
    planted = seen.place.sighting.planted
    return {
        "instance": planted.instance_id if planted else None,
        "field": planted.field if planted else None,
        "planted as": planted.how.value if planted else None,
        "sink": seen.place.sink.value,
        "column": seen.place.column,
        "file": seen.place.file,
        "first at": seen.place.at,
        "encoding": seen.place.sighting.encoding,
        "sightings": seen.count,
    }


def _finding(seen: _Seen, severity: Severity) -> Finding:
    place, planted = seen.place, seen.place.sighting.planted
    what = (
        f"{planted.field} of {planted.instance_id}" if planted else "an oracle field (cut canary)"
    )
    into = f"{place.sink.value}, column {place.column}" if place.column else place.sink.value
    text = planted.canary if planted else "the ledger's prefix"
    how = "" if place.sighting.encoding == "verbatim" else f" ({place.sighting.encoding})"
    title = f"{what} reached {into}"
    if severity is Severity.NOTE:
        title = f"{what} is in {into}, as it must where the gold patch is played"
    return Finding(
        severity=severity,
        title=title,
        where=f"{place.file}:{place.at}",
        evidence=f"canary {text}{how}, {seen.count} places in the file",
        reproduce=_reproduce(place, text),
    )


def _reproduce(place: Place, text: str) -> str:
    if place.file.endswith(".parquet"):
        return (
            f'python -c "import pyarrow.parquet as p; '
            f"print('{text}' in str(p.read_table('{place.file}').to_pylist()))\""
        )
    if place.sighting.encoding == "verbatim":
        return f"grep -n {text} {place.file}"
    return f"harness leakage audit with the same ledger; {place.sighting.encoding} of {text}"
