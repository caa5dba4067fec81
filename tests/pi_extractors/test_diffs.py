"""Diffs as data, and applied in memory as git applies them."""

import difflib
import subprocess
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pi_extractors.base import ExtractionError
from pi_extractors.diffs import added_lines, apply_to, new_path, old_path, parse_diff
from tests.conftest import real_rows
from tests.pi_extractors.trees import GIT

lines = st.lists(
    st.sampled_from(["a\n", "b\n", "\n", "- c\n", "+++ d\n", "e\x0cf\n", "@@ g\n", "\xe9\n"]),
    max_size=30,
)


@given(lines, lines)
def test_a_diff_leads_from_old_to_new_and_back(old: list[str], new: list[str]) -> None:
    assume(old != new)
    before, after = ["start\n", *old], ["start\n", *new]
    (file,) = parse_diff("".join(difflib.unified_diff(before, after, "a/x.py", "b/x.py")), "patch")
    assert apply_to("".join(before).encode(), file) == "".join(after).encode()
    assert apply_to("".join(after).encode(), file, reverse=True) == "".join(before).encode()


NO_NEWLINE = """\
--- a/x.py
+++ b/x.py
@@ -1,2 +1,2 @@
 a
-b
\\ No newline at end of file
+c
"""


def test_a_missing_last_line_break_is_kept_and_added() -> None:
    (file,) = parse_diff(NO_NEWLINE, "patch")
    assert apply_to(b"a\nb", file) == b"a\nc\n"
    assert apply_to(b"a\nc\n", file, reverse=True) == b"a\nb"


def test_hunks_are_found_where_lines_have_moved() -> None:
    (file,) = parse_diff("--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n", "patch")
    shifted = b"new\n" * 40 + b"one\ntwo\nthree\n"
    assert apply_to(shifted, file) == b"new\n" * 40 + b"one\n2\nthree\n"
    (far,) = parse_diff("--- a/x\n+++ b/x\n@@ -90000 +90000 @@\n-two\n+2\n", "patch")
    assert apply_to(b"one\ntwo\n", far) == b"one\n2\n"
    assert apply_to(b"one \r\ntwo\r\nthree\r\n", file) == b"one\n2\nthree\n"
    with pytest.raises(ExtractionError, match="x: hunk 1 does not apply"):
        apply_to(b"one\ntwo\nfour\n", file)
    with pytest.raises(ExtractionError, match="does not apply"):
        apply_to(b"", file)


def test_other_encodings_survive() -> None:
    (file,) = parse_diff("--- a/x\n+++ b/x\n@@ -2 +2 @@\n-b\n+c\n", "patch")
    assert apply_to(b"\xe9\xff\nb\n", file) == b"\xe9\xff\nc\n"


def test_new_removed_and_renamed_files() -> None:
    made, gone, moved = parse_diff(
        "diff --git a/n.py b/n.py\nnew file mode 100644\n--- /dev/null\n+++ b/n.py\n"
        "@@ -0,0 +1,2 @@\n+a\n+b\n"
        "diff --git a/o.py b/o.py\ndeleted file mode 100644\n--- a/o.py\n+++ /dev/null\n"
        "@@ -1 +0,0 @@\n-a\n"
        "diff --git a/p.py b/q.py\nsimilarity index 100%\nrename from p.py\nrename to q.py\n",
        "patch",
    )
    assert (old_path(made), new_path(made), added_lines(made)) == (None, "n.py", b"a\nb\n")
    assert (old_path(gone), new_path(gone)) == ("o.py", None)
    assert (old_path(moved), new_path(moved)) == ("p.py", "q.py")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a/s p.py", "s p.py"),
        ('"a/caf\\303\\251 \\"x\\".py"', 'café "x".py'),
        ('"a/back\\\\slash"', "back\\slash"),
    ],
)
def test_names_with_spaces_and_quotes(name: str, path: str) -> None:
    other = name.replace("a/", "b/", 1)
    (file,) = parse_diff(f"--- {name}\n+++ {other}\n@@ -1 +1 @@\n-a\n+b\n", "patch")
    assert old_path(file) == new_path(file) == path


@pytest.mark.parametrize(
    "name",
    ["a/../../x", "/etc/passwd", "a//x", "a/.git/hooks/x", '"a/\\033[2J"', "a/x/../y", '"a/\\377"'],
)
def test_hostile_names_are_refused(name: str) -> None:
    (file,) = parse_diff(f"--- {name}\n+++ {name}\n@@ -1 +1 @@\n-a\n+b\n", "patch")
    with pytest.raises(ExtractionError) as raised:
        old_path(file)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello\n",
        "@@ -1 +1 @@\n-a\n+b\n",
        "--- a/x\n+++ b/x\n@@ -1,5 +1 @@\n-a\n+b\n",
        "--- a/x\n+++ b/x\n@@ -1,999999999999 +1 @@\n-a\n",
        "+++ b/x\n--- a/x\n@@ -1 +1 @@\n-a\n+b\n",
        "\0\x1b[31m",
    ],
)
def test_malformed_diffs_are_refused(text: str) -> None:
    with pytest.raises(ExtractionError, match="i-1: patch: ") as raised:
        parse_diff(text, "i-1: patch")
    assert str(raised.value).isprintable()


def test_sizes_are_bounded() -> None:
    with pytest.raises(ExtractionError, match="over 16777216"):
        parse_diff("x" * (1 << 24) + "x", "patch")
    many = "--- a/x\n+++ b/x\n" + "".join(f"@@ -{n} +{n} @@\n-a\n+b\n" for n in range(1, 10_002))
    (file,) = parse_diff(many, "patch")
    with pytest.raises(ExtractionError, match="10001 hunks"):
        apply_to(b"a\n" * 10_001, file)


@given(st.text(alphabet="-+ @abd/\n0,1\\", max_size=200))
def test_any_text_is_a_diff_or_refused(text: str) -> None:
    try:
        files = parse_diff(f"--- a/x\n+++ b/x\n{text}", "patch")
        for file in files:
            apply_to(b"a\nb\n", file)
            old_path(file), new_path(file)
    except ExtractionError:
        pass


def test_real_patches_are_applied_as_git_does(tmp_path: Path) -> None:
    """The old side of every hunk, padded to its place, is a file that git can patch too."""
    for number, row in enumerate(real_rows("swebench_dev_v5.jsonl.gz")[:40]):
        root = tmp_path / str(number)
        root.mkdir()
        files = [file for file in parse_diff(row["patch"], "patch") if old_path(file)]
        before = {}
        for file in files:
            content: list[str] = []
            for hunk in file:
                content += ["pad\n"] * (hunk.source_start - 1 - len(content))
                content += [f"{line.value.rstrip(chr(10))}\n" for line in hunk.source_lines()]
            before[old_path(file) or ""] = "".join(content).encode()
        for path, data in before.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
        done = subprocess.run(
            ["git", "apply", "--unsafe-paths", "-"],
            cwd=root,
            env=GIT | {"GIT_CEILING_DIRECTORIES": str(tmp_path)},
            input=row["patch"].encode(),
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
        for file in files:
            patched = apply_to(before[old_path(file) or ""], file)
            assert patched == (root / (new_path(file) or "")).read_bytes()
