"""From measured states to figures: every number with its count and interval, or why it is missing.

A figure is an interval (`value`, `low`, `high`, `level`, `n` states, `method`, and `unit` unless it
is a share of 1), a plain number where no interval can be had, or null where there is no value.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainers.diagnostics.agreement import (
    Decile,
    calibration_error,
    deciles,
    disagreement,
    gate_error,
    spearman,
)
from trainers.diagnostics.cells import cell_of, cells_by_depth
from trainers.diagnostics.intervals import (
    Floats,
    Number,
    bootstrap_mean,
)
from trainers.diagnostics.options import DiagnosisOptions
from trainers.diagnostics.table import States
from trainers.gates.reliability import LogisticReliability, Reliability, calibrate
from trainers.gates.routes import pi_active, trusted

Score = Reliability | LogisticReliability
UNITS = {  # in the order of the decile table; none: a share of 1
    "rho": "",
    "outcome": None,
    "reference": "",
    "alpha": "",
    "kappa": "",
    "tv": "",
    "teacher_entropy": "nats",
    "student_entropy": "nats",
    "kl": "nats",
    "kl_pi": "nats",
    "top_k_overlap": None,
}
_BINS = 20


@dataclass
class Figures:
    """What goes into `diagnostics.json`, and what could not be had."""

    figures: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def figure(number: Number, unit: str | None = "") -> Any:
    """A number as JSON. unit: none for a share of 1."""
    if number["value"] is None or number["low"] is None:
        return number["value"]
    found = {name: each for name, each in number.items() if name != "clusters"}
    found["method"] = f"{number['method']}: {number['clusters']} instances"
    return found if unit is None else found | {"unit": unit}


def mean(states: States, name: str, chosen: NDArray[np.bool_] | None = None) -> Any:
    """The mean of a quantity over the (chosen) states that have it."""
    values = states.numbers[name]
    there = np.isfinite(values) if chosen is None else np.isfinite(values) & chosen
    return figure(bootstrap_mean(values[there], states.instance[there]), UNITS.get(name, ""))


def reliability_of(
    states: States, settings: Any, weights: tuple[float, float] | None
) -> tuple[Score, str]:
    """ρ as the training has it, or with H and TV over their largest values here; and which."""
    kind = getattr(settings, "kind", None)
    if kind == "given":
        return Reliability(
            settings.entropy_weight, settings.tv_weight
        ), "given by the configuration"
    if kind == "logistic":
        found = (settings.entropy_slope, settings.tv_slope, settings.entropy_maximum)
        return LogisticReliability(*found), "logistic, given by the configuration"
    if weights is not None:
        return Reliability(*weights), "outcome-free, calibrated by the training"
    largest = [float(states.numbers[name].max()) for name in ("teacher_entropy", "tv")]
    return (
        Reliability(*(1 / one if one > 0 else 0.0 for one in largest)),
        "outcome-free, calibrated on these states (CHOP Eq. 13)",
    )


def add_rho(states: States, score: Score) -> None:
    """The column `rho`."""
    columns = (torch.from_numpy(states.numbers[name]) for name in ("teacher_entropy", "tv"))
    states.numbers["rho"] = score(*columns).numpy()


def route(states: States, options: DiagnosisOptions, noise: float) -> NDArray[np.bool_]:
    """Trusted and PI active, `(2, S)`, by quantiles of all states here."""
    rho = torch.from_numpy(states.numbers["rho"])
    trust = trusted(rho, quantile(states.numbers["rho"], options.reliability_quantile))
    kappa = states.numbers.get("kappa")
    active = torch.zeros_like(trust)
    if kappa is not None:
        threshold = quantile(kappa, options.pi_quantile)
        active = pi_active(torch.from_numpy(kappa), threshold, noise)
    return np.stack([trust.numpy(), active.numpy()])


def quantile(values: Floats, share: float) -> float:
    """The smallest value with that share of them at or below it."""
    return float(np.quantile(values, share, method="inverted_cdf"))


def decile_rows(states: States) -> list[dict[str, Any]]:
    """The reliability-decile table: means of everything that a state has, by ρ."""
    columns = {name: states.numbers[name] for name in UNITS if name in states.numbers}
    columns = {name: values for name, values in columns.items() if np.isfinite(values).any()}
    rho = columns.pop("rho")
    return [_decile(row) for row in deciles(rho, columns, states.instance)]


def _decile(row: Decile) -> dict[str, Any]:
    means = {name: figure(each, UNITS[name]) for name, each in row["columns"].items()}
    return {
        "decile": row["decile"],
        "states": row["n"],
        "share": row["share"],
        "rho": figure(row["score"]),
        **means,
        "rho_from": row["low"],
        "rho_to": row["high"],
    }


def agreement(states: States, gates: NDArray[np.bool_], options: DiagnosisOptions) -> Figures:
    """How ρ, κ, α and ρ* go together."""
    found, numbers, names = Figures(), states.numbers, states.instance
    pairs = [("rho", "kappa"), ("rho", "alpha"), ("rho", "reference"), ("alpha", "reference")]
    correlations = []
    for one, two in pairs:
        if two in numbers and np.isfinite(numbers[two]).sum() > 1:
            both = np.isfinite(numbers[one]) & np.isfinite(numbers[two])
            value = figure(spearman(numbers[one], numbers[two], names))
            correlations.append(
                {"of": f"{one}, {two}", "states": int(both.sum()), "spearman": value}
            )
    found.figures["rank_correlations"] = correlations
    if np.isfinite(numbers["alpha"]).any():
        wrong = gate_error(gates[0], numbers["alpha"], options.boundary, names)
        found.figures["gate_error"] = {"boundary": options.boundary, "error": figure(wrong)}
    reference = numbers["reference"]
    if not np.isfinite(reference).any():
        found.missing["rho against rho*"] = (
            "no outcomes of the teacher's own rollouts: run those of reference_states.jsonl, and "
            "give what they came to with --returns"
        )
        return found
    rho, there = numbers["rho"], np.isfinite(reference)
    sides = disagreement(rho, reference, names)
    fitted = calibrate(
        numbers["teacher_entropy"][there], numbers["tv"][there], np.clip(reference[there], 0, 1)
    )
    kept = _only(states, there)
    found.figures["reference"] = {
        "states": int(there.sum()),
        "expected calibration error": figure(calibration_error(rho, reference, names)),
        "confidently wrong (rho > 0.7, rho* < 0.3)": figure(sides.confidently_wrong, None),
        "needlessly doubted (rho < 0.3, rho* > 0.7)": figure(sides.needlessly_doubted, None),
        "lambda 1 fitted to rho*": fitted.entropy_weight,
        "lambda 2 fitted to rho*": fitted.tv_weight,
    }
    found.figures["reference_deciles"] = decile_rows(kept)
    return found


def _only(states: States, chosen: NDArray[np.bool_]) -> States:
    return States(
        {name: values[chosen] for name, values in states.numbers.items()},
        states.instance[chosen],
        states.trajectory[chosen],
        states.depth[chosen],
        states.position[chosen],
    )


def alpha_diag(states: States) -> Number:
    """The mean α of trajectories, each the mean of its reference states. Source: CHOP App. N.1."""
    alpha = states.numbers["alpha"]
    there = np.isfinite(alpha)
    owner = states.trajectory[there]
    counts = np.bincount(owner)
    present = np.flatnonzero(counts)
    means = np.bincount(owner, alpha[there])[present] / counts[present]
    first = np.searchsorted(states.trajectory, present)
    return bootstrap_mean(means, states.instance[first])


def alpha_by_depth(states: States) -> list[dict[str, Any]]:
    """α and what ρ is made of, by the depth decile of a state."""
    rows = []
    for number in np.unique(states.depth).tolist():
        inside = states.depth == number
        names = ("alpha", "rho", "teacher_entropy", "tv", "kappa")
        rows.append(
            {"depth decile": number + 1, "states": int(inside.sum())}
            | {
                name: mean(states, name, inside)
                for name in names
                if name in states.numbers and np.isfinite(states.numbers[name]).any()
            }
        )
    return rows


def histogram(values: Floats) -> list[dict[str, Any]]:
    """Counts in twenty equal parts of [0, 1]."""
    counts, edges = np.histogram(values, bins=_BINS, range=(0, 1))
    return [
        {"from": float(low), "to": float(high), "states": int(count)}
        for count, low, high in zip(counts, edges, edges[1:], strict=False)
    ]


def cell_rows(states: States, gates: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Counts and shares of the four cells by depth decile."""
    return [
        {"depth decile": row["decile"], "states": row["n"]}
        | {f"{name} states": count for name, count in row["counts"].items()}
        | {name: figure(share, None) for name, share in row["shares"].items()}
        for row in cells_by_depth(cell_of(*gates), states.depth, states.instance)
    ]
