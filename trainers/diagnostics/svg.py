"""Small figures as SVG text: the same numbers give the same bytes; they follow a dark page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 30, 44
COLOURS = ("#2f6fd0", "#c2730c", "#17784a", "#a33a80")
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#5b626c}.rule{stroke:#d8d8d2}"
    ".axis{stroke:#8b93a1}@media(prefers-color-scheme:dark){text{fill:#a0a8b4}"
    ".rule{stroke:#30343c}}"
)


@dataclass(frozen=True)
class Series:
    """Values over places, with intervals where they have any.

    points: place, value, low, high. joined: by a line.
    """

    name: str
    points: Sequence[tuple[float, float, float | None, float | None]]
    joined: bool = True


@dataclass(frozen=True)
class Scale:
    """A linear axis, with ticks at round numbers."""

    low: float
    high: float
    start: float
    end: float

    @property
    def ticks(self) -> list[float]:
        """Five or so round numbers from end to end."""
        rough = (self.high - self.low) / 5
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * each for each in (1, 2, 5, 10) if unit * each >= rough * 0.75)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(number * step, 12) for number in range(first, last + 1)]

    def at(self, value: float) -> float:
        """Where a value lies, in pixels."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + (self.end - self.start) * share, 2)


def lines(title: str, across: str, series: Sequence[Series]) -> str:
    """Points with whiskers, joined by lines."""
    places = [place for one in series for place, *_ in one.points]
    values = [v for one in series for _, *three in one.points for v in three if v is not None]
    x, y = _scale(places, False, pad=0.04), _scale(values, True, pad=0.06)
    body = []
    for number, one in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        if one.joined and len(one.points) > 1:
            path = " ".join(f"{x.at(place)},{y.at(value)}" for place, value, *_ in one.points)
            body.append(
                f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{path}"/>'
            )
        for place, value, low, high in one.points:
            if low is not None and high is not None:
                body.append(_line(x.at(place), y.at(low), x.at(place), y.at(high), colour))
            body.append(
                f'<circle cx="{x.at(place)}" cy="{y.at(value)}" r="{3 if one.joined else 2}" '
                f'fill="{colour}" fill-opacity="{1 if one.joined else 0.45}"/>'
            )
    return _page(title, across, x, y, body, [one.name for one in series])


def bars(
    title: str,
    across: str,
    edges: Sequence[tuple[float, float]],
    stacks: dict[str, Sequence[float]],
) -> str:
    """Stacked bars, each from one edge to another."""
    heights = [sum(parts) for parts in zip(*stacks.values(), strict=True)]
    x = _scale([edge for pair in edges for edge in pair], False)
    y = _scale([0.0, *heights], True)
    body = []
    for place, (low, high) in enumerate(edges):
        base = 0.0
        for number, values in enumerate(stacks.values()):
            top = base + values[place]
            body.append(
                f'<rect x="{x.at(low) + 1}" y="{y.at(top)}" '
                f'width="{max(0.5, round(x.at(high) - x.at(low) - 2, 2))}" '
                f'height="{round(y.at(base) - y.at(top), 2)}" fill="{COLOURS[number]}"/>'
            )
            base = top
    return _page(title, across, x, y, body, list(stacks) if len(stacks) > 1 else [])


def _scale(values: Sequence[float], upright: bool, pad: float = 0.0) -> Scale:
    low, high = min(values), max(values)
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    room = (high - low) * pad
    ends = (HEIGHT - BOTTOM, TOP) if upright else (LEFT, WIDTH - RIGHT)
    return Scale(low - room, high + room, *map(float, ends))


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" stroke-width="1.5"/>'


def _page(
    title: str, across: str, x: Scale, y: Scale, body: Sequence[str], names: Sequence[str]
) -> str:
    bottom = HEIGHT - BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
    ]
    for tick in y.ticks:
        at = y.at(tick)
        parts.append(f'<line class="rule" x1="{LEFT}" y1="{at}" x2="{WIDTH - RIGHT}" y2="{at}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4}" text-anchor="end">{tick:g}</text>')
    for tick in x.ticks:
        parts.append(
            f'<text x="{x.at(tick)}" y="{bottom + 17}" text-anchor="middle">{tick:g}</text>'
        )
    parts.append(
        f'<line class="axis" x1="{LEFT}" y1="{bottom}" x2="{WIDTH - RIGHT}" y2="{bottom}"/>'
    )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(across)}</text>'
    )
    at = float(LEFT)
    for number, name in enumerate(names):
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<rect x="{at}" y="10" width="10" height="10" rx="2" fill="{colour}"/>')
        parts.append(f'<text x="{at + 15}" y="19">{escape(name)}</text>')
        at += 32 + 7 * len(name)
    return "\n".join([*parts, *body, "</svg>"]) + "\n"
