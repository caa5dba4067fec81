"""Trainings whose teacher has privileged information, from a configuration."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from tests.trainers.data.contexts_on_disk import write_contexts
from tests.trainers.engine.conftest import PI_SOURCES
from tests.trainers.engine.material import settings, validated, write_model
from tests.trainers.engine.test_trainer import adapter, metrics, numbers, stopped_after
from tests.trainers.teachers.pi_material import write_adapter
from trainers.data.errors import DataError
from trainers.data.packing import Columns
from trainers.data.runs import read_runs
from trainers.engine.errors import MismatchError
from trainers.engine.run import plan, train
from trainers.engine.show import show_plan
from trainers.methods.base import Role
from trainers.methods.opsd import OPSD
from trainers.teachers.make import make_teachers

CPU = torch.device("cpu")


def opsd(
    out: Path, models: dict[str, Path], run: Path, contexts: Path, **teacher: Any
) -> dict[str, Any]:
    values = settings(out, models, run, method={"name": "opsd"})
    values["teacher"] |= teacher
    return values | {"pi": {"contexts": [str(contexts)]}}


def named(adapters: dict[str, Path]) -> dict[str, str]:
    return {name: str(path) for name, path in adapters.items()}


def test_uniform_pi_is_learned_and_resumed_to_the_bit(
    models: dict[str, Path],
    run: Path,
    contexts: Path,
    pi_adapters: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extra = {"adapters": named(pi_adapters), "cache": str(tmp_path / "cache")}
    train(validated(opsd(tmp_path / "straight", models, run, contexts, **extra)))
    halted = validated(opsd(tmp_path / "halted", models, run, contexts, **extra))
    stopped_after(2, halted, monkeypatch)
    train(halted)
    assert numbers(tmp_path / "straight") == numbers(tmp_path / "halted")
    one, other = adapter(tmp_path / "straight"), adapter(tmp_path / "halted")
    assert all(torch.equal(one[name], other[name]) for name in one)
    losses = [line["loss"] for line in metrics(tmp_path / "straight")]
    assert losses[-1] < losses[0]


def test_a_student_may_teach_itself_with_pi_in_its_prompt(
    models: dict[str, Path], run: Path, contexts: Path, tmp_path: Path
) -> None:
    """At the start the only difference is PI: none where there is no text."""
    values = opsd(tmp_path, models, run, contexts, model=str(models["student"]), interface="prompt")
    values["pi"]["sources"] = ["call_graph"]
    values["optimiser"]["steps"] = 1
    train(validated(values))
    assert metrics(tmp_path)[0]["loss"] > 0.01
    teachers = make_teachers(validated(values), CPU)
    assert teachers.keys() == {Role.PI_TEACHER}
    pair = teachers[Role.PI_TEACHER].owner  # type: ignore[attr-defined]
    for one in read_runs([run], "student", max_tokens=500).trajectories:
        (states,) = pair.states([one])
        assert torch.equal(states.base, states.pi) == one.group.endswith("1"), one.name


def test_uniform_pi_is_the_reverse_kl_to_the_pi_teacher() -> None:
    student, teacher = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    log_p, log_q = student.log_softmax(-1), teacher.log_softmax(-1)
    found = OPSD().tokens([student, teacher], cast(Columns, None))["loss"]
    torch.testing.assert_close(found, (log_p.exp() * (log_p - log_q)).sum(-1))


def test_both_roles_are_one_teacher(
    models: dict[str, Path], run: Path, contexts: Path, pi_adapters: dict[str, Path], tmp_path: Path
) -> None:
    values = opsd(tmp_path, models, run, contexts, adapters=named(pi_adapters))
    teachers = make_teachers(validated(values | {"method": {"name": "chop"}}), CPU)
    assert [*teachers] == [Role.TEACHER, Role.PI_TEACHER]
    assert len({id(each.owner) for each in teachers.values()}) == 1  # type: ignore[attr-defined]
    one = values | {"method": {"name": "opsd", "pi_sources": ["gold_patch"]}}
    assert validated(one).sources == ("gold_patch",)


def test_the_plan_counts_pi(
    models: dict[str, Path], run: Path, contexts: Path, pi_adapters: dict[str, Path], tmp_path: Path
) -> None:
    values = validated(opsd(tmp_path, models, run, contexts, adapters=named(pi_adapters)))
    text = show_plan(values, plan(values))
    assert "12 turns with PI of gold_patch" in text
    assert "8 turns with PI of call_graph" in text


def test_chop_trains_with_a_pi_teacher(
    models: dict[str, Path], run: Path, contexts: Path, pi_adapters: dict[str, Path], tmp_path: Path
) -> None:
    values = opsd(tmp_path, models, run, contexts, adapters=named(pi_adapters))
    segments = {"count": 2, "length": 3, "anchors": 2}
    values["method"] = {"name": "chop", "segments": segments}
    train(validated(values))
    assert all(line["kappa"] > 0 for line in metrics(tmp_path))


def test_what_does_not_belong_is_refused(
    models: dict[str, Path], run: Path, contexts: Path, pi_adapters: dict[str, Path], tmp_path: Path
) -> None:
    def refused(error: type[Exception], text: str, pi: Any = None, **teacher: Any) -> None:
        values = opsd(tmp_path / "out", models, run, contexts, **teacher)
        with pytest.raises(error, match=text):
            train(validated(values | ({} if pi is None else {"pi": pi})))

    whole = named(pi_adapters)
    swapped = {"call_graph": whole["gold_patch"]}
    refused(MismatchError, "trained for PI source 'gold_patch', not 'call_graph'", adapters=swapped)
    foreign = write_adapter(tmp_path / "foreign", write_model(tmp_path / "m", 5, hidden_size=40), 1)
    text = f"adapter {foreign} was trained on weights"
    refused(MismatchError, text, adapters={"call_graph": str(foreign)})
    broken = write_adapter(tmp_path / "broken", models["teacher"], 3)
    file = broken / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    text = f"adapter {broken}: needs adapter_config.json and adapter_model.safetensors"
    refused(MismatchError, text, adapters={"call_graph": str(broken)})
    refused(ValidationError, "no PI source is left")
    refused(
        ValidationError,
        "none for PI source 'gold_patch'",
        adapters={"call_graph": "a"},
        pi={"contexts": [str(contexts)], "sources": ["gold_patch"]},
    )
    refused(ValidationError, "not both", adapters=whole, adapter="a")
    refused(ValidationError, "no weights to compose", interface="prompt", composition="weights")
    few = write_contexts(
        tmp_path / "few.parquet",
        [("rollouts", "owner__repo-0", 0, 1, name, "x") for name in PI_SOURCES],
    )
    refused(
        DataError,
        r"no PI of source 'call_graph' for instance owner__repo-0.*seed 1",
        adapters=whole,
        pi={"contexts": [str(few)]},
    )
    lenient = opsd(tmp_path / "lenient", models, run, few, adapters=whole)
    lenient["pi"]["missing"] = "empty"
    train(validated(lenient))
    longer = write_contexts(
        tmp_path / "long.parquet",
        [("rollouts", "owner__repo-0", 0, 1, "call_graph", "x" * 600)],
    )
    pi = {"contexts": [str(longer)], "sources": ["call_graph"], "missing": "empty"}
    refused(
        MismatchError,
        r"rollouts/owner__repo-0/0#0 has \d+ tokens with its PI, but model teacher takes 512",
        adapters=whole,
        pi=pi,
    )


@pytest.mark.parametrize("change", ["modules_to_save", "init_lora_weights", "lm_head"])
def test_an_adapter_that_changes_more_than_projections_is_refused(
    models: dict[str, Path], run: Path, contexts: Path, tmp_path: Path, change: str
) -> None:
    folder = write_adapter(tmp_path / "head", models["teacher"], 3)
    config = folder / "adapter_config.json"
    values = json.loads(config.read_text())
    if change == "lm_head":
        file = folder / "adapter_model.safetensors"
        tensors = load_file(file) | {"base_model.model.lm_head.lora_A.weight": torch.zeros(2, 40)}
        save_file(tensors, file, metadata={"format": "pt"})
    else:
        values[change] = {"modules_to_save": ["lm_head"], "init_lora_weights": "pissa"}[change]
        config.write_text(json.dumps(values))
    given = opsd(tmp_path / "out", models, run, contexts, adapters={"call_graph": str(folder)})
    with pytest.raises(MismatchError, match=f"adapter {folder} is more than.*{change}"):
        train(validated(given))
