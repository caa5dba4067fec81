"""Suites from files, in every format, and the shipped list of SWE-bench Verified."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from harness.suites import SuiteError, load_manifest, load_suite, rows_sha256, validate_suite
from tests.conftest import REAL_ROWS, make_instance, real_rows

ROWS = [
    make_instance(instance_id=f"owner__pkg-{number}", difficulty=None).model_dump(mode="json")
    for number in (3, 1, 2)
]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".parquet":
        text = [{key: value for key, value in row.items() if value != {}} for row in rows]
        pyarrow.parquet.write_table(pa.Table.from_pylist(text), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(lines.encode()))
    else:
        path.write_text(lines)
    return str(path)


def test_every_format_gives_the_same_instances_and_digest(tmp_path: Path) -> None:
    as_text = [row | {"FAIL_TO_PASS": json.dumps(row["FAIL_TO_PASS"])} for row in ROWS]
    suites = [
        load_suite(write(tmp_path / "a.jsonl", ROWS)),
        load_suite(write(tmp_path / "a.jsonl.gz", as_text)),
        load_suite(write(tmp_path / "a.json", ROWS)),
        load_suite(write(tmp_path / "a.parquet", as_text)),
    ]
    assert all(suite.instances == suites[0].instances for suite in suites)
    assert len({suite.sha256 for suite in suites}) == 1
    assert [one.instance_id for one in suites[0].instances] == [row["instance_id"] for row in ROWS]
    assert suites[0].sha256 == rows_sha256(reversed(suites[0].instances))
    assert suites[0].sha256 != rows_sha256(suites[0].instances[1:])


def test_a_file_takes_no_split(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="has no splits"):
        load_suite(write(tmp_path / "a.jsonl", ROWS), split="test")


def test_a_check_counts_what_is_wrong(tmp_path: Path) -> None:
    v4 = {key: value for key, value in ROWS[0].items() if key not in ("image", "eval_script")}
    check = validate_suite(write(tmp_path / "a.jsonl", [*ROWS[1:], v4, {"repo": "x"}]))
    assert (check.instances, check.gradable, len(check.refused), check.ok) == (3, 2, 1, False)
    assert not validate_suite(write(tmp_path / "b.jsonl", [])).ok


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("swe-bench-verifed", "did you mean 'swe-bench-verified'?"),
        ("swe-bench-verifid/test", "did you mean 'swe-bench-verified'?"),
        ("SWE-bench-Verified", "did you mean 'swe-bench-verified'?"),
        ("swe-bench-verified/train", "has no split 'train', only test"),
        ("../../gone", "no suite, file or hub dataset"),
        ("/etc/passwd", "unknown kind of file"),
        ("folder/gone.jsonl", "no such file"),
    ],
)
def test_an_unknown_suite_is_named_with_the_nearest(reference: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message.replace("?", r"\?")):
        load_suite(reference)


def test_the_shipped_list_is_verified_without_rows() -> None:
    check = validate_suite("swe-bench-verified/test")
    assert (check.instances, check.rows_read, check.ok) == (500, False, True)
    assert check.sha256 == load_manifest("swe-bench-verified").sha256


def test_rows_of_the_list_must_be_exactly_the_listed(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "a.jsonl", ROWS))
    with pytest.raises(
        SuiteError, match=r"500 fixed instances; 500 missing: astropy__astropy-12907"
    ):
        load_suite("swe-bench-verified", rows=path)


def test_the_real_rows_are_the_listed(verified_rows: list[dict[str, Any]], tmp_path: Path) -> None:
    path = REAL_ROWS / "swebench_verified_v5.jsonl.gz"
    check = validate_suite("swe-bench-verified", rows=path)
    assert (check.instances, check.gradable, check.ok) == (500, 500, True)

    first = verified_rows[0]["instance_id"]
    short = Path(write(tmp_path / "short.jsonl", verified_rows[1:]))
    with pytest.raises(SuiteError, match=f"1 missing: {first}$"):
        load_suite("swe-bench-verified", rows=short)
    broken = [verified_rows[0] | {"base_commit": "x"}, *verified_rows[1:], ROWS[0]]
    with pytest.raises(SuiteError) as caught:
        load_suite("swe-bench-verified", rows=Path(write(tmp_path / "broken.jsonl", broken)))
    assert f"1 missing: {first}; 1 too many: owner__pkg-3; 1 rows were refused" in str(caught.value)
    assert "row 1, field base_commit" in str(caught.value)


def test_the_other_real_rows_load(tmp_path: Path) -> None:
    rows = real_rows("swebench_dev_v5.jsonl.gz")
    suite = load_suite(write(tmp_path / "dev.parquet", rows))
    assert (len(suite.instances), suite.refused) == (225, ())
    assert suite.sha256 == load_suite(str(REAL_ROWS / "swebench_dev_v5.jsonl.gz")).sha256
