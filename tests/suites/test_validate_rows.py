"""What becomes of a row: an instance, or a refusal that names row, field and what was found."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.suites.rows import Unreadable
from harness.suites.validate import RefusedRow, validate_rows
from tests.conftest import make_instance

ROW = make_instance().model_dump(mode="json")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def refusal(value: Any) -> RefusedRow:
    instances, refused, _ = validate_rows([(7, value)], file="f.jsonl")
    assert not instances
    (row,) = refused
    assert (row.file, row.row) == ("f.jsonl", 7)
    return row


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in ROW.items() if key != name}


@pytest.mark.parametrize(
    ("value", "field", "message"),
    [
        (Unreadable("not JSON"), "row", "not JSON"),
        ([1, 2], "row", "expected an object, found [1, 2]"),
        (without("patch"), "patch", "missing"),
        (ROW | {"patch": None}, "patch", "missing"),
        (
            ROW | {"base_commit": "HEAD"},
            "base_commit",
            "String should match pattern '^[0-9a-f]{40}$', found 'HEAD'",
        ),
        (ROW | {"FAIL_TO_PASS": ["a", 3]}, "FAIL_TO_PASS.1", "valid string, found 3"),
        (ROW | {"FAIL_TO_PASS": "[oops"}, "FAIL_TO_PASS", "found '[oops'"),
        (ROW | {"FAIL_TO_PASS": '{"a": 1}'}, "FAIL_TO_PASS", "valid tuple"),
        (ROW | {"FAIL_TO_PASS": "[" * 100_000}, "row", "nested too deeply"),
        (
            ROW | {"FAIL_TO_PAS": "[]"},
            "'FAIL_TO_PAS'",
            "unknown field; did you mean 'FAIL_TO_PASS'?",
        ),
        (ROW | {"": 1}, "''", "unknown field"),
        (ROW | {"repo": "no-slash", "patch": ""}, "repo", "(also wrong: 'patch')"),
        (ROW | {"problem_statement": "\ud800"}, "problem_statement", "found '\\ud800'"),
    ],
)
def test_a_refusal_names_field_and_finding(value: Any, field: str, message: str) -> None:
    row = refusal(value)
    assert row.field == field
    assert message in row.message
    assert row.text == f"f.jsonl: row 7, field {field}: {row.message}"


@pytest.mark.parametrize(
    "hostile",
    [
        "../x",
        "a/b",
        "a\\b",
        "..",
        ".",
        "",
        "-rf",
        "/etc/passwd",
        "a\n",
        "a\0b",
        "a b",
        "é",
        "a" * 201,
    ],
)
def test_an_id_that_is_no_file_name_is_refused(hostile: str) -> None:
    assert refusal(ROW | {"instance_id": hostile}).field == "instance_id"


def test_a_long_finding_is_shortened() -> None:
    assert len(refusal(ROW | {"base_commit": "x" * 10_000_000}).message) < 200
    assert len(refusal(ROW | {"x" * 10_000: 1}).text) < 200


def test_a_second_row_of_an_id_is_refused_and_the_first_kept() -> None:
    other = ROW | {"problem_statement": "another text"}
    instances, refused, _ = validate_rows([(1, ROW), (3, other), (9, ROW)], file="f")
    assert [one.problem_statement for one in instances] == [ROW["problem_statement"]]
    assert [row.row for row in refused] == [3, 9]
    assert refused[0].message == "'owner__pkg-1' is already in row 1"


def test_all_bad_rows_are_reported() -> None:
    rows = [(1, 1), (2, ROW), (3, {}), (4, ROW | {"instance_id": "other"}), (5, None)]
    instances, refused, _ = validate_rows(rows, file="f")
    assert [one.instance_id for one in instances] == ["owner__pkg-1", "other"]
    assert [row.row for row in refused] == [1, 3, 5]


def test_unknown_fields_can_be_passed_over_but_not_silently() -> None:
    rows = [(1, ROW | {"extra": 1, "also": 2}), (2, ROW | {"instance_id": "b", "extra": 1})]
    instances, refused, ignored = validate_rows(rows, file="f", strict=False)
    assert len(instances) == 2
    assert not refused
    assert ignored == ("also", "extra")


@given(JSON)
@settings(deadline=None)
def test_any_json_value_is_refused_never_a_traceback(value: Any) -> None:
    assert refusal(value).message


@given(st.sampled_from(sorted(ROW)), JSON)
@settings(deadline=None)
def test_any_value_in_a_field_is_an_instance_or_a_refusal(name: str, value: Any) -> None:
    instances, refused, _ = validate_rows([(1, ROW | {name: value})], file="f")
    assert len(instances) + len(refused) == 1


@given(st.dictionaries(st.text() | st.sampled_from(sorted(ROW)), JSON, max_size=30))
@settings(deadline=None)
def test_any_object_is_an_instance_or_a_refusal(value: dict[str, Any]) -> None:
    instances, refused, _ = validate_rows([(1, ROW | value), (2, value)], file="f")
    assert len(instances) + len(refused) == 2
