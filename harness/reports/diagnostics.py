"""The page of a diagnosis, from the `diagnostics.json` and plots that it wrote."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.reports.sections import Section, write_sections

MOST_IMAGE = 4_000_000


@dataclass(frozen=True)
class _Part:
    """A section: keys of its figures, plots with captions, the file that the numbers come from."""

    anchor: str
    title: str
    text: str
    keys: tuple[str, ...]
    plots: Mapping[str, str]
    file: str


_PARTS = (
    _Part(
        "reliability",
        "Reliability deciles",
        "ρ = exp(−λ1·H(q) − λ2·TV(q, p)) of every state that the student visited. A decile holds "
        "a tenth of the states, the least reliable first; the outcome of a state is that of its "
        "attempt.",
        ("reliability", "deciles", "gains"),
        {
            "deciles": "Means by decile of ρ, with 95 % intervals over instances.",
            "rho": "How many states have which ρ.",
        },
        "states.parquet",
    ),
    _Part(
        "alpha",
        "Alignment",
        "α: the cosine between the gradient of the teacher's next-token reward and that of the "
        "return of the teacher's rollouts, at reference states. α_diag is the mean over "
        "trajectories of the mean over theirs. With few rollouts, noise pulls it towards 0.",
        ("alpha_diag", "alpha_returns", "curve", "by_depth"),
        {
            "alpha_curve": "The same reference states under the student of each checkpoint.",
            "by_depth": "By how far into its trajectory a state is.",
        },
        "states.parquet",
    ),
    _Part(
        "reference",
        "ρ against its references",
        "ρ* of a state is the share of the teacher's own rollouts from it that succeed. Gate "
        "error: Pr[trusted | α < α*] + Pr[untrusted | α ≥ α*].",
        ("rank_correlations", "gate_error", "reference", "reference_deciles"),
        {"reference": "States, and means by decile of ρ."},
        "states.parquet",
    ),
    _Part(
        "pi",
        "Privileged information",
        "κ = TV(q, q^P). A source's part is its Shapley value over all sets of sources. Overlap "
        "above 0: two sources say the same; below 0: each needs the other. Contrast: how well one"
        " token tells which of two was given.",
        ("pi", "pi_sources", "pi_pairs"),
        {"kappa": "How many states have which κ."},
        "states.parquet",
    ),
    _Part(
        "cells",
        "Cells",
        "A: token branch, B: token branch with PI, C: segment branch, D: segment branch with PI. "
        "By quantiles of the states here, all at once; a training's own decisions, one step late,"
        " are in the tables of its ledger.",
        ("cells", "routing", "routed_cells"),
        {"cells": "Shares by depth decile."},
        "states.parquet",
    ),
    _Part(
        "segments",
        "Segments",
        "Effective rank of the covariance of segment embeddings, and L_e in W2 ≤ L_e·√TV over "
        "anchors.",
        ("segments",),
        {"singular_values": "Spectrum of the covariance."},
        "parts/",
    ),
    _Part(
        "resets",
        "Resets",
        "From a state, the student goes on; or the teacher takes one action, and the student goes"
        " on from there.",
        ("resets", "reset_contrast"),
        {},
        "resets.jsonl",
    ),
)


def write_diagnosis(folder: Path) -> Path:
    """Write `index.html` beside a `diagnostics.json`; its path.

    Raises ValueError for a file that is none, OSError when one cannot be read or written.
    """
    path = folder / "diagnostics.json"
    data = json.loads(path.read_bytes())
    if not isinstance(data, dict) or data.get("schema_version") != 1:
        raise ValueError(f"{path} is no diagnosis of this version: run `harness diagnose` again")
    page = folder / "index.html"
    write_sections(
        [_made_from(data), *_parts(data, folder)],
        page,
        title="Diagnosis",
        question=f"What the gates of {data['subject']} see, and whether it holds.",
        file=path.name,
    )
    return page


def _made_from(data: Mapping[str, Any]) -> Section:
    missing = tuple(f"{name}: {why}" for name, why in data["not_shown"].items())
    figures = {"data": data["data"], "not shown": missing, "options": data["options"]}
    return Section(
        "data",
        "Data",
        (f"The student at step {data['student at step']}, on trajectories that it sampled.",),
        {name: value for name, value in figures.items() if value},
        files=("diagnostics.json",),
    )


def _parts(data: Mapping[str, Any], folder: Path) -> Sequence[Section]:
    found = []
    for part in _PARTS:
        figures = {key: data[key] for key in part.keys if data.get(key) not in (None, [], {})}
        plots = {name: text for name, text in part.plots.items() if _plot(name) in data["plots"]}
        if not figures and not plots:
            continue
        images = tuple((text, _svg(folder / _plot(name))) for name, text in plots.items())
        found.append(Section(part.anchor, part.title, (part.text,), figures, images, (part.file,)))
    return found


def _plot(name: str) -> str:
    return f"plots/{name}.svg"


def _svg(path: Path) -> str:
    if path.stat().st_size > MOST_IMAGE:
        raise ValueError(f"{path} is larger than {MOST_IMAGE:,} bytes")
    return path.read_text(encoding="utf-8")
