"""Makes run folders of real records for the tests of reports."""

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.records import (
    Attempt,
    Event,
    Finding,
    Grade,
    Instance,
    RunFolder,
    StopReason,
    TestCounts,
    Timing,
    Usage,
    Verdict,
)
from harness.reports.load import load_run
from harness.scoring import Resampling, score, scored

REPOSITORIES = ("pallets/flask", "psf/requests", "sympy/sympy", "django/django")
DIFFICULTIES = ("<15 min fix", "15 min - 1 hour", "1-4 hours")

GOLD = """\
diff --git a/src/shapes/area.py b/src/shapes/area.py
index 1f2e3d4..5a6b7c8 100644
--- a/src/shapes/area.py
+++ b/src/shapes/area.py
@@ -8,7 +8,9 @@ class Square:
     def __init__(self, side: float) -> None:
         self.side = side

     def area(self) -> float:
-        return self.side * 2
+        if self.side < 0:
+            raise ValueError("a side cannot be negative")
+        return self.side**2

 def total(shapes):
"""
TEST_PATCH = """\
diff --git a/tests/test_area.py b/tests/test_area.py
--- a/tests/test_area.py
+++ b/tests/test_area.py
@@ -1,1 +1,2 @@
 import shapes
+assert shapes.Square(3).area() == 9
"""


def make_instance(number: int, **changes: Any) -> Instance:
    """A valid v5 row, varied by its number."""
    repo = REPOSITORIES[number % len(REPOSITORIES)]
    row: dict[str, Any] = {
        "instance_id": f"{repo.replace('/', '__')}-{1000 + number}",
        "repo": repo,
        "base_commit": hashlib.sha1(str(number).encode()).hexdigest(),
        "patch": GOLD,
        "test_patch": TEST_PATCH,
        "problem_statement": f"Square.area() is wrong ({number})\n\nThe area of a square of side 3"
        " is 9, but `area()` returns 6.\r\n\r\n```python\r\n>>> Square(3).area()\r\n6\r\n```\r\n",
        "FAIL_TO_PASS": ["tests/test_area.py::test_square"],
        "PASS_TO_PASS": [f"tests/test_area.py::test_other[{n}]" for n in range(12)],
        "difficulty": DIFFICULTIES[number % len(DIFFICULTIES)],
        "image": "example/image:latest",
        "eval_script": "#!/bin/bash\npytest -rA tests/test_area.py\n",
        "log_parser": "parse_log_pytest",
        "eval_type": "pass_and_fail",
    }
    return Instance.model_validate({**row, **changes})


def make_instances(count: int) -> list[Instance]:
    return [make_instance(number) for number in range(count)]


