"""Figures (any JSON) as what a page shows: facts, and tables with interval plots."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.reports.estimates import Estimate, estimate, number, percent, points
from harness.reports.plots import Axis, difference_axis, rate_axis
from harness.reports.text import line
from harness.scoring import Interval

ROWS_OPEN = 12  # longer tables are folded
ROWS_SHOWN = 100  # of one table; the rest are in the JSON beside the page
TEXT_SHOWN = 400
_INTERVAL = frozenset(Interval.model_fields)


@dataclass(frozen=True)
class Cell:
    """One value: its text, whether it is a number, and the interval to draw, if it has one."""

    text: str
    is_number: bool = False
    estimate: Estimate | None = None
    axis: Axis | None = None


@dataclass(frozen=True)
class Table:
    """A list of objects, or an object of objects or values."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left_out: int

    @property
    def folded(self) -> bool:
        """Whether it is too long to show before it is asked for."""
        return len(self.rows) > ROWS_OPEN


@dataclass(frozen=True)
class Blocks:
    """All figures of one section."""

    facts: tuple[tuple[str, str], ...]
    lists: tuple[tuple[str, tuple[str, ...]], ...]
    tables: tuple[Table, ...]


def blocks(figures: Mapping[str, Any]) -> Blocks:
    """Values as facts; lists of texts as lists; objects as tables; whatever else as JSON."""
    facts, lists, tables = [], [], []
    for name, value in figures.items():
        if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            tables.append(_table(name, value))
        elif isinstance(value, dict) and value and not _is_number(value):
            tables.append(_table(name, _as_rows(value)))
        elif isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
            more = [f"and {len(value) - ROWS_SHOWN} more"] if len(value) > ROWS_SHOWN else []
            shown = [_short(one) for one in value[:ROWS_SHOWN]]
            lists.append((_words(name), (*shown, *more)))
        else:
            facts.append((_words(name), _cell(name, value).text))
    return Blocks(tuple(facts), tuple(one for one in lists if one[1]), tuple(tables))


def _as_rows(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    if all(isinstance(one, dict) and not _is_number(one) for one in value.values()):
        return [{"": name, **one} for name, one in value.items()]
    return [{"": name, "value": one} for name, one in value.items()]


def _table(name: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    heads = list(dict.fromkeys(head for row in rows for head in row))
    heads = [head for head in heads if any(row.get(head) not in (None, [], "") for row in rows)]
    axes = {head: _axis(head, (row.get(head) for row in rows)) for head in heads}
    return Table(
        title=_words(name),
        heads=tuple(_words(head) for head in heads),
        rows=tuple(
            tuple(_cell(head, row.get(head), axes[head]) for head in heads)
            for row in rows[:ROWS_SHOWN]
        ),
        left_out=max(0, len(rows) - ROWS_SHOWN),
    )


def _axis(head: str, values: Iterable[Any]) -> Axis | None:
    found = [Interval.model_validate(one) for one in values if _is_interval(one)]
    if not found:
        return None
    bounds = [bound for one in found for bound in (one.low, one.high)]
    return difference_axis(bounds) if _signed(head, bounds) else rate_axis(bounds)


def _cell(head: str, value: Any, axis: Axis | None = None) -> Cell:
    if value is None:
        return Cell("–")
    if _is_interval(value):
        one = Interval.model_validate(value)
        signed = axis.low < 0 if axis else _signed(head, (one.low, one.high))
        drawn = estimate(one, points if signed else percent)
        return Cell(f"{drawn.text} [{drawn.range}]", True, drawn, axis)
    if _is_number(value):
        middle, low, high = (_decimal(float(value[key])) for key in ("value", "low", "high"))
        return Cell(f"{middle} [{low} to {high}] {line(value['unit'])}".rstrip(), True)
    if isinstance(value, bool):
        return Cell("yes" if value else "no")
    if isinstance(value, int):
        return Cell(f"{value:,}", True)
    if isinstance(value, float):
        return Cell(_decimal(value), True)
    if isinstance(value, list) and all(isinstance(one, str | int) for one in value):
        return Cell(_short("; ".join(map(str, value)) or "none"))
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Cell(_short(text))


def _is_interval(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == _INTERVAL


def _is_number(value: Any) -> bool:
    """An interval, or one that is no share of 1 and has a unit."""
    return _is_interval(value) or (isinstance(value, dict) and value.keys() == _INTERVAL | {"unit"})


def _signed(head: str, bounds: Iterable[float]) -> bool:
    return "difference" in head or "gain" in head or min(bounds) < 0


def _decimal(value: float) -> str:
    if abs(value) >= 100 or value == int(value):
        return number(value)
    return "< 0.001" if 0 < value < 0.001 else f"{value:.3f}"


def _short(text: str) -> str:
    text = line(text)
    return text if len(text) <= TEXT_SHOWN else text[:TEXT_SHOWN] + "…"


def _words(name: str) -> str:
    return line(name).replace("_", " ")
