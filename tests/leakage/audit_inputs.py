"""Files of an audit for tests: suites, runs, PI, training rows, as earlier stages write them."""

import hashlib
import json
import keyword
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from harness.datagen.triples_rows import FIELDS, triple_writer
from harness.records import Event, Instance, Verdict
from pi_extractors.records import TIERS, PIRecord, Provenance, SourceName
from pi_extractors.source import digest
from tests.reports.report_builder import RunBuilder, make_instance

# A patch that adds twelve lines found nowhere else; its context is the old code.
PATCH = """\
diff --git a/src/shapes/area.py b/src/shapes/area.py
--- a/src/shapes/area.py
+++ b/src/shapes/area.py
@@ -8,5 +8,16 @@ class Square:
     def __init__(self, side: float) -> None:
         self.side = side

     def area(self) -> float:
-        return self.side * 2
+        if self.side < 0:
+            raise ValueError("a side cannot be negative")
+        scaled = normalise_units(self.side, unit=self.unit)
+        if scaled.is_infinite() or scaled.is_nan():
+            raise OverflowError(f"no area for side {scaled!r}")
+        for observer in self.registered_observers:
+            observer.notify(kind="area", shape=self, value=scaled)
+        cached = self.cache.setdefault("area", scaled * scaled)
+        if cached != scaled * scaled:
+            self.cache.pop("area", None)
+            return self.area()
+        return cached
"""
OLD_CODE = """\
class Square:
    def __init__(self, side: float) -> None:
        self.side = side

    def area(self) -> float:
        return self.side * 2
"""


def added(patch: str = PATCH) -> str:
    """The lines that a patch adds, as a file has them."""
    lines = patch.splitlines()
    return "\n".join(one[1:] for one in lines if one[:1] == "+" and one[:3] != "+++")


def varied(number: int) -> str:
    """The patch with other names in what it adds: nothing but marks and keywords are the same."""

    def name(found: re.Match[str]) -> str:
        return found[0] if keyword.iskeyword(found[0]) else f"{found[0]}_{number}"

    lines = PATCH.splitlines(keepends=True)
    return "".join(
        re.sub(r"[A-Za-z_]{3,}", name, one) if one[:1] == "+" and one[:3] != "+++" else one
        for one in lines
    )


def write_suite(path: Path, instances: Iterable[Instance]) -> str:
    """A JSONL suite; its reference."""
    path.write_text("".join(one.model_dump_json() + "\n" for one in instances), encoding="utf-8")
    return str(path)


def instances(count: int, first: int = 0, **changes: Any) -> list[Instance]:
    """Rows of several repositories with different paths, and times a year apart."""
    made = []
    for number in range(first, first + count):
        patch = varied(number).replace("area.py", f"area_{number}.py")
        row = {"patch": patch, "created_at": f"{2000 + number}-01-01T00:00:00Z"}
        made.append(make_instance(number, **(row | changes)))
    return made


def run(
    root: Path,
    suite: Sequence[Instance],
    resolved: Callable[[int], bool] = lambda number: False,
    *,
    seeds: tuple[int, ...] = (0,),
    events: Sequence[Event] = (),
) -> Path:
    """A graded run that resolves some instances, by their position."""
    builder = RunBuilder(root, root.name, suite, seeds)
    for number, one in enumerate(suite):
        for seed in seeds:
            builder.attempt(one, seed, events=events)
            done = resolved(number)
            builder.grade(
                one, seed, verdict=Verdict.RESOLVED if done else Verdict.UNRESOLVED, log="-"
            )
    return root


def said(*texts: tuple[str, str]) -> list[Event]:
    """Events of (kind, text)."""
    return [
        Event(step=number, seconds=number, kind=kind, text=text)
        for number, (kind, text) in enumerate(texts)
    ]


def pi_record(one: Instance, source: SourceName, text: str, **changes: Any) -> PIRecord:
    """A record of an instance, with its provenance as the extractors state it."""
    inputs = {
        SourceName.GOLD_PATCH: {"patch": digest(one.patch)},
        SourceName.TEST_MANIFEST: {
            "test_patch": digest(one.test_patch),
            "fail_to_pass": digest(*one.FAIL_TO_PASS),
        },
    }.get(source, {})
    row = {
        "instance_id": one.instance_id,
        "source": source,
        "tier": TIERS[source],
        "text": text,
        "tokens": 1,
        "tokenizer": "estimate/1",
        "budget": 1000,
        "truncated": False,
        "provenance": Provenance(extractor=f"{source}/1", inputs=inputs),
    }
    return PIRecord.model_validate(row | changes)


def write_pi(path: Path, records: Iterable[PIRecord]) -> Path:
    """A JSONL file of PI records."""
    path.write_text("".join(one.model_dump_json() + "\n" for one in records), encoding="utf-8")
    return path


def write_triples(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """A Parquet file of training rows; columns that are not given are empty."""
    empty: dict[str, Any] = dict.fromkeys(FIELDS, "")
    numbers = ("seed", "turn", "pi_tokens", "action_start", "action_end")
    lists = ("prompt_ids", "completion_ids", "hunks", "edited")
    empty |= dict.fromkeys(numbers, 0) | {name: [] for name in lists}
    empty |= {"rewritten": False, "similarity": 1.0, "state": json.dumps({"messages": []})}
    empty |= {"action_token_start": None, "action_token_end": None, "pi_state": "given"}
    with triple_writer(path, {}) as writer:
        for number, row in enumerate(rows):
            made = empty | {"id": hashlib.sha256(str(number).encode()).hexdigest()} | row
            writer.add(made)
    return path


def triple(one: Instance, source: SourceName, text: str, **changes: Any) -> dict[str, Any]:
    """A training row about an instance."""
    row = {
        "instance_id": one.instance_id,
        "repo": one.repo,
        "base_commit": one.base_commit,
        "pi_source": source.value,
        "pi_tier": TIERS[source].value,
        "pi_text": text,
    }
    return row | changes
