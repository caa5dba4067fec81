"""Comment lines in diffs: the diff still applies, and does what it did."""

import ast
import subprocess
from pathlib import Path
from typing import Any

import pytest
from unidiff.patch import PatchSet

from harness.leakage.canaries_patch import add_comment, add_preamble

MARK = "qmark2345abcdefghijklmnopq"
BASE = '''\
#!/usr/bin/env python
# -*- coding: utf-8 -*-
"""A module.

    prose = here
"""
import os


def f(x):
    """Return it.

    x = f(1) is an example
    """
    y = x + \\
        1
    return y


def g(x):
    return f(
        x
    )
'''


def diff_of(before: str, after: str, folder: Path) -> str:
    """git's diff between two contents of a.py."""
    for name, text in (("a", before), ("b", after)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "a.py").write_text(text, newline="")
    command = ["git", "diff", "--no-index", "--no-prefix", "a/a.py", "b/a.py"]
    return subprocess.run(command, cwd=folder, capture_output=True).stdout.decode()


def applied(before: str, patch: str, folder: Path) -> str:
    """The content of a.py with the diff."""
    folder.mkdir()
    (folder / "a.py").write_text(before, newline="")
    command = ["git", "apply", "--whitespace=nowarn", "-"]
    done = subprocess.run(command, cwd=folder, input=patch.encode(), capture_output=True)
    assert done.returncode == 0, done.stderr
    return (folder / "a.py").read_bytes().decode()


CHANGES = {
    "a statement": ("    return y\n", "    y = min(y, 10)\n    return y\n"),
    "two hunks": ("import os\n", "import os\nimport sys\n"),
    "inside a call": ("        x\n", "        x,\n        # why\n        key=str(x),\n"),
    "a branch": ("    return y\n", "    if y > 3:\n        return f(y)\n    return y\n"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_marked_diff_applies_and_means_the_same(name: str, tmp_path: Path) -> None:
    after = BASE.replace(*CHANGES[name])
    if name == "two hunks":
        after = after.replace("    return f(\n", "    print(x, os, sys)\n    return f(\n")
    patch = diff_of(BASE, after, tmp_path)
    marked = add_comment(patch, MARK)
    assert marked is not None
    assert marked.count(MARK) == 1
    result = applied(BASE, marked, tmp_path / "out")
    assert result != after
    assert MARK in result
    assert ast.dump(ast.parse(result)) == ast.dump(ast.parse(after))
    grown = 0
    for hunk in PatchSet(marked)[0]:
        assert hunk.target_start == hunk.source_start + grown
        grown += hunk.added - hunk.removed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    prose = here\n", "    prose = there(1)\n"),  # inside the docstring
        ("#!/usr/bin/env python\n", "#!/usr/bin/env python3\n"),
        ("import os\n", ""),
        ("        1\n", "        int(1)\n"),  # after a backslash
        ("        x\n", "        x,\n        *()\n"),
    ],
)
def test_a_diff_without_a_safe_place_is_left_alone(old: str, new: str, tmp_path: Path) -> None:
    assert add_comment(diff_of(BASE, BASE.replace(old, new, 1), tmp_path), MARK) is None


def test_line_ends_stay_as_they_are(tmp_path: Path) -> None:
    before = BASE.replace("\n", "\r\n")
    after = before.replace("    return y\r\n", "    y = min(y, 10)\r\n    return y\r\n")
    marked = add_comment(diff_of(before, after, tmp_path), MARK)
    assert marked is not None
    result = applied(before, marked, tmp_path / "out")
    assert result.count("\r\n") == result.count("\n")


def test_other_files_get_no_comment() -> None:
    patch = "--- a/README.rst\n+++ b/README.rst\n@@ -3,1 +3,2 @@\n x\n+call(this) = 1\n"
    assert add_comment(patch, MARK) is None


def test_a_preamble_is_passed_over(tmp_path: Path) -> None:
    after = BASE.replace("    prose = here\n", "    prose = there(1)\n")
    marked = add_preamble(diff_of(BASE, after, tmp_path), MARK)
    assert applied(BASE, marked, tmp_path / "out") == after
    assert len(PatchSet(marked)) == 1


def test_real_diffs_keep_their_files_and_grow_by_a_line(
    verified_rows: list[dict[str, Any]],
) -> None:
    marked = 0
    for row in verified_rows:
        done = add_comment(row["patch"], MARK)
        before = PatchSet(row["patch"])
        if done is None:
            continue
        marked += 1
        after = PatchSet(done)
        assert [file.path for file in after] == [file.path for file in before]
        assert after.added == before.added + 1
        assert after.removed == before.removed
    assert marked > 0.8 * len(verified_rows)
