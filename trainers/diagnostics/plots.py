"""The plots of a diagnosis, from its figures: name to SVG text."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from trainers.diagnostics.svg import Series, bars, lines
from trainers.diagnostics.table import States

_SCATTERED = 1500  # points of a cloud


def plots(figures: Mapping[str, Any], states: States) -> dict[str, str]:
    """Every plot that there are numbers for."""
    found = {}
    if len(figures.get("curve", [])) > 1:
        found["alpha_curve"] = lines(
            "alpha_diag over training",
            "training step",
            _present(figures["curve"], "step", ("alpha_diag", "rho", "tv")),
        )
    found["by_depth"] = lines(
        "By depth",
        "depth decile of the state in its trajectory",
        _present(figures["by_depth"], "depth decile", ("alpha", "rho", "tv", "kappa")),
    )
    found["deciles"] = lines(
        "By reliability",
        "decile of rho, the least reliable first",
        _present(figures["deciles"], "decile", ("rho", "tv", "kappa", "outcome")),
    )
    if "reference_deciles" in figures:
        found["reference"] = _reference(figures["reference_deciles"], states)
    if "kappa" in figures:
        found["kappa"] = _histogram("kappa of states", "kappa", figures["kappa"])
    found["rho"] = _histogram("rho of states", "rho", figures["rho"])
    found["cells"] = bars(
        "Cells by depth",
        "depth decile of the state in its trajectory",
        [(row["depth decile"] - 0.5, row["depth decile"] + 0.5) for row in figures["cells"]],
        {
            f"{name}: {what}": [row[f"{name} states"] / row["states"] for row in figures["cells"]]
            for name, what in zip(
                "ABCD", ("token", "token, PI", "segment", "segment, PI"), strict=True
            )
        },
    )
    values = [one for one in figures.get("singular_values", []) if one > 0]
    if values:
        points = [(place + 1.0, math.log10(one), None, None) for place, one in enumerate(values)]
        found["singular_values"] = lines(
            "Spectrum of segment embeddings",
            "number of the singular value",
            [Series("log10 of the covariance's singular value", points)],
        )
    return found


def _reference(rows: Sequence[Mapping[str, Any]], states: States) -> str:
    rho, reference = states.numbers["rho"], states.numbers["reference"]
    there = np.flatnonzero(np.isfinite(reference))
    shown = there[np.linspace(0, len(there) - 1, min(_SCATTERED, len(there))).astype(int)]
    cloud = [(float(rho[one]), float(reference[one]), None, None) for one in shown]
    means = [
        (_value(row["rho"]), _value(row["reference"]), *_ends(row["reference"])) for row in rows
    ]
    ends = [(0.0, 0.0, None, None), (1.0, 1.0, None, None)]
    return lines(
        "rho against rho*",
        "rho",
        [
            Series("decile means of rho*", means),
            Series("states", cloud, joined=False),
            Series("rho = rho*", ends),
        ],
    )


def _histogram(title: str, across: str, rows: Sequence[Mapping[str, Any]]) -> str:
    edges = [(row["from"], row["to"]) for row in rows]
    return bars(title, across, edges, {"states": [row["states"] for row in rows]})


def _present(rows: Sequence[Mapping[str, Any]], place: str, names: Iterable[str]) -> list[Series]:
    found = [_series(name, rows, place, name) for name in names]
    return [one for one in found if one.points]


def _series(name: str, rows: Sequence[Mapping[str, Any]], place: str, key: str) -> Series:
    points = [
        (float(row[place]), _value(row[key]), *_ends(row[key]))
        for row in rows
        if row.get(key) is not None
    ]
    return Series(name, points)


def _value(figure: Any) -> float:
    return float(figure["value"] if isinstance(figure, Mapping) else figure)


def _ends(figure: Any) -> tuple[float | None, float | None]:
    return (figure["low"], figure["high"]) if isinstance(figure, Mapping) else (None, None)
