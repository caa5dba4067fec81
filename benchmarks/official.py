"""Running the official harness beside ours, on the same images."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.records import Instance

MODEL = "benchmark"
WRONG = (
    "diff --git a/NOTES-OF-A-MODEL.txt b/NOTES-OF-A-MODEL.txt\nnew file mode 100644\n"
    "--- /dev/null\n+++ b/NOTES-OF-A-MODEL.txt\n@@ -0,0 +1 @@\n+nothing of use\n"
)


class OfficialRun(NamedTuple):
    """Wall clock and, for each instance, the official report (empty when there is none)."""

    seconds: float
    reports: dict[str, dict[str, Any]]

    def resolved(self, instance: Instance) -> bool:
        """The official verdict."""
        return bool(self.reports[instance.instance_id].get("resolved"))


def run_official(
    instances: Sequence[Instance], patches: Sequence[str], *, workers: int
) -> OfficialRun:
    """Evaluate one patch an instance with `swebench.harness.run_evaluation`, in its own process.

    The engine decides whether its containers reach a network: the official harness asks for none
    of the sandboxing that ours does.
    """
    with tempfile.TemporaryDirectory() as folder:
        rows, predictions = Path(folder, "rows.jsonl"), Path(folder, "predictions.jsonl")
        rows.write_text("".join(one.model_dump_json() + "\n" for one in instances))
        predictions.write_text(
            "".join(
                json.dumps(
                    {
                        "instance_id": one.instance_id,
                        "model_name_or_path": MODEL,
                        "model_patch": patch,
                    }
                )
                + "\n"
                for one, patch in zip(instances, patches, strict=True)
            )
        )
        command = [sys.executable, "-m", "swebench.harness.run_evaluation"]
        command += ["--dataset_name", str(rows), "--predictions_path", str(predictions)]
        command += ["--max_workers", str(workers), "--run_id", MODEL]
        began = time.monotonic()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - began
        if done.returncode:
            raise SystemExit(f"the official harness failed:\n{done.stdout}\n{done.stderr}")
        logs = Path(folder, "logs", "run_evaluation", MODEL, MODEL)
        reports = {}
        for one in instances:
            path = logs / one.instance_id / "report.json"
            reports[one.instance_id] = (
                json.loads(path.read_text())[one.instance_id] if path.is_file() else {}
            )
    return OfficialRun(seconds, reports)
