"""What a diff touches: every way to name a path, and texts that are no diffs."""

import gzip
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.leakage.filter_diff import MalformedDiffError, path_key, touched_paths
from pi_extractors.diffs import new_path, old_path, parse_diff
from tests.conftest import REAL_ROWS
from tests.leakage.filter_suites import diff

HUNK = "@@ -1 +1 @@\n-x\n+y\n"


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        (diff("a.py"), {"a.py"}),
        (f"--- a.py\n+++ a.py\n{HUNK}", {"a.py"}),
        (f"--- a/a.py\t2020-01-01\n+++ b/a.py\t2020-01-02\n{HUNK}", {"a.py"}),
        (f"--- /dev/null\n+++ b/new.py\n{HUNK}", {"new.py"}),
        (f"--- a/gone.py\n+++ /dev/null\n{HUNK}", {"gone.py"}),
        (f"--- i/a.py\n+++ w/a.py\n{HUNK}", {"a.py"}),
        (f"--- a/x.py\n+++ a/x.py\n{HUNK}", {"a/x.py"}),
        (diff("a.py").replace("\n", "\r\n"), {"a.py"}),
        (f"diff --git a/c d.py b/c d.py\n--- a/c d.py\t\n+++ b/c d.py\t\n{HUNK}", {"c d.py"}),
        (
            "diff --git a/o p.py b/n p.py\nsimilarity index 100%\nrename from o p.py\n"
            "rename to n p.py\n",
            {"o p.py", "n p.py"},
        ),
        ("diff --git a/o.py b/n.py\ncopy from o.py\ncopy to n.py\n", {"o.py", "n.py"}),
        ("diff --git a/run.sh b/run.sh\nold mode 100644\nnew mode 100755\n", {"run.sh"}),
        (
            "diff --git a/p.png b/p.png\nindex 1..2\nBinary files a/p.png and b/p.png differ\n",
            {"p.png"},
        ),
        (
            "diff --git a/p.png b/p.png\nGIT binary patch\nliteral 3\nKc$`-d0{{R\n\nliteral 0\n",
            {"p.png"},
        ),
        (
            f'diff --git "a/caf\\303\\251.py" "b/caf\\303\\251.py"\n--- "a/caf\\303\\251.py"\n'
            f'+++ "b/caf\\303\\251.py"\n{HUNK}',
            {"caf\u00e9.py"},
        ),
        (f'--- "a/t\\tb\\"q\\".py"\n+++ "b/t\\tb\\"q\\".py"\n{HUNK}', {'t\tb"q".py'}),
        # Lines of a hunk that look like headers are none.
        (
            "--- a/x.sql\n+++ b/x.sql\n@@ -1,2 +1,2 @@\n--- a/no.py\n+++ b/no.py\n a\n",
            {"x.sql"},
        ),
        (f"From 1234\nSubject: x\n\n---\n a.py | 2 +-\n\n{diff('a.py')}-- \n2.30\n", {"a.py"}),
        (diff("a.py") + diff("b.py"), {"a.py", "b.py"}),
        (diff("a.py") + "\\ No newline at end of file\n", {"a.py"}),
    ],
)
def test_every_path_that_a_diff_names_is_found(text: str, paths: set[str]) -> None:
    """As written, without git's prefixes."""
    assert set(touched_paths(text).paths.values()) == paths


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no file"),
        ("just words\n", "no file"),
        (HUNK, "line 1: a hunk of no file"),
        (diff("a.py").replace("+y\n", ""), "cut off"),
        (diff("a.py") + "+more\n", "unexpected '\\+more'"),
        (diff("a.py").replace("@@ -1 +1 @@", "@@ -1 @@"), "no hunk header"),
        (diff("a.py").replace("-1 +1", "-1,2 +1"), "cut off"),
        (diff("a.py").replace("-x", "?x"), "no line of a hunk"),
        (diff("a.py").replace("-x\n", "-x\n-z\n"), "other lines than its header says"),
        (diff("../a.py"), "leads outside"),
        (f"--- /etc/passwd\n+++ /etc/passwd\n{HUNK}", "leads outside"),
        (f'--- "a/x.py\n+++ b/x.py\n{HUNK}', "quote is not closed"),
    ],
)
def test_what_is_no_diff_is_said(text: str, said: str) -> None:
    """Each with its own reason."""
    with pytest.raises(MalformedDiffError, match=said):
        touched_paths(text)


def test_a_diff_of_any_size_is_refused_at_once() -> None:
    """Before it is parsed."""
    with pytest.raises(MalformedDiffError, match="over 16777216"):
        touched_paths("+" * 16_777_217)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a/B.py", "A/b.py"),
        ("a//b.py", "./a/b.py"),
        ("a/c/../b.py", "a/b.py"),
        ("a\\b.py", "a/b.py"),
        ("caf\u00e9.py", "cafe\u0301.py"),
        ("STRASSE.py", "stra\u00dfe.py"),
    ],
)
def test_spellings_of_one_path(one: str, other: str) -> None:
    """They have one key."""
    assert path_key(one) == path_key(other)


def test_the_digest_ignores_blob_ids_and_line_numbers_only() -> None:
    """Forks have other blobs and other lines above the change."""
    text = diff("a.py")
    moved = text.replace("--- a/", "index 12..34 100644\n--- a/").replace("-1 +1", "-7 +9")
    assert touched_paths(moved).digest == touched_paths(text).digest
    assert touched_paths(diff("a.py", new="z")).digest != touched_paths(text).digest
    assert touched_paths(diff("b.py")).digest != touched_paths(text).digest


@given(st.text(alphabet='ab/-+ @,1\n"\\', max_size=80))
def test_any_text_is_a_diff_or_malformed(text: str) -> None:
    """No other error."""
    with suppress(MalformedDiffError):
        assert touched_paths(text).paths


def test_real_diffs_are_read_as_unidiff_reads_them() -> None:
    """All gold and test patches of the real rows."""
    read = 0
    for name in ("dev", "verified"):
        path = REAL_ROWS / f"swebench_{name}_v5.jsonl.gz"
        if not path.is_file():
            pytest.skip("no real rows here")
        with gzip.open(path, "rt") as file:
            rows = [json.loads(line) for line in file]
        for text in (one[field] for one in rows for field in ("patch", "test_patch")):
            files = parse_diff(text, name)
            expected = {path for file in files for path in (old_path(file), new_path(file))}
            assert set(touched_paths(text).paths.values()) == expected - {None}
            read += 1
    assert read == 1450
