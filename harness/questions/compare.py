"""Whether a program's output is the expected one."""

import json
import math
from typing import Any

TOLERANCE = 1e-6


def same_output(expected: str, actual: str) -> bool:
    """Token by token between white space: equal texts, or decimal numbers within 1e-6.

    A number that is expected as a decimal may be written in any way and be off by 1e-6, absolutely
    or relatively; everything else is compared as text.
    """
    wanted, found = expected.split(), actual.split()
    return len(wanted) == len(found) and all(map(_same_token, wanted, found))


def same_value(expected: str, actual: str) -> bool:
    """The JSON of what a function should return and of what it returned: numbers within 1e-6, a
    boolean only equal to itself; a list of the one value counts as the value, as in APPS."""
    try:
        wanted, found = json.loads(expected), json.loads(actual)
    except (ValueError, RecursionError):
        return False
    return _same(wanted, found) or (
        isinstance(wanted, list) and len(wanted) == 1 and _same(wanted[0], found)
    )


def _same_token(wanted: str, found: str) -> bool:
    if wanted == found:
        return True
    if not any(mark in wanted.lower() for mark in ".e"):
        return False
    try:
        return _close(float(wanted), float(found))
    except ValueError:
        return False


def _same(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, bool) or isinstance(found, bool):
        return wanted is found
    if isinstance(wanted, float) or isinstance(found, float):
        numbers = isinstance(wanted, int | float) and isinstance(found, int | float)
        return numbers and _close(float(wanted), float(found))
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(_same, wanted, found))
    if isinstance(wanted, dict) and isinstance(found, dict):
        return wanted.keys() == found.keys() and all(_same(wanted[k], found[k]) for k in wanted)
    return bool(wanted == found)


def _close(wanted: float, found: float) -> bool:
    return math.isclose(wanted, found, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
