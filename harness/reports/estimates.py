"""Estimates in words and digits; the numbers are scoring's."""

from collections.abc import Callable
from dataclasses import dataclass

from harness.scoring import Interval, Rate


def percent(value: float) -> str:
    """A proportion as a percentage."""
    return f"{value:.1%}"


def points(value: float) -> str:
    """A difference of proportions in percentage points, signed."""
    return _signed(f"{100 * value:+.1f}")


def whole_points(value: float) -> str:
    """A tick of a difference axis in percentage points."""
    return _signed(f"{100 * value:+.0f}")


def whole_percent(value: float) -> str:
    """A tick of an axis as a percentage."""
    return f"{value:.0%}"


def number(value: float) -> str:
    """A mean with as many digits as it deserves."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.1f}"


def count(amount: int, noun: str) -> str:
    """An amount with its noun."""
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def _signed(text: str) -> str:
    return text.replace("-", "−") if float(text) else text[1:]


@dataclass(frozen=True)
class Estimate:
    """An interval as the page shows it."""

    point: float
    low: float
    high: float
    text: str
    range: str
    method: str

    @property
    def sentence(self) -> str:
        """For readers who do not see the plot."""
        return f"{self.text}, interval {self.range} ({self.method})"


def estimate(interval: Interval, form: Callable[[float], str] = percent) -> Estimate:
    """An interval in digits."""
    return Estimate(
        point=interval.value,
        low=interval.low,
        high=interval.high,
        text=form(interval.value),
        range=f"{form(interval.low)} to {form(interval.high)}",
        method=f"{interval.level:.0%}, {interval.method}, n = {interval.n}",
    )


def rate_estimate(rate: Rate | None) -> Estimate | None:
    """A rate with the interval that scoring says to show."""
    return estimate(rate.interval) if rate else None
