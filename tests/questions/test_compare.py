"""Outputs of programs and results of functions."""

import json
from typing import Any

import pytest

from harness.questions.compare import same_output, same_value


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        ("1 2\n3\n", "1 2 3", True),
        ("1\n", "1\n\n  ", True),
        ("1 2", "2 1", False),
        ("1", "1 1", False),
        ("", "", True),
        ("", "0", False),
        ("0.5", "0.5000004", True),
        ("0.5", "0.50001", False),
        ("1000000.0", "1000000.9", True),  # relatively
        ("1e3", "1000", True),
        ("2.0", "2", True),
        ("2", "2.0", False),  # an integer was expected
        ("0.5", "half", False),
        ("1.0", "nan", False),
        ("nan.", "nan", False),
        ("YES", "Yes", False),
        ("1e400", "2e400", True),  # both are infinite: no decimal of a test
        ("10000000000000000000001", "10000000000000000000000", False),
        ("ééé", "ééé", True),
    ],
)
def test_outputs(expected: str, actual: str, same: bool) -> None:
    assert same_output(expected, actual) is same


def test_a_suite_may_say_how() -> None:
    assert same_output("YES 0.5", "yes 0.50001", tolerance=1e-4, ignore_case=True)
    assert not same_output("YES 0.5", "yes 0.51", tolerance=1e-4, ignore_case=True)


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        ([1, 2], [1, 2], True),
        ([1, 2], [2, 1], False),
        ([[1, 2]], [1, 2], True),  # APPS wraps a result in a list
        ([1, 2], [[1, 2]], False),
        ([3], 3, True),
        (1.0, 1, True),
        (1, 1.0000000001, True),
        (1, 1.1, False),
        (True, 1, False),
        (1, True, False),
        (True, True, True),
        (None, None, True),
        (None, 0, False),
        ("1", 1, False),
        ({"a": [1.0]}, {"a": [1.0000001]}, True),
        ({"a": 1}, {"b": 1}, False),
        (10**400, 0.5, False),
    ],
)
def test_values(expected: Any, actual: Any, same: bool) -> None:
    assert same_value(json.dumps(expected), json.dumps(actual)) is same


@pytest.mark.parametrize("said", ["", "not JSON", "[" * 100_000, "1 2"])
def test_what_is_no_value_is_wrong(said: str) -> None:
    assert not same_value("1", said)
