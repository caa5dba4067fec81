"""The study's files: figures as JSON, the table as Markdown, plots as SVG."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainers.diagnostics.intervals import Number
from trainers.diagnostics.svg import Series, lines
from trainers.omniopd.similarity import SIMILARITIES
from trainers.omniopd.study.figures import TARGETS, Estimates, Row, rows, summary
from trainers.omniopd.study.options import StudyOptions

_POINTS = 1500  # of a cloud


def write_report(
    options: StudyOptions, found: Estimates, facts: Mapping[str, Any], out: Path
) -> Path:
    """Write `estimators.md`, `estimators.json` and `plots/`; the path of the first."""
    table = rows(found, options.rollouts)
    whole = summary(found, table)
    drawn = _plots(options, found, table)
    (out / "plots").mkdir(exist_ok=True)
    for name, text in drawn.items():
        _write(out / "plots" / f"{name}.svg", text)
    head = {
        "schema_version": 1,
        "options": options.model_dump(mode="json", exclude={"runs", "texts", "device"}),
        **facts,
        "targets": {name: TARGETS[name] for name in found.targets},
    }
    body = {"summary": whole, "rows": table, "plots": [f"plots/{name}.svg" for name in drawn]}
    _write(out / "estimators.json", json.dumps(head | body, indent=1, allow_nan=False) + "\n")
    path = out / "estimators.md"
    _write(path, _markdown(options, facts, table, whole))
    return path


def _markdown(
    options: StudyOptions,
    facts: Mapping[str, Any],
    table: Sequence[Row],
    whole: Mapping[str, Any],
) -> str:
    chunks, groups = facts["chunks"], facts["trajectories"]
    text = [
        f"# Estimators: {facts['student']['name']} asked, {facts['teacher']['name']} answering",
        "",
        f"{chunks} chunks of at most {options.chunk_tokens} tokens of {groups} trajectories; "
        f"α = {options.strength:g}. Intervals: 95 %, bootstrap over instances or pieces.",
    ]
    for target, found in whole.items():
        text += [
            "",
            f"## Exact probability {target}: {TARGETS[target]}",
            "",
            f"Mean {found['mean']:.4f}. The Bayesian MSE is lower in {found['bayesian_mse_lower']} "
            f"of {found['rows']} rows, in {found['surely']} with an interval below 0 (in "
            f"{found['surely_higher']} above); its correlation is higher in "
            f"{found['bayesian_pearson_higher']}. The prior alone: MSE "
            f"{_shown(found['prior_alone_mse'])}, r {_shown(found['prior_alone_pearson'])}.",
            "",
            "| φ | N | MSE freq | MSE Bayes | Bayes - freq | noise of freq | r freq | r Bayes |",
            "|---|---|---|---|---|---|---|---|",
        ]
        text += [_line(row) for row in table if row["target"] == target]
    return "\n".join(text) + "\n"


def _line(row: Row) -> str:
    cells = [
        row["similarity"],
        str(row["rollouts"]),
        _shown(row["mse_frequentist"]),
        _shown(row["mse_bayesian"]),
        _shown(row["mse_difference"]),
        f"{row['noise']:.4f}",
        _shown(row["pearson_frequentist"]),
        _shown(row["pearson_bayesian"]),
    ]
    return f"| {' | '.join(cells)} |"


def _shown(number: Number) -> str:
    if number["value"] is None:
        return "–"
    if number["low"] is None or number["high"] is None:
        return f"{number['value']:.4f}"
    return f"{number['value']:.4f} [{number['low']:.4f}, {number['high']:.4f}]"


def _plots(options: StudyOptions, found: Estimates, table: Sequence[Row]) -> dict[str, str]:
    """Errors by similarity, and the default's estimates against the exact probability."""
    target = next(iter(found.targets))
    names = list(SIMILARITIES)
    errors = []
    for count in (min(options.rollouts), max(options.rollouts))[: len(set(options.rollouts))]:
        mine = [row for row in table if row["target"] == target and row["rollouts"] == count]
        errors += [
            Series(f"frequentist, N={count}", [_point(names, row, "frequentist") for row in mine]),
            Series(f"Bayesian, N={count}", [_point(names, row, "bayesian") for row in mine]),
        ]
    exact = found.targets[target][:_POINTS]
    clouds = [
        Series(label, [(float(x), float(y), None, None) for x, y in pairs], joined=False)
        for label, pairs in zip(
            ("frequentist", "Bayesian"),
            (zip(exact, each, strict=False) for each in found.of("edit", max(options.rollouts))),
            strict=True,
        )
    ]
    ends = [(float(at), float(at), None, None) for at in (exact.min(), exact.max())]
    across = ", ".join(f"{place} {name}" for place, name in enumerate(names, 1))
    return {
        "mse": lines(f"Mean squared error, exact probability {target}", across, errors),
        "edit": lines(
            f"Estimates by edit distance, N={max(options.rollouts)}",
            f"exact probability {target}",
            [*clouds, Series("equal", ends)],
        ),
    }


def _point(
    names: Sequence[str], row: Row, kind: str
) -> tuple[float, float, float | None, float | None]:
    number = row["mse_frequentist"] if kind == "frequentist" else row["mse_bayesian"]
    value = number["value"] if number["value"] is not None else 0.0
    return names.index(row["similarity"]) + 1.0, value, number["low"], number["high"]


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
