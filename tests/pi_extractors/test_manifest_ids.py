"""Test ids in the shapes that real rows have."""

import json
from typing import Any

import pytest

from pi_extractors.manifest_ids import ParsedId, parse_id


@pytest.mark.parametrize(
    ("test_id", "parsed"),
    [
        ("t/test_a.py::test_x", ParsedId("test_x", "t/test_a.py")),
        ("t/test_a.py::A::B::test_x", ParsedId("test_x", "t/test_a.py", ("A", "B"))),
        (
            "t/test_a.py::A::test_x[b::c-[d] e]",
            ParsedId("test_x", "t/test_a.py", ("A",), parameters="[b::c-[d] e]"),
        ),
        # Upstream splits the log at white space.
        ("tests/t.py::test_x[a", ParsedId("test_x", "tests/t.py", parameters="[a")),
        ("test_x (a.tests.ATests)", ParsedId("test_x", module=("a", "tests", "ATests"))),
        ("test_x (a.tests.ATests.test_x)", ParsedId("test_x", module=("a", "tests", "ATests"))),
        ("test_x (a.ATests) (n=1)", ParsedId("test_x", module=("a", "ATests"))),
        ("test_x (test_x)", ParsedId("test_x", module=("test_x",))),
        ("test_coth", ParsedId("test_coth")),
        ("test_x[1-2]", ParsedId("test_x", parameters="[1-2]")),
        ("A described test.", ParsedId("", summary="A described test.")),
        ("", ParsedId("", summary="")),
    ],
)
def test_shapes(test_id: str, parsed: ParsedId) -> None:
    assert parse_id(test_id) == parsed


def test_real_ids_have_known_shapes(verified_rows: list[dict[str, Any]]) -> None:
    shapes = {"path": 0, "module": 0, "bare": 0, "summary": 0}
    for row in verified_rows:
        for test_id in json.loads(row["FAIL_TO_PASS"]):
            one = parse_id(test_id)
            shape = "path" if one.path else "module" if one.module else "bare"
            shapes["summary" if one.summary else shape] += 1
    assert shapes["summary"] < 0.05 * sum(shapes.values())
    assert min(shapes.values()) > 0