def write_lines(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@dataclass
class RunBuilder:
    """Writes one run as the scheduler does."""

    root: Path
    method: str
    instances: Sequence[Instance]
    seeds: tuple[int, ...] = (0,)
    notes: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = RunFolder(self.root)
        self.root.mkdir(parents=True, exist_ok=True)
        write_lines(self.folder.suite, [i.model_dump_json() for i in self.instances])
        config = {
            "schema_version": 1,
            "id": self.root.name,
            "method": {
                "name": self.method,
                "title": self.method.title(),
                "description": "A method.",
            },
            "profile": "embedded",
            "suite": {
                "reference": "shapes-mini",
                "revision": "1",
                "instances": len(self.instances),
            },
            "seeds": list(self.seeds),
            "sandbox": "process",
            "workers": 2,
            "command": f"harness eval --method {self.method} --suite shapes-mini",
            "created_at": "2026-11-22T08:30:00+00:00",
            "machine": {"cores": "2", "memory": "24 GiB", "python": "3.11.7"},
            "notes": list(self.notes),
        }
        self.folder.config.write_text(yaml.safe_dump({**config, **self.config}), encoding="utf-8")
        lock = {
            "schema_version": 1,
            "suite_sha256": "ab" * 32,
            "images": {i.instance_id: f"sha256:{i.base_commit}" for i in self.instances},
            "model": {"name": "SmolLM2-135M", "sha256": "cd" * 32} if self.notes else None,
            "budget": {"turns": 50, "wall_clock_seconds": 600.0},
            "decoding": {"temperature": 0.7, "top_p": 0.95},
            "grader": "harness-1",
            "packages": {"swe-harness": "0.1.0", "swebench": "5.0.2"},
        }
        self.folder.lock.write_text(json.dumps(lock), encoding="utf-8")

    def attempt(
        self,
        instance: Instance,
        seed: int = 0,
        *,
        patch: str = GOLD,
        stop: StopReason = StopReason.FINISHED,
        events: Sequence[Event] = (),
        detail: str = "",
    ) -> None:
        """Write `attempts/<instance>/<seed>/`."""
        folder = self.folder.attempt(instance.id, seed)
        write_lines(
            folder / "events.jsonl", [json.dumps(e.model_dump(mode="json")) for e in events]
        )
        data = patch.encode(errors="surrogateescape")
        (folder / "patch.diff").write_bytes(data)
        record = Attempt(
            instance_id=instance.instance_id,
            method=self.method,
            seed=seed,
            model="smollm2-135m" if events else None,
            stop_reason=stop,
            detail=detail,
            usage=Usage(turns=len(events) // 2, generated_tokens=31 * len(events)),
            patch_sha256=hashlib.sha256(data).hexdigest(),
            patch_bytes=len(data),
            started_at="2026-11-22T08:31:00+00:00",
            seconds=12.5,
        )
        (folder / "attempt.json").write_text(record.model_dump_json(), encoding="utf-8")

    def grade(
        self,
        instance: Instance,
        seed: int = 0,
        *,
        verdict: Verdict = Verdict.RESOLVED,
        reason: str = "",
        findings: Sequence[Finding] = (),
        log: str = "",
    ) -> None:
        """Write `grades/<instance>/<seed>/` for the attempt written before."""
        resolved = verdict is Verdict.RESOLVED
        patch = (self.folder.attempt(instance.id, seed) / "patch.diff").read_bytes()
        ran = verdict in (Verdict.RESOLVED, Verdict.UNRESOLVED)
        tests = {
            **dict.fromkeys(instance.FAIL_TO_PASS, "PASSED" if resolved else "FAILED"),
            **dict.fromkeys(instance.PASS_TO_PASS, "PASSED"),
        }
        record = Grade(
            instance_id=instance.instance_id,
            verdict=verdict,
            reason=reason or f"the verdict is {verdict.value}",
            findings=tuple(findings),
            counts=TestCounts(
                fail_to_pass_passed=len(instance.FAIL_TO_PASS) if resolved else 0,
                fail_to_pass_total=len(instance.FAIL_TO_PASS),
                pass_to_pass_passed=len(instance.PASS_TO_PASS) if ran else 0,
                pass_to_pass_total=len(instance.PASS_TO_PASS),
            ),
            tests=tests if ran else {},
            failed_tests=() if resolved else instance.FAIL_TO_PASS,
            official_resolved=resolved,
            exit_code=0 if resolved else 1,
            timing=Timing(start=0.3, prepare=0.4, tests=1.2, total=1.9),
            patch_sha256=hashlib.sha256(patch).hexdigest(),
            image_digest="sha256:" + "ef" * 32,
            grader="harness-1",
            cache_key="12" * 32,
        )
        folder = self.folder.grade(instance.id, seed)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "grade.json").write_text(record.model_dump_json(), encoding="utf-8")
        (folder / "eval.log").write_text(log or test_log(tests), encoding="utf-8")

    def score(self) -> None:
        """Write `scores.json` from the records that are there."""
        run = load_run(self.folder)
        rows = [
            scored(run.instances[e.instance_id], e.attempt, e.grade)
            for e in run.entries.values()
            if e.attempt and e.grade
        ]
        scores = score(rows, expected=list(run.entries), how=Resampling(n_resamples=500))
        self.folder.scores.write_text(scores.model_dump_json(), encoding="utf-8")

    def everywhere(
        self, verdict: Callable[[Instance, int], Verdict], **attempt: Any
    ) -> "RunBuilder":
        """Attempt, grade and score every instance with every seed."""
        for instance in self.instances:
            for seed in self.seeds:
                self.attempt(instance, seed, **attempt)
                self.grade(instance, seed, verdict=verdict(instance, seed))
        self.score()
        return self


def test_log(tests: dict[str, str]) -> str:
    return "".join(f"{status} {test}\n" for test, status in tests.items())


test_log.__test__ = False  # type: ignore[attr-defined]


def conversation(turns: int = 4, seed: int = 0) -> list[Event]:
    """A trajectory of a small model: system, task, then turns of thought, action, observation."""
    words = random.Random(seed)
    events = [
        Event(step=0, seconds=0.0, kind="system", text="You are a software engineer.\n" * 20),
        Event(step=0, seconds=0.1, kind="user", text="Fix Square.area(), then submit."),
    ]
    for step in range(1, turns + 1):
        command = words.choice(
            ("ls -la", "cat src/shapes/area.py", "grep -rn area src", "pytest -q")
        )
        thought = f"THOUGHT: I look at the code first.\n\n```bash\n{command}\n```"
        output = "src/shapes/area.py:12:    def area(self) -> float:\n" * words.randint(1, 60)
        events += [
            Event(step=step, seconds=step * 3.0, kind="assistant", text=thought),
            Event(step=step, seconds=step * 3.1, kind="action", text=command),
            Event(
                step=step,
                seconds=step * 3.2,
                kind="observation",
                text=output,
                data={"exit_code": 0, "seconds": 0.1},
            ),
        ]
    return [*events, Event(step=turns, seconds=turns * 3.5, kind="note", text="turn cap reached")]
