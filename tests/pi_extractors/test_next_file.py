"""The next file, step by step."""

import pytest

from pi_extractors.base import Edit, ExtractionError
from pi_extractors.next_file import NextFileSource, next_files
from tests.pi_extractors.cases import case, snapshot

CORE = 'pkg/core.py\n"""The core.\n\nDoes the work."""'
GONE = "pkg/gone.py (remove)"
MADE = 'pkg/made.py (new file)\n"""Made."""'
MOVED = 'pkg/old.py (rename to pkg/new.py)\n"""Old."""'


def _next(*edits: tuple[int, str], step: int = 9) -> str:
    log = [Edit(step=when, path=path) for when, path in edits]
    return NextFileSource().extract(case(), snapshot(), log, step=step).text


@pytest.mark.parametrize(
    ("edited", "text"),
    [
        ([], CORE),
        (["other.py"], CORE),
        (["pkg/core.py"], GONE),
        (["./pkg//core.py"], GONE),
        (["pkg/gone.py"], CORE),
        (["pkg/core.py", "pkg/gone.py"], MADE),
        (["pkg/core.py", "pkg/gone.py", "pkg/made.py"], MOVED),
        (["pkg/core.py", "pkg/gone.py", "pkg/made.py", "pkg/old.py"], ""),
        (["pkg/new.py", "pkg/core.py", "pkg/gone.py", "pkg/made.py"], ""),
    ],
)
def test_the_first_file_that_is_not_edited(edited: list[str], text: str) -> None:
    assert _next(*((1, path) for path in edited)) == text


def test_later_edits_do_not_count() -> None:
    assert _next((3, "pkg/core.py"), step=2) == CORE
    assert _next((3, "pkg/core.py"), step=3) == GONE


def test_a_whole_trajectory_is_its_steps() -> None:
    log = [Edit(step=2, path="pkg/gone.py"), Edit(step=4, path="pkg/core.py")]
    source = NextFileSource()
    records = next_files(source, case(), snapshot(), log, range(6))
    assert [record.text for record in records] == [CORE] * 4 + [MADE] * 2
    assert list(records) == [
        source.extract(case(), snapshot(), log, step=step) for step in range(6)
    ]


def test_all_done_is_empty_and_not_truncated() -> None:
    edits = ["pkg/core.py", "pkg/gone.py", "pkg/made.py", "pkg/old.py"]
    log = [Edit(step=0, path=path) for path in edits]
    record = NextFileSource().extract(case(), snapshot(), log)
    assert (record.text, record.tokens, record.truncated) == ("", 0, False)


def test_a_long_docstring_is_cut_and_the_path_kept() -> None:
    long = '"""' + "\n".join(f"Line {number}." for number in range(500)) + '"""\n'
    record = NextFileSource().extract(case(), snapshot(**{"pkg/core.py": long.encode()}))
    assert record.truncated
    assert record.text.startswith('pkg/core.py\n"""Line 0.\n')
    assert record.text.endswith("[cut to fit: 1 of 2 parts left out or cut short]")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"def (", b"print 'x'\n", None])
def test_files_without_a_readable_docstring_are_named(content: bytes | None) -> None:
    record = NextFileSource().extract(case(), snapshot(**{"pkg/core.py": content}))
    assert record.text == "pkg/core.py"


def test_hostile_paths_are_refused() -> None:
    patch = "--- a/../../x\n+++ b/../../x\n@@ -1 +1 @@\n-a\n+b\n"
    with pytest.raises(ExtractionError, match="outside"):
        NextFileSource().extract(case(patch=patch), snapshot())
