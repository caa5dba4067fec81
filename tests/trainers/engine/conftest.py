"""Models and a run that the tests of the engine share."""

from pathlib import Path

import pytest

from tests.trainers.data.contexts_on_disk import write_contexts
from tests.trainers.data.runs_on_disk import write_run
from tests.trainers.data.triples_on_disk import ten_triples, write_triples
from tests.trainers.engine.material import write_model
from tests.trainers.teachers.pi_material import write_adapter
from trainers.data.runs import read_runs
from trainers.serving.shipped import file_sha256

PI_SOURCES = ("call_graph", "gold_patch")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A student and a teacher with one tokeniser."""
    folder = tmp_path_factory.mktemp("engine-models")
    return {
        "student": write_model(folder / "student", 0),
        "teacher": write_model(folder / "teacher", 1, hidden_size=40),
    }


@pytest.fixture(scope="session")
def run(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that the student is said to have sampled."""
    tokenizer = file_sha256(models["student"] / "tokenizer.json")
    return write_run(tmp_path_factory.mktemp("engine-runs") / "rollouts", tokenizer=tokenizer)


@pytest.fixture(scope="session")
def pi_adapters(
    models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """An adapter of the teacher for each PI source."""
    folder = tmp_path_factory.mktemp("engine-adapters")
    return {
        name: write_adapter(folder / name, models["teacher"], seed, name)
        for seed, name in enumerate(PI_SOURCES)
    }


@pytest.fixture(scope="session")
def contexts(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of each source for each turn, but for one instance that has no call graph."""
    rows = []
    for one in read_runs([run], "student", max_tokens=500).trajectories:
        name, instance, seed = one.name.partition("#")[0].split("/")
        for turn in one.turns:
            graph = "" if instance.endswith("1") else f"f{seed} -> g"
            rows.append((name, instance, int(seed), turn.number, "call_graph", graph))
            rows.append((name, instance, int(seed), turn.number, "gold_patch", f"+{turn.number}"))
    return write_contexts(tmp_path_factory.mktemp("engine-contexts") / "pi.parquet", rows)


@pytest.fixture(scope="session")
def triples(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten triples of one PI source."""
    tokenizer = file_sha256(models["teacher"] / "tokenizer.json")
    folder = tmp_path_factory.mktemp("engine-triples")
    return write_triples(folder / "call_graph.parquet", ten_triples(), tokenizer)
