"""Cost of the leakage filter on 20,000 rows against SWE-bench Verified, with planted leaks.

python -m benchmarks.leakage DEV.jsonl.gz VERIFIED.jsonl.gz
"""

import hashlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.leakage.filter import filter_rows, write_filtered
from harness.leakage.filter_rows import open_rows

ROWS = 20_000
PLANTED = 27  # of each rule


def synthesise(
    real: list[dict[str, Any]], evaluation: list[dict[str, Any]], rows: int
) -> Iterator[dict[str, Any]]:
    """Rows like the real ones with ids and commits of their own. The first 27 have an evaluation
    instance's base commit, the next 27 its repository and gold patch, the next 27 a diff that is
    cut off."""
    for number in range(rows):
        row = dict(real[number % len(real)])
        row["instance_id"] += f"-{number}"
        row["base_commit"] = hashlib.sha1(str(number).encode()).hexdigest()
        kind, place = divmod(number, PLANTED)
        if kind == 0:
            row["base_commit"] = evaluation[place]["base_commit"]
        elif kind == 1:
            row |= {name: evaluation[place][name] for name in ("repo", "patch")}
        elif kind == 2:
            row["patch"] = row["patch"].rstrip("\n").rpartition("\n")[0]
        yield row


def main() -> None:
    """Synthesise, filter, write, and print seconds, memory and what was found."""
    real, evaluation = (
        [row.value for row in open_rows(path)] for path in (sys.argv[1], sys.argv[2])
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.jsonl"
        with path.open("w") as file:
            for row in synthesise(real, evaluation, ROWS):
                file.write(json.dumps(row) + "\n")
        train = open_rows(str(path))
        began = time.monotonic()
        manifest = filter_rows(train, open_rows(sys.argv[2]))
        judged = time.monotonic() - began
        write_filtered(train, manifest, Path(folder) / "out")
        whole = time.monotonic() - began
        size = path.stat().st_size
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {rule: count for rule, count in manifest.by_rule.items() if count}
    print(f"{ROWS} rows, {size / 1e6:.0f} MB: judged in {judged:.1f} s, written in {whole:.1f} s")
    print(f"peak memory {memory:.0f} MiB; rejected {found}")


if __name__ == "__main__":
    main()
