"""Raw rows out of files that nobody vouches for."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.suites import SuiteError, rows
from harness.suites.rows import Unreadable, read_rows


def test_a_jsonl_row_is_numbered_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\n  \n[2]\n{"a"\n"\xff"\n' + b"[" * 100_000 + b"\n3")
    found = dict(read_rows(path))
    assert list(found) == [1, 4, 5, 6, 7, 8]
    assert (found[1], found[4], found[8]) == ({"a": 1}, [2], 3)
    assert found[5] == "not JSON: Expecting ':' delimiter at character 6"
    assert found[6] == "not UTF-8 at byte 2"
    assert found[7].startswith("not JSON: ")
    assert all(isinstance(found[number], Unreadable) for number in (5, 6, 7))


def test_an_overlong_row_is_skipped_and_the_rest_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "MAX_ROW_BYTES", 10)
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'"' + b"x" * 95 + b'"\n"12345678"\n[1]'))
    found = list(read_rows(path))
    assert found == [(1, "longer than 10 bytes"), (2, "longer than 10 bytes"), (3, [1])]


def test_a_truncated_archive_names_the_last_row_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"1\n2\n" + bytes(range(256)) * 40)[:-20])
    with pytest.raises(SuiteError, match=r"a\.jsonl\.gz: damaged after row \d+"):
        list(read_rows(path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'{"a": 1}', "expected a list of rows, found dict"),
        ("a.json", b"[1", "not JSON"),
        ("a.parquet", b"PAR1 no", "damaged after row 0"),
        ("a.csv", b"a,b", "unknown kind of file"),
    ],
)
def test_a_file_that_is_not_rows_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SuiteError, match=message):
        list(read_rows(tmp_path / name))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"gone\.jsonl: no such file"):
        read_rows(tmp_path / "gone.jsonl")


@given(st.lists(st.one_of(st.none(), st.integers(), st.text(), st.lists(st.booleans()))))
@settings(deadline=None)
def test_json_and_jsonl_hold_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, values: list[object]
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    (folder / "a.json").write_text(json.dumps(values))
    (folder / "a.jsonl").write_text("".join(json.dumps(one) + "\n" for one in values))
    expected = list(enumerate(values, start=1))
    assert list(read_rows(folder / "a.json")) == list(read_rows(folder / "a.jsonl")) == expected
