"""Rows and sources for tests of the leakage filter."""

import json
from pathlib import Path
from typing import Any

from harness.leakage.filter_rows import RowSource


def diff(path: str, *, old: str = "x", new: str = "y") -> str:
    """A diff that changes one line of a file."""
    return (
        f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-{old}\n+{new}\n"
    )


def row(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A row of its own: another id, commit and path for each number."""
    return {
        "instance_id": f"owner__pkg-{number}",
        "repo": "owner/pkg",
        "base_commit": f"{number:040x}",
        "patch": diff(f"src/file{number}.py", new=f"y{number}"),
        **changes,
    }


def source(folder: Path, name: str, rows: list[dict[str, Any]]) -> RowSource:
    """A JSONL file of rows."""
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return RowSource(path.name, path)
