"""A tiny student that CHOP trained, its runs, and the PI of its teacher."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.trainers.data.contexts_on_disk import write_contexts
from tests.trainers.data.runs_on_disk import write_run
from tests.trainers.engine.material import settings, validated, write_model
from tests.trainers.teachers.pi_material import write_adapter
from trainers.data.runs import read_runs
from trainers.engine.run import train
from trainers.serving.shipped import file_sha256

SOURCES = ("call_graph", "gold_patch")


class Trained(NamedTuple):
    """A training's folder, its settings as a YAML file would hold them, and its runs."""

    folder: Path
    values: dict[str, Any]
    run: Path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Three steps of CHOP; instance 1 has no call graph."""
    root = tmp_path_factory.mktemp("diagnosed")
    models = {
        "student": write_model(root / "student", 0),
        "teacher": write_model(root / "teacher", 1, hidden_size=40),
    }
    tokenizer = file_sha256(models["student"] / "tokenizer.json")
    run = write_run(root / "rollouts", instances=3, seeds=2, tokenizer=tokenizer)
    rows = []
    for one in read_runs([run], "student", max_tokens=500).trajectories:
        name, instance, seed = one.name.partition("#")[0].split("/")
        for turn in one.turns:
            graph = "" if instance.endswith("1") else f"f{seed} -> g"
            rows.append((name, instance, int(seed), turn.number, "call_graph", graph))
            rows.append((name, instance, int(seed), turn.number, "gold_patch", f"+{turn.number}"))
    method = {
        "name": "chop",
        "segments": {"count": 2, "length": 2, "anchors": 1},
        "thresholds": {"kind": "streaming", "warm_up": 10},
        "reliability": {"kind": "outcome_free", "states": 20},
        "ledger": {"states_per_trajectory": 5},
    }
    values = settings(root / "trained", models, run, method=method)
    values["teacher"]["adapters"] = {
        name: str(write_adapter(root / name, models["teacher"], seed, name))
        for seed, name in enumerate(SOURCES)
    }
    values["pi"] = {"contexts": [str(write_contexts(root / "pi.parquet", rows))]}
    values["optimiser"]["steps"] = 3
    values["checkpoints"] = {"every": 1, "keep": 2}
    train(validated(values))
    return Trained(root / "trained", values, run)
