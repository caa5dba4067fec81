"""Figures, plots and files of a diagnosis."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainers.data.errors import DataError
from trainers.data.trajectories import Trajectory
from trainers.diagnostics.alignment import reference_states
from trainers.diagnostics.files import write_reference_states, write_resets
from trainers.diagnostics.gains import Visited
from trainers.diagnostics.intervals import bootstrap_mean
from trainers.diagnostics.ledger import cells_of_ledger, routing_by_step
from trainers.diagnostics.options import DiagnosisOptions
from trainers.diagnostics.plots import plots
from trainers.diagnostics.resets import State, choose_resets, reset_effects
from trainers.diagnostics.run import Measured, Scope
from trainers.diagnostics.subject import Subject
from trainers.diagnostics.summary import (
    Figures,
    Score,
    add_rho,
    agreement,
    alpha_by_depth,
    alpha_diag,
    cell_rows,
    decile_rows,
    figure,
    histogram,
    mean,
    reliability_of,
    route,
)
from trainers.diagnostics.summary_models import (
    gain_rows,
    pi_figures,
    reset_figures,
    segment_figures,
)
from trainers.diagnostics.table import States, join_states, write_states
from trainers.gates.routes import NOISE_FLOOR


def write_report(
    subject: Subject, scope: Scope, options: DiagnosisOptions, measured: Measured, out: Path
) -> Path:
    """Write `diagnostics.json` and what belongs to it; its path.

    Raises DataError for outcomes or a ledger that do not fit, OSError when it cannot be written.
    """
    states = join_states(scope.trajectories, measured.steps[subject.steps[-1]], scope.given)
    method = subject.settings.method
    score, form = reliability_of(
        states, getattr(method, "reliability", None), subject.reliability_weights
    )
    add_rho(states, score)
    floor = getattr(method, "noise_floor", None)
    gates = route(states, options, NOISE_FLOOR if floor is None else floor)
    found = _figures(subject, scope, options, measured, states, gates, score)
    found.figures["reliability"] |= {"form": form} | vars(score)
    write_states(out / "states.parquet", scope.trajectories, states, gates)
    _lists(scope, options, states, found, out)
    head = {
        "schema_version": 1,
        "subject": str(subject.source),
        "student at step": subject.steps[-1],
        "made_from": measured.facts,
        "options": options.model_dump(mode="json"),
        "data": _data(scope),
        "not_shown": found.missing,
    }
    drawn = plots(found.figures, states)
    (out / "plots").mkdir(exist_ok=True)
    for name, text in drawn.items():
        _write(out / "plots" / f"{name}.svg", text)
    path = out / "diagnostics.json"
    whole = head | found.figures | {"plots": [f"plots/{name}.svg" for name in drawn]}
    _write(path, json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return path


def _figures(
    subject: Subject,
    scope: Scope,
    options: DiagnosisOptions,
    measured: Measured,
    states: States,
    gates: NDArray[np.bool_],
    score: Score,
) -> Figures:
    found = agreement(states, gates, options)
    figures = found.figures
    figures["alpha_diag"] = figure(alpha_diag(states))
    if figures["alpha_diag"] is None:
        found.missing["alpha"] = (
            "no returns: give --rollouts N (with a teacher on this machine), or --returns FILE; or "
            "all rollouts of each state returned the same"
        )
    figures["alpha_returns"] = "outcomes" if scope.given else "log-ratio of teacher and student"
    figures["reliability"] = {
        "mean rho": mean(states, "rho"),
        "untrusted share": figure(
            bootstrap_mean((~gates[0]).astype(np.float64), states.instance), None
        ),
    }
    figures["curve"] = [
        _curve_row(scope, measured, step, score) for step in subject.steps if len(subject.steps) > 1
    ]
    figures["by_depth"] = alpha_by_depth(states)
    figures["deciles"] = decile_rows(states)
    figures["rho"] = histogram(states.numbers["rho"])
    figures["cells"] = cell_rows(states, gates)
    if "kappa" in states.numbers:
        figures["kappa"] = histogram(states.numbers["kappa"])
        figures["pi"] = {
            "mean kappa": mean(states, "kappa"),
            "kappa of 0": float((states.numbers["kappa"] == 0).mean()),
            "PI active": figure(bootstrap_mean(gates[1].astype(float), states.instance), None),
        }
        sources = measured.facts["pi sources"]
        if sources:
            figures |= pi_figures(states, sources)
        else:
            found.missing["PI by source"] = "needs a local teacher with at most four PI sources"
    else:
        found.missing["kappa"] = "no PI: give `pi:` and teacher.adapters in the configuration"
    if not np.isfinite(states.numbers["outcome"]).any():
        found.missing["outcome by rho"] = "no graded trajectory: run `harness grade` on the runs"
    groups = [one.group for one in scope.trajectories]
    segments = segment_figures(measured.steps[subject.steps[-1]], groups)
    figures |= segments.figures
    found.missing |= segments.missing
    _ledger(subject, scope, found)
    if options.baseline is not None:
        mine = Visited(states.numbers["rho"], states.numbers["outcome"], states.instance)
        found.figures["gains"] = gain_rows(mine, options.baseline / "states.parquet", score)
    return found


def _ledger(subject: Subject, scope: Scope, found: Figures) -> None:
    if subject.ledger is None:
        found.missing["routes in training"] = "no ledger: give the folder of a CHOP training"
        return
    settings = getattr(subject.settings.method, "ledger", None)
    most = None if settings is None else settings.states_per_trajectory
    found.figures["routing"] = routing_by_step(subject.ledger, scope.trajectories, most)
    found.figures["routed_cells"] = cells_of_ledger(subject.ledger, scope.trajectories, most)


def _curve_row(scope: Scope, measured: Measured, step: int, score: Score) -> dict[str, Any]:
    states = join_states(scope.trajectories, measured.steps[step], scope.given)
    add_rho(states, score)
    alpha = int(np.isfinite(states.numbers["alpha"]).sum())
    return {
        "step": step,
        "states with alpha": alpha,
        "alpha_diag": figure(alpha_diag(states)),
        **{name: mean(states, name) for name in ("rho", "tv", "kl", "student_entropy")},
    }


def _lists(
    scope: Scope, options: DiagnosisOptions, states: States, found: Figures, out: Path
) -> None:
    """The files that rollouts can take up, and what came of the resets."""
    write_reference_states(
        out / "reference_states.jsonl",
        [(one, _references(one, options)) for one in scope.trajectories],
    )
    resets = choose_resets(_turns(scope, states), options.resets, seed=options.seed)
    write_resets(out / "resets.jsonl", resets)
    if scope.outcomes is None:
        found.missing["resets"] = (
            "no outcomes: run resets.jsonl, and give what came of it with --outcomes"
        )
        return
    try:
        found.figures |= reset_figures(reset_effects(resets, scope.outcomes))
    except ValueError as error:
        raise DataError(
            f"{options.outcomes}: {error}: they belong to other trajectories or options"
        ) from None


def _references(one: Trajectory, options: DiagnosisOptions) -> list[int]:
    numbers = reference_states(one.name, one.sampled_tokens, options.states, options.seed)
    found: list[int] = one.positions[numbers].tolist()
    return found


def _turns(scope: Scope, states: States) -> list[State]:
    """The agent's turns, each with the mean ρ of its tokens."""
    found, start = [], 0
    for one in scope.trajectories:
        for turn in one.turns:
            count = turn.end - turn.start
            if count:
                rho = float(states.numbers["rho"][start : start + count].mean())
                found.append(State(one.name, one.group, turn.number, turn.start, rho))
            start += count
    return found


def _data(scope: Scope) -> dict[str, Any]:
    graded = [one.outcome for one in scope.trajectories if one.outcome is not None]
    return {
        "trajectories": len(scope.trajectories),
        "of all": len(scope.data.trajectories),
        "instances": len({one.group for one in scope.trajectories}),
        "states": sum(one.sampled_tokens for one in scope.trajectories),
        "graded": len(graded),
        "resolved": sum(graded),
        **dict(sorted(scope.data.counts.items())),
    }


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
