"""The gold patch as PI."""

from typing import Any

import pytest

from harness.records import Instance
from pi_extractors.base import ExtractionError
from pi_extractors.diffs import parse_diff
from pi_extractors.gold_patch import GoldPatchSource
from tests.pi_extractors.cases import case

SHOWN = """\
--- a/pkg/core.py
+++ b/pkg/core.py
@@ -5,4 +5,4 @@
 
 
 def work():
-    return 1
+    return 2
--- a/pkg/gone.py
+++ /dev/null
@@ -1,1 +0,0 @@
-x = 1
--- /dev/null
+++ b/pkg/made.py
@@ -0,0 +1,2 @@
+'''Made.'''
+y = 1
rename from pkg/old.py
rename to pkg/new.py
--- a/pkg/old.py
+++ b/pkg/new.py"""


def test_the_diff_of_all_files() -> None:
    assert GoldPatchSource().extract(case()).text == SHOWN


def test_hunks_are_cut_as_a_whole() -> None:
    record = GoldPatchSource(budget=100).extract(case())
    assert record.truncated
    *kept, marker = record.text.split("\n")
    assert marker == "[cut to fit: 2 of 4 hunks left out or cut short]"
    assert "\n".join(kept) in SHOWN
    assert kept[-1] == "-x = 1"


def test_binary_files_are_named() -> None:
    patch = (
        "diff --git a/x.png b/x.png\nindex 1..2 100644\nBinary files a/x.png and b/x.png differ\n"
    )
    assert GoldPatchSource().extract(case(patch=patch)).text == (
        "--- a/x.png\n+++ b/x.png\n[binary file]"
    )


@pytest.mark.parametrize("name", ["a/../../x", "/etc/passwd", "a/.git/config"])
def test_hostile_paths_are_refused(name: str) -> None:
    patch = f"--- {name}\n+++ {name}\n@@ -1 +1 @@\n-a\n+b\n"
    with pytest.raises(ExtractionError, match=r"outside|git's own"):
        GoldPatchSource().extract(case(patch=patch))


def test_real_patches_keep_their_changes(verified_rows: list[dict[str, Any]]) -> None:
    source = GoldPatchSource(budget=10**6)
    for row in verified_rows:
        text = source.extract(Instance.model_validate(row)).text
        before, after = parse_diff(row["patch"], "row"), parse_diff(f"{text}\n", "shown")
        assert [str(hunk) for file in before for hunk in file] == [
            str(hunk) for file in after for hunk in file
        ]
