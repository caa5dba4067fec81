"""Figures of gains, of PI sources, of segments, and of resets; see `summary`."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainers.diagnostics.embeddings import effective_rank, fit_distortion, singular_values
from trainers.diagnostics.gains import Visited, decile_gains, read_visited
from trainers.diagnostics.intervals import Indices, Number, bootstrap, bootstrap_mean, jackknife
from trainers.diagnostics.parts import Part
from trainers.diagnostics.resets import Effects
from trainers.diagnostics.summary import Figures, Score, figure, mean, quantile
from trainers.diagnostics.table import States


def gain_rows(student: Visited, path: Path, score: Score) -> list[dict[str, Any]]:
    """Gains on the student whose states a file has, by ρ as it is here. Raises DataError."""
    entropy, tv, outcome, names = read_visited(path)
    rho = score(torch.from_numpy(entropy), torch.from_numpy(tv)).numpy()
    return [
        {
            "decile": row["decile"],
            "states": row["n"],
            "baseline's states": row["baseline_n"],
            "outcome": row["outcome"],
            "baseline's outcome": row["baseline"],
            "gain": figure(row["gain"], None),
        }
        for row in decile_gains(student, Visited(rho, outcome, names))
    ]


def pi_figures(states: States, sources: Sequence[str]) -> dict[str, Any]:
    """κ by source (Shapley), who dominates where κ is high, and what pairs of sources share."""
    numbers, names = states.numbers, states.instance
    kappa = numbers["kappa"]
    high = kappa > max(0.0, quantile(kappa, 0.9))
    parts = np.stack([numbers[f"shapley/{source}"] for source in sources])
    rows = [
        {
            "source": source,
            "kappa alone": mean(states, f"kappa/{source}"),
            "part of kappa (Shapley)": mean(states, f"shapley/{source}"),
            "dominates where kappa is in its top tenth": figure(
                bootstrap_mean((parts.argmax(0) == place)[high].astype(float), names[high]), None
            ),
        }
        for place, source in enumerate(sources)
    ]
    pairs = [
        {
            "sources": f"{one}, {two}",
            "overlap (co-information)": figure(
                bootstrap_mean(numbers[f"overlap/{one}+{two}"], names), "nats"
            ),
            "contrast (one against the other)": figure(
                bootstrap_mean(numbers[f"contrast/{one}+{two}"], names), "nats"
            ),
        }
        for one, two in combinations(sources, 2)
    ]
    return {"pi_sources": rows} | ({"pi_pairs": pairs} if pairs else {})


def segment_figures(parts: Sequence[Part], groups: Sequence[str]) -> Figures:
    """Effective rank and L_e of all anchors' segments."""
    found = Figures()
    embeddings = [part["segment/embeddings"] for part in parts if "segment/embeddings" in part]
    if not sum(len(each) for each in embeddings):
        found.missing["segment embeddings"] = (
            "no segments were sampled: give --anchors, with a teacher on this machine"
        )
        return found
    points = np.concatenate(embeddings).astype(np.float64)
    owners = np.repeat(groups, [len(each) for each in embeddings])
    distances = np.concatenate([part["segment/distance"] for part in parts])
    variations = np.concatenate([part["segment/variation"] for part in parts])
    anchors = np.repeat(groups, [len(part["segment/distance"]) for part in parts])

    def rank(chosen: Indices) -> float:
        return effective_rank(singular_values(points[chosen]))

    def bound(chosen: Indices) -> float:
        return fit_distortion(distances[chosen], variations[chosen]).bound

    spectrum = singular_values(points)
    whole = fit_distortion(distances, variations)
    found.figures["segments"] = {
        "anchors": len(distances),
        "segments": len(points),
        "dimensions": points.shape[1],
        "effective rank": figure(jackknife(rank, owners)),
        "largest that this many segments can have": min(points.shape[1], len(points) - 1),
        "L_e (95 % quantile regression)": figure(bootstrap(bound, anchors)),
        "slope of least squares": None if np.isnan(whole.slope) else whole.slope,
        "anchors with equal first tokens and W2 > 0": whole.unbounded,
    }
    found.figures["singular_values"] = [float(one) for one in spectrum[: min(256, len(spectrum))]]
    return found


def reset_figures(effects: Effects) -> dict[str, Any]:
    """What the teacher's action changes, where ρ is low and where it is high."""
    rows = []
    for group, name in (("low rho", "low"), ("high rho", "high")):
        effect: Mapping[str, Number] = effects[name]  # type: ignore[literal-required]
        rows.append(
            {"states": group, "with both arms": effect["difference"]["n"]}
            | {f"{arm} arm": figure(effect[arm], None) for arm in ("student", "teacher")}
            | {"difference": figure(effect["difference"], None)}
        )
    return {
        "resets": rows,
        "reset_contrast": {"difference, low less high": figure(effects["contrast"], None)},
    }
