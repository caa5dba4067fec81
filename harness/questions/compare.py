"""Whether a program's output is the expected one."""

import json
import math
from typing import Any


def same_output(
    expected: str, actual: str, *, tolerance: float = 1e-6, ignore_case: bool = False
) -> bool:
    """Token by token between white space: equal texts, or decimal numbers within the tolerance.

    A number that is expected as a decimal may be written in any way and be off by the tolerance,
    absolutely or relatively; everything else is compared as text.
    """
    if ignore_case:
        expected, actual = expected.casefold(), actual.casefold()
    wanted, found = expected.split(), actual.split()
    return len(wanted) == len(found) and all(
        one == other or _same_decimal(one, other, tolerance)
        for one, other in zip(wanted, found, strict=True)
    )


def same_value(expected: str, actual: str, *, tolerance: float = 1e-6) -> bool:
    """The JSON of what a function should return and of what it returned: numbers within the
    tolerance, a boolean only equal to itself; a list of the one value counts as the value, as in
    APPS."""
    try:
        wanted, found = json.loads(expected), json.loads(actual)
        return _same(wanted, found, tolerance) or (
            isinstance(wanted, list) and len(wanted) == 1 and _same(wanted[0], found, tolerance)
        )
    except (ValueError, RecursionError):
        return False


def _same_decimal(wanted: str, found: str, tolerance: float) -> bool:
    if not any(mark in wanted.lower() for mark in ".e"):
        return False
    try:
        return _close(float(wanted), float(found), tolerance)
    except ValueError:
        return False


def _same(wanted: Any, found: Any, tolerance: float) -> bool:
    if isinstance(wanted, bool) or isinstance(found, bool):
        return wanted is found
    if isinstance(wanted, float) or isinstance(found, float):
        numbers = isinstance(wanted, int | float) and isinstance(found, int | float)
        return numbers and _close(wanted, found, tolerance)
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(
            _same(one, other, tolerance) for one, other in zip(wanted, found, strict=True)
        )
    if isinstance(wanted, dict) and isinstance(found, dict):
        return wanted.keys() == found.keys() and all(
            _same(wanted[key], found[key], tolerance) for key in wanted
        )
    return bool(wanted == found)


def _close(wanted: float, found: float, tolerance: float) -> bool:
    try:
        return math.isclose(wanted, found, rel_tol=tolerance, abs_tol=tolerance)
    except OverflowError:  # an integer that is no float
        return False
