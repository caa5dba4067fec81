"""From a dataset's row to values, by the columns that a suite names. No row is trusted."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.questions.manifest import Columns
from harness.questions.records import MIB, Tests
from harness.suites.errors import did_you_mean

MAX_TEXT = 16 * MIB
MAX_TESTS = 10_000
_UNITS = {"b": 1, "k": 1024, "m": MIB, "g": 1024 * MIB}


class ColumnError(ValueError):
    """A row lacks a column, or has something else in it; the text says which."""


def value(row: Mapping[str, Any], column: str) -> Any:
    """What is in a column. Raises ColumnError with the columns that there are."""
    found: Any = row
    if column in row:
        return row[column]
    for part in column.split("."):
        if isinstance(found, Mapping) and part in found:
            found = found[part]
        elif isinstance(found, Sequence) and not isinstance(found, str) and _within(found, part):
            found = found[int(part)]
        else:
            names = list(found) if isinstance(found, Mapping) else []
            raise ColumnError(
                f"no column {column!r}; there are: {', '.join(map(str, names)) or 'none'}"
                f"{did_you_mean(part, map(str, names))}"
            )
    return found


def text(row: Mapping[str, Any], column: str | None) -> str:
    """A column as text, a list's mathematics joined by commas; nothing for none.

    Raises ColumnError.
    """
    if column is None:
        return ""
    found = value(row, column)
    if isinstance(found, list | tuple):
        found = ", ".join(_plain(one).strip().strip("$") for one in found)
    found = _plain(found)
    if len(found) > MAX_TEXT:
        raise ColumnError(f"column {column!r} has {len(found):,} characters, over {MAX_TEXT:,}")
    return found


def question(row: Mapping[str, Any], columns: Columns) -> str:
    """The question's text. Raises ColumnError."""
    first, *others = columns.question
    parts = [text(row, first)]
    for column in others:
        if body := _examples(value(row, column)) or text(row, column):
            parts.append(f"{column.replace('_', ' ').capitalize()}\n{body}")
    if columns.starter_code and (code := text(row, columns.starter_code)).strip():
        parts.append(f"Complete this code:\n```python\n{code}\n```")
    return "\n\n".join(part.strip() for part in parts if part.strip())


def read_tests(row: Mapping[str, Any], columns: Sequence[str]) -> Tests:
    """The tests in columns, which hold one of these, as it is or as JSON text:

    `{"inputs": […], "outputs": […], "fn_name": …}` (APPS, TACO, PRIME), `{"input": […],
    "output": […]}` (CodeContests), `[{"input": …, "output": …}, …]` (Codeforces), or nothing.
    Tests that are there twice are kept once. Raises ColumnError.
    """
    pairs: dict[tuple[str, str], None] = {}
    functions: set[str] = set()
    for column in columns:
        found = _json(value(row, column), column)
        if isinstance(found, Mapping) and (name := found.get("fn_name")):
            functions.add(str(name))
        for given, expected in _pairs(found, column):
            as_text = _arguments if functions else _text_of
            pairs[as_text(given, column), as_text(expected, column)] = None
    if not pairs:
        raise ColumnError(f"no tests in {', '.join(columns)}")
    if len(functions) > 1 or len(pairs) > MAX_TESTS:
        raise ColumnError(f"{len(pairs)} tests of {len(functions)} functions in one row")
    inputs, outputs = zip(*pairs, strict=True)
    function = functions.pop() if functions else None
    return Tests(inputs=inputs, outputs=outputs, function=function)


def seconds(found: Any) -> float:
    """A time limit: a number, `{"seconds": …, "nanos": …}` or text as `2 seconds`; else 0."""
    if isinstance(found, Mapping):
        return float(found.get("seconds") or 0) + float(found.get("nanos") or 0) / 1e9
    number, unit = _measure(found)
    return number / 1000 if unit in ("ms", "milliseconds") else number


def memory_bytes(found: Any) -> int:
    """A memory limit: bytes (MiB below 65,536) or text as `256 megabytes`; else 0."""
    number, unit = _measure(found)
    if not unit:
        return int(number * MIB if number < 65_536 else number)
    return int(number * _UNITS.get(unit[0], 0))


def _measure(found: Any) -> tuple[float, str]:
    if isinstance(found, int | float) and not isinstance(found, bool):
        return float(found), ""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\.?\s*", str(found)[:100])
    return (float(match[1]), match[2].lower()) if match else (0.0, "")


def _within(found: Sequence[Any], part: str) -> bool:
    return part.isdecimal() and len(part) < 10 and int(part) < len(found)


def _plain(found: Any) -> str:
    if found is None:
        return ""
    if isinstance(found, float) and found.is_integer() and abs(found) < 1e15:
        found = int(found)
    return found if isinstance(found, str) else str(found)


def _examples(found: Any) -> str:
    """Pairs of input and output, as a problem shows them; nothing for anything else."""
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        return ""
    shown = [f"Input\n{one.get('input')}\nOutput\n{one.get('output')}" for one in found]
    return "\n\n".join(shown)


def _json(found: Any, column: str) -> Any:
    if not isinstance(found, str):
        return found
    if not found.strip():
        return None
    try:
        return json.loads(found)
    except (ValueError, RecursionError) as error:
        raise ColumnError(f"column {column!r}: not JSON: {str(error)[:100]}") from None


def _pairs(found: Any, column: str) -> Iterator[tuple[Any, Any]]:
    if found is None:
        return
    if isinstance(found, Mapping):
        for ins, outs in (("inputs", "outputs"), ("input", "output")):
            if ins in found and outs in found:
                given, expected = found[ins] or [], found[outs] or []
                break
        else:
            raise ColumnError(
                f"column {column!r}: expected inputs and outputs, found {list(found)}"
            )
        if isinstance(given, str) or isinstance(expected, str) or len(given) != len(expected):
            raise ColumnError(f"column {column!r}: as many inputs as outputs were expected")
        yield from zip(given, expected, strict=True)
        return
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise ColumnError(f"column {column!r}: expected tests, found {type(found).__name__}")
    for one in found:
        if "input" not in one or "output" not in one:
            raise ColumnError(f"column {column!r}: a test has {list(one)}, not input and output")
        yield one["input"], one["output"]


def _text_of(found: Any, column: str) -> str:
    """Standard input or output; older rows have lists of lines."""
    if isinstance(found, list):
        return "\n".join(map(str, found)) + "\n"
    if not isinstance(found, str):
        raise ColumnError(f"column {column!r}: a test is {type(found).__name__}, expected text")
    return found


def _arguments(found: Any, column: str) -> str:
    return json.dumps(found)
