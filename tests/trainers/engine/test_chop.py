"""Training by CHOP: OPD where nothing is gated, continued to the bit, with a whole ledger."""

import json
import os
import signal
import socket
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from tests.trainers.data.contexts_on_disk import write_contexts
from tests.trainers.engine.material import settings, validated
from tests.trainers.engine.test_trainer import adapter, metrics, numbers, stopped_after
from trainers.adapters import measures
from trainers.engine.run import train
from trainers.methods.explain import main

GATES = {
    "reliability": {"kind": "outcome_free", "states": 20},
    "thresholds": {"kind": "streaming", "window": 200, "warm_up": 10, "per_trajectory": 9},
    "noise_floor": 0.0,
    "segments": {"anchors": 2, "count": 3, "length": 5, "projections": 4},
}


def write_hints(path: Path, run: str = "rollouts") -> Path:
    """PI for the first two of three turns of each attempt."""
    rows = [
        (run, f"owner__repo-{number}", seed, turn, "hint", f"look {number}" if turn < 3 else "")
        for number in range(3)
        for seed in range(2)
        for turn in range(1, 4)
    ]
    return write_contexts(path, rows)


def chop(
    out: Path,
    models: dict[str, Path],
    run: Path,
    changes: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """PI reaches the teacher as a prompt, so that no adapter is needed."""
    hints = out.parent / "hints.parquet"
    if not hints.exists():
        write_hints(hints)
    values = {
        "method": {"name": "chop"} | GATES | (changes or {}),
        "teacher": {"model": str(models["teacher"]), "dtype": "float32", "interface": "prompt"},
        "pi": {"contexts": [str(hints)], "sources": ["hint"]},
        "optimiser": {"steps": 5, "learning_rate": 0.01, "schedule": "linear"},
    }
    return settings(out, models, run, **(values | more))


def ledger(out: Path) -> list[dict[str, Any]]:
    rows = []
    for path in sorted((out / "ledger").glob("*")):
        with pq.ParquetFile(path) as file:
            rows += file.read().to_pylist()
    return rows


@pytest.mark.parametrize("pi", ["none", "gated"])
def test_without_a_gate_it_is_opd_to_the_bit(
    models: dict[str, Path], run: Path, tmp_path: Path, pi: str
) -> None:
    adapters = {"rank": 2, "alpha": 4, "dropout": 0.2}
    student = {"model": str(models["student"]), "dtype": "float32", "adapter": adapters}
    closed = {"thresholds": {"kind": "streaming"}, "pi": pi}
    train(validated(chop(tmp_path / "chop", models, run, closed, student=student)))
    plain = chop(tmp_path / "opd", models, run, student=student) | {"method": {"name": "opd"}}
    train(validated(plain | {"pi": None}))
    mine, theirs = metrics(tmp_path / "chop"), metrics(tmp_path / "opd")
    assert mine[-1]["trusted"] == 1
    assert mine[-1]["pi_active"] == 0
    assert (mine[-1]["kappa"] > 0) == (pi == "gated")
    exact = pi == "none"  # with PI, the teacher's rows share a batch, which rounds otherwise
    for key in ("loss", "gradient_norm", "tv", "teacher_entropy"):
        one, other = ([line[key] for line in lines] for lines in (mine, theirs))
        assert one == other if exact else one == pytest.approx(other, rel=1e-5)
    close = partial(torch.allclose, rtol=1e-3, atol=1e-4)
    for name, weights in adapter(tmp_path / "chop").items():
        expected = adapter(tmp_path / "opd")[name]
        assert torch.equal(weights, expected) or (not exact and close(weights, expected))


def test_the_noise_floor_is_measured_once_for_a_training(
    models: dict[str, Path], run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TV is at most 1, so that nothing passes a floor of 2."""

    def measured(floor: float) -> None:
        monkeypatch.setattr(measures, "noise", lambda *_: np.full(3, floor))

    halted = validated(chop(tmp_path / "halted", models, run, {"noise_floor": None}))
    measured(2.0)
    stopped_after(3, halted, monkeypatch)
    measured(0.0)
    train(halted)
    assert {line["pi_active"] for line in metrics(tmp_path / "halted")} == {0}
    train(validated(chop(tmp_path / "other", models, run, {"noise_floor": None})))
    assert metrics(tmp_path / "other")[-1]["pi_active"] > 0


def test_all_cells_and_a_continuation_to_the_bit(
    models: dict[str, Path],
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = {"ledger": {"states_per_trajectory": None}}
    student: dict[str, Any] = {"model": str(models["student"]), "dtype": "float32"}
    student |= {"adapter": {"rank": 2, "alpha": 4, "dropout": 0.2}}
    straight = chop(tmp_path / "straight", models, run, whole, student=student)
    train(validated(straight))
    halted = chop(tmp_path / "halted", models, run, whole, student=student)
    stopped_after(3, validated(halted), monkeypatch)
    late = tmp_path / "halted" / "ledger" / "step-000004.parquet"
    late.write_bytes(b"half a")  # what a step that has no checkpoint may have left
    (late.parent / "step-000005.draft").write_bytes(b"")
    torch.manual_seed(77)
    train(validated(halted))
    assert numbers(tmp_path / "straight") == numbers(tmp_path / "halted")
    one, other = adapter(tmp_path / "straight"), adapter(tmp_path / "halted")
    assert all(torch.equal(one[name], other[name]) for name in one)
    rows = ledger(tmp_path / "straight")
    assert ledger(tmp_path / "halted") == rows
    last = metrics(tmp_path / "straight")[-1]
    mine = [row for row in rows if row["step"] == 5]
    assert len(mine) == last["tokens"], "a row for each state of the step"
    assert len({(row["trajectory"], row["token"]) for row in mine}) == len(mine)
    assert sum(row["trusted"] for row in mine) / len(mine) == pytest.approx(last["trusted"])
    assert {row["cell"] for row in rows} == set("ABCD")
    for row in mine:
        assert row["trusted"] == (row["rho"] > row["reliability_threshold"])
        assert row["pi_active"] == (row["kappa"] > max(row["pi_threshold"], 0.0))
        assert (row["anchor_weight"] > 0) == (row["segment_distance"] > 0)
        assert not (row["trusted"] and row["anchor_weight"])
    by_name: dict[str, float] = {}
    for row in mine:
        untrusted = by_name.setdefault(row["trajectory"], 0.0)
        by_name[row["trajectory"]] = untrusted + (not row["trusted"]) - row["anchor_weight"]
    assert all(abs(left) < 1e-5 for left in by_name.values()), "anchors weigh what they stand for"
    anchor = next(row for row in mine if row["anchor_weight"])
    where = ["--trajectory", anchor["trajectory"], "--token", str(anchor["token"])]
    assert main([str(tmp_path / "straight"), *where, "--step", "5"]) == 0
    said = capsys.readouterr().out
    for text in (f"cell {anchor['cell']}", "not above τ", "untrusted", "it is an anchor"):
        assert text in said
    assert main([str(tmp_path / "straight"), *where[:3], "0"]) == 2
    assert "has no row for token 0" in capsys.readouterr().err


def test_each_part_of_the_loss_counts(models: dict[str, Path], run: Path, tmp_path: Path) -> None:
    """β, the segments' weight, PI and the estimator change the weights; so does the route."""
    base = {"thresholds": {"kind": "static", "reliability": 0.165, "pi": 0.75}}
    base |= {"reliability": {"kind": "given", "entropy_weight": 0.25, "tv_weight": 1.0}}
    found = {}
    variants: dict[str, dict[str, Any]] = {
        "base": {},
        "again": {},
        "no outcome": {"outcome_weight": 0},
        "no segments": {"segments": GATES["segments"] | {"weight": 0}},  # type: ignore[operator]
        "vanilla": {"segments": GATES["segments"] | {"estimator": "vanilla"}},  # type: ignore[operator]
        "always": {"pi": "always"},
        "tokens": {"granularity": "token"},
    }
    for name, changes in variants.items():
        values = chop(tmp_path / name, models, run, base | changes)
        values["optimiser"]["steps"] = 1
        train(validated(values))
        found[name] = torch.cat([each.flatten() for each in adapter(tmp_path / name).values()])
    assert torch.equal(found.pop("again"), found["base"])
    names = list(found)
    for number, name in enumerate(names):
        for other in names[:number]:
            assert not torch.equal(found[name], found[other]), (name, other)


def test_the_ledger_keeps_anchors_and_a_sample(
    models: dict[str, Path], run: Path, tmp_path: Path
) -> None:
    for most in (2, 0):
        out = tmp_path / str(most)
        kept = {"ledger": {"states_per_trajectory": most}}
        train(validated(chop(out, models, run, kept)))
        rows = ledger(out)
        assert sum(row["anchor_weight"] > 0 for row in rows) > 0
        others = [row for row in rows if not row["anchor_weight"]]
        trajectories = {(row["step"], row["trajectory"]) for row in rows}
        assert len(others) <= most * len(trajectories)
    sizes = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    assert sizes["step"] == 5
    assert load_file(out / "checkpoints" / "step-000005" / "tensors.safetensors")


def test_segments_need_whole_weights(models: dict[str, Path], run: Path, tmp_path: Path) -> None:
    sharded = chop(tmp_path / "a", models, run, sharding="fsdp")
    with pytest.raises(ValueError, match="method chop samples from the student in every step"):
        validated(sharded)
    sharded["method"]["granularity"] = "token"
    assert validated(sharded).sharding == "fsdp"


def forked(values: dict[str, Any], rank: int = 0, world: int = 1, port: int = 0) -> int:
    """Train in a child of this process, as one rank of several; its id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            torch.set_num_threads(1)
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            train(validated(values))
            code = 0
        finally:
            os._exit(code)
    return child


@pytest.mark.slow
def test_two_processes_and_a_killed_one_give_what_one_gives(
    models: dict[str, Path], run: Path, tmp_path: Path
) -> None:
    rows = {"trajectories": 5, "row_tokens": 40, "chunk": 7}
    steps = {"steps": 8, "learning_rate": 0.003, "schedule": "linear"}
    make = partial(chop, models=models, run=run, batch=rows, optimiser=steps)
    one, two, killed = (tmp_path / name for name in ("one", "two", "killed"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    write_hints(tmp_path / "hints.parquet")
    ranks = [forked(make(two), rank, 2, port) for rank in range(2)]
    assert [os.waitpid(each, 0)[1] for each in [forked(make(one)), *ranks]] == [0, 0, 0]
    for mine, theirs in zip(metrics(one), metrics(two), strict=True):
        for key in ("loss", "gradient_norm", "segment_distance", "trusted", "pi_active"):
            assert mine[key] == pytest.approx(theirs[key], rel=1e-5, abs=1e-9), key
    assert any(line["segment_distance"] for line in metrics(one))
    assert [row["token"] for row in ledger(two)] == [row["token"] for row in ledger(one)]
    again = make(killed) | {"checkpoints": {"every": 3, "keep": 2}}
    child = forked(again)
    deadline, journal = time.monotonic() + 120, killed / "metrics.jsonl"
    while time.monotonic() < deadline:
        if journal.exists() and journal.read_bytes().count(b"\n") >= 5:
            break
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL, "it was not in the middle any more"
    assert os.waitpid(forked(again), 0)[1] == 0
    assert numbers(killed) == numbers(one)
    assert ledger(killed) == ledger(one)
    found, expected = adapter(killed), adapter(one)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
