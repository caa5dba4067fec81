"""CHOP's switches, gates and routes, on a few states."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from tests.trainers.methods.toys import columns, logits
from tests.trainers.segments.material import trajectory
from trainers.data.errors import DataError
from trainers.data.packing import make_row
from trainers.losses.divergences import entropy, kl, log_probs, total_variation
from trainers.methods.base import Role
from trainers.methods.chop import CHOP
from trainers.methods.chop_settings import DEPLOYABLE

N = 6
GIVEN = {"kind": "given", "entropy_weight": 0.3, "tv_weight": 0.2}
P, Q, Q_PI = (log_probs(logits(seed, N)) for seed in (1, 2, 3))
RHO = (-0.3 * entropy(Q) - 0.2 * total_variation(P, Q)).exp()
KAPPA = total_variation(Q, Q_PI)
MIDDLE_RHO, MIDDLE_KAPPA = (float(each.sort().values[2:4].mean()) for each in (RHO, KAPPA))
STATIC = {"kind": "static", "reliability": MIDDLE_RHO, "pi": MIDDLE_KAPPA}


def chop(**changes: Any) -> CHOP:
    return CHOP.model_validate({"reliability": GIVEN, "thresholds": STATIC, **changes})


def found(method: CHOP, outcome: float = 0.0) -> dict[str, Tensor]:
    known = columns(torch.arange(N))._replace(outcome=torch.full((N,), outcome))
    return method.tokens([P, Q, Q_PI], known)


def test_gates_choose_object_and_teacher() -> None:
    result = found(chop())
    trusted, active = RHO > MIDDLE_RHO, KAPPA > MIDDLE_KAPPA
    assert torch.equal(result["trusted"], trusted)
    assert torch.equal(result["pi_active"], active)
    assert 0 < int((trusted & active).sum()) < int(trusted.sum()), "the toy has all cells"
    expected = torch.where(active, kl(P, Q_PI), kl(P, Q))
    torch.testing.assert_close(result["loss"], torch.where(trusted, expected, 0))
    rewarded = found(chop(), outcome=1.0)["loss"]
    term = -0.1 * P[torch.arange(N), torch.arange(N)]
    torch.testing.assert_close(rewarded, torch.where(trusted, expected, term))
    assert torch.equal(found(chop(outcome_weight=0), outcome=1.0)["loss"], result["loss"])
    assert torch.equal(found(chop(outcome_weight=0), outcome=torch.nan)["loss"], result["loss"])


@pytest.mark.parametrize(
    ("changes", "trusted", "active"),
    [
        ({"pi": "always"}, RHO > MIDDLE_RHO, KAPPA >= 0),
        ({"pi": "none"}, RHO > MIDDLE_RHO, KAPPA < 0),
        ({"granularity": "token"}, RHO >= 0, KAPPA > MIDDLE_KAPPA),
        ({"three_cells": True}, RHO > MIDDLE_RHO, (KAPPA > MIDDLE_KAPPA) & (RHO <= MIDDLE_RHO)),
        ({"noise_floor": float(KAPPA.max())}, RHO > MIDDLE_RHO, KAPPA < 0),
        ({"reliability_floor": 0.0}, RHO >= 0, KAPPA > MIDDLE_KAPPA),
        ({"thresholds": {"kind": "streaming"}}, RHO >= 0, KAPPA < 0),
        ({"reliability": {"kind": "outcome_free"}}, RHO >= 0, KAPPA > MIDDLE_KAPPA),
    ],
)
def test_a_switch_does_what_it_says(
    changes: dict[str, Any], trusted: Tensor, active: Tensor
) -> None:
    method = chop(**changes)
    result = found(method)
    assert torch.equal(result["trusted"], trusted)
    assert torch.equal(result["pi_active"], active)
    divergence = torch.where(active, kl(P, Q_PI), kl(P, Q))
    torch.testing.assert_close(result["loss"], torch.where(trusted, divergence, 0))
    assert method.keeps_prefix == (changes.get("granularity") != "token")
    assert (Role.PI_TEACHER in method.roles) == (changes.get("pi") != "none")


def test_a_logistic_reliability() -> None:
    slopes = {"kind": "logistic", "entropy_slope": 2, "tv_slope": 3, "entropy_maximum": 1.5}
    expected = (2 * (1.5 - entropy(Q)) - 3 * total_variation(P, Q)).sigmoid()
    torch.testing.assert_close(found(chop(reliability=slopes))["rho"], expected)


def step_of(count: int, seed: int = 0) -> dict[str, dict[str, np.typing.NDArray[np.float64]]]:
    rng = np.random.default_rng(seed)
    names = ("rho", "kappa", "teacher_entropy", "tv")
    return {f"t{k}": {name: rng.random(count) for name in names} for k in range(3)}


def test_calibration_takes_the_first_states_and_stays() -> None:
    """... and the threshold of ρ is observed from then on."""
    streaming = {"kind": "streaming", "window": 40, "warm_up": 30, "per_trajectory": 10}
    free = {"kind": "outcome_free", "states": 50}
    method = chop(reliability=free, thresholds=streaming)
    gates = method._gates
    first, second, third = (step_of(30, seed) for seed in range(3))
    method.observe(first)
    assert gates.reliability is None
    assert gates.thresholds.reliability is None
    assert gates.thresholds.pi is not None
    again = chop(reliability=free, thresholds=streaming)
    again.load_state_dict(method.state_dict())
    for one in (method, again):
        one.observe(second)
        seen = [found["tv"] for step in (first, second) for _, found in sorted(step.items())]
        assert gates.reliability is not None
        assert 1 / gates.reliability.tv_weight <= max(map(np.max, seen))
        assert one._gates.thresholds.reliability is None
        one.observe(third)
    assert again.state_dict()["weights"] == method.state_dict()["weights"]
    assert again._gates.thresholds == gates.thresholds
    assert gates.thresholds.reliability is not None
    whole = chop(
        reliability={"kind": "outcome_free", "states": 90},
        thresholds=streaming | {"per_trajectory": 40, "warm_up": 9},
    )
    whole.observe(first)
    largest = [
        max(found[name].max() for found in first.values()) for name in ("teacher_entropy", "tv")
    ]
    assert whole.state_dict()["weights"] == pytest.approx([1 / each for each in largest])


def test_presets() -> None:
    assert CHOP.model_validate({"preset": "deployable"}).pi_sources == DEPLOYABLE
    oracle = CHOP.model_validate({"preset": ["oracle", "literal_q70"]})
    assert oracle.pi_sources is not None
    assert "gold_patch" in oracle.pi_sources
    assert oracle.thresholds.reliability_quantile == 0.7  # type: ignore[union-attr]
    assert CHOP().thresholds.reliability_quantile == 0.3  # type: ignore[union-attr]
    given = CHOP.model_validate({"preset": "deployable", "pi_sources": ["call_graph"]})
    assert given.pi_sources == ("call_graph",)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"preset": "best"}, "no preset 'best': there are deployable, oracle, literal_q70"),
        ({"segments": {"distance": "mmd", "estimator": "vanilla"}}, "mmd has none"),
        ({"thresholds": {"kind": "streaming", "window": 9}}, "a warm-up of 1024 states"),
        ({"segments": {"count": 1}}, "greater than or equal to 2"),
        ({"route": {"kind": "depth", "pi": [0.5]}}, "at least 10 items"),
    ],
)
def test_settings_that_make_no_sense(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CHOP.model_validate(values)


def test_an_ungraded_trajectory_has_no_outcome() -> None:
    from dataclasses import replace

    ungraded = replace(trajectory("run/a/0#0", 9), outcome=None)
    with pytest.raises(DataError, match=r"run/a/0#0 has no grade: run `harness grade`"):
        CHOP().prepare([ungraded])
    assert CHOP(outcome_weight=0).prepare([ungraded]) == [ungraded]


def routed(method: CHOP, step: int = 0) -> tuple[Tensor, Tensor]:
    """Decisions for a row of 300 + 40 sampled tokens."""
    row = make_row([trajectory("run/a/0#0", 303), trajectory("run/b/0#0", 43)])
    method.begin_row(row, step, 0)
    assert method._route is not None
    known = row.columns._replace(sampled=torch.zeros(340, dtype=torch.int64))
    found = method.tokens([each[:1].expand(340, -1) for each in (P, Q, Q_PI)], known)
    assert torch.equal(found["trusted"], method._route.trusted)
    assert torch.equal(found["pi_active"], method._route.pi_active)
    chunk = type(known)(*(each[100:105] for each in known))
    part = method.tokens([each[:1].expand(5, -1) for each in (P, Q, Q_PI)], chunk)
    assert torch.equal(part["trusted"], method._route.trusted[100:105])
    return found["trusted"], found["pi_active"]


def test_a_random_route_keeps_its_quota() -> None:
    method = chop(route={"kind": "random", "untrusted": 0.2, "pi": 0.6})
    trusted, active = routed(method)
    assert 0.12 < 1 - float(trusted.float().mean()) < 0.28
    assert 0.5 < float(active.float().mean()) < 0.7
    assert torch.equal(routed(method)[0], trusted)
    assert not torch.equal(routed(method, step=1)[0], trusted)


def test_a_route_by_depth() -> None:
    late = [0.0] * 9 + [1.0]
    trusted, active = routed(chop(route={"kind": "depth", "untrusted": late, "pi": late[::-1]}))
    assert (~trusted).nonzero().squeeze(-1).tolist() == [*range(270, 300), *range(336, 340)]
    assert active.nonzero().squeeze(-1).tolist() == [*range(30), *range(300, 304)]


def test_a_route_of_a_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    places = [
        (name, token)
        for name, length in (("run/a/0#0", 303), ("run/b/0#0", 43))
        for token in range(3, length)
    ]
    flips = rng.random((len(places), 2)) < 0.5
    rows = [
        {"trajectory": name, "token": token, "trusted": bool(one), "pi_active": bool(other)}
        for (name, token), (one, other) in zip(places, flips, strict=True)
    ]
    path = tmp_path / "oracle.parquet"
    pq.write_table(pa.Table.from_pylist(rows[::-1]), path)
    method = chop(route={"kind": "file", "path": path})
    both = [trajectory("run/a/0#0", 303), trajectory("run/b/0#0", 43)]
    method.prepare(both)
    trusted, active = routed(method)
    assert trusted.tolist() == [row["trusted"] for row in rows]
    assert active.tolist() == [row["pi_active"] for row in rows]
    pq.write_table(pa.Table.from_pylist(rows[:7] + rows[8:]), path)
    with pytest.raises(DataError, match=r"no route for token 10 of run/a/0#0"):
        method.prepare(both)
    path.write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"oracle\.parquet: no file of routes"):
        method.prepare(both)
