"""The loop: one normaliser, resuming to the bit, guards that stop before harm is done."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import PrivateAttr
from safetensors.torch import load_file
from torch import Tensor

from tests.trainers.engine.material import settings, validated
from trainers.data.errors import DataError
from trainers.data.packing import Columns
from trainers.data.runs import read_runs
from trainers.engine.config import TrainSettings
from trainers.engine.errors import CheckpointError, DivergedError
from trainers.engine.material import gather_material
from trainers.engine.networks import load_student
from trainers.engine.run import train
from trainers.methods.sft import SFT
from trainers.serving.shipped import ModelError


def metrics(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def numbers(out: Path) -> list[dict[str, Any]]:
    """The metrics but for the times, and for what teachers did: a cache spares it."""
    spent = ("seconds", "teacher_tokens")
    return [{k: v for k, v in line.items() if k not in spent} for line in metrics(out)]


def adapter(out: Path) -> dict[str, Tensor]:
    return load_file(out / "final" / "adapter_model.safetensors")


def sft(out: Path, models: dict[str, Path], run: Path, **changes: Any) -> dict[str, Any]:
    """Maximum likelihood of everything, in full batches."""
    return settings(
        out,
        models,
        run,
        method={"name": "sft", "resolved_only": False},
        student={"model": str(models["student"]), "dtype": "float32", "adapter": None},
        **{"batch": {"trajectories": 6, "row_tokens": 64, "chunk": 7}, **changes},
    )


def test_the_loss_is_the_mean_over_all_tokens_however_they_are_packed(
    models: dict[str, Path], run: Path, tmp_path: Path
) -> None:
    curves = []
    for row_tokens, chunk in ((1, 5), (40, 3), (4096, 4096)):
        batch = {"trajectories": 6, "row_tokens": row_tokens, "chunk": chunk}
        out = tmp_path / str(row_tokens)
        train(validated(sft(out, models, run, batch=batch)))
        curves.append([(line["loss"], line["gradient_norm"]) for line in metrics(out)])
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-5)
    np.testing.assert_allclose(curves[2], curves[0], rtol=1e-5)
    data = read_runs([run], "student", max_tokens=500).trajectories
    student = validated(sft(tmp_path, models, run)).student
    model = load_student(student, torch.device("cpu")).causal
    total = torch.zeros(())
    for one in data:
        ids = torch.from_numpy(one.ids).long()[None]
        log_p = model(input_ids=ids, use_cache=False).logits[0].log_softmax(-1)
        total -= sum(log_p[at - 1, one.ids[at]] for at in one.positions)
    tokens = sum(one.sampled_tokens for one in data)
    assert metrics(tmp_path / "1")[0]["loss"] == pytest.approx(total.item() / tokens, rel=1e-5)
    torch.autograd.backward(total / tokens)
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])
    assert metrics(tmp_path / "1")[0]["gradient_norm"] == pytest.approx(float(norm), rel=1e-4)


def test_training_learns(models: dict[str, Path], run: Path, tmp_path: Path) -> None:
    optimiser = {"steps": 12, "learning_rate": 0.02, "schedule": "constant"}
    train(validated(sft(tmp_path, models, run, optimiser=optimiser)))
    losses = [line["loss"] for line in metrics(tmp_path)]
    assert losses[-1] < 0.5 * losses[0]


def stopped_after(steps: int, values: TrainSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train until the checkpoint of a step is written, and go away without a word."""
    from trainers.engine import trainer

    original = trainer.Trainer._save

    class GoneError(Exception):
        pass

    def save(self: trainer.Trainer, step: int) -> None:
        original(self, step)
        if step == steps:
            raise GoneError

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "_save", save)
        with pytest.raises(GoneError):
            train(values)


DROPOUT = {"rank": 2, "alpha": 4, "dropout": 0.2}


def test_a_resumed_training_is_the_same_to_the_bit(
    models: dict[str, Path], run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = {"model": str(models["student"]), "dtype": "float32", "adapter": DROPOUT}
    straight = settings(tmp_path / "straight", models, run, student=student)
    train(validated(straight))
    halted = settings(tmp_path / "halted", models, run, student=student)
    stopped_after(2, validated(halted), monkeypatch)
    torch.manual_seed(77)
    (tmp_path / "halted" / "metrics.jsonl").open("a").write(
        '{"step": 3, "loss": 9}\n{"step": 4, "lo'
    )
    train(validated(halted))
    assert numbers(tmp_path / "straight") == numbers(tmp_path / "halted")
    one, other = adapter(tmp_path / "straight"), adapter(tmp_path / "halted")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    again = numbers(tmp_path / "halted")
    train(validated(halted))
    assert numbers(tmp_path / "halted") == again
    another = settings(tmp_path / "seed", models, run, student=student, seed=1)
    train(validated(another))
    assert numbers(tmp_path / "seed") != again


def test_a_damaged_checkpoint_is_refused_or_skipped(
    models: dict[str, Path], run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = settings(tmp_path / "a", models, run)
    train(validated(values | {"out": str(tmp_path / "b")}))
    stopped_after(3, validated(values), monkeypatch)
    tensors = tmp_path / "a" / "checkpoints" / "step-000003" / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:100])
    with pytest.raises(
        CheckpointError, match=r"step-000003 is damaged: tensors\.safetensors has 100"
    ):
        train(validated(values))
    train(validated(values), skip_damaged=True)
    assert numbers(tmp_path / "a") == numbers(tmp_path / "b")


class Counting(SFT):
    """A method with a state that its loss depends on."""

    name: Literal["counting"] = "counting"  # type: ignore[assignment]
    _seen: list[dict[str, dict[str, list[float]]]] = PrivateAttr(default_factory=list)
    observes = ("student_entropy",)

    def tokens(self, logits: Any, columns: Columns) -> dict[str, Tensor]:
        found = super().tokens(logits, columns)
        return found | {"loss": found["loss"] * (1 + len(self._seen))}

    def observe(self, step: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> None:
        self._seen.append({k: {n: v.tolist() for n, v in e.items()} for k, e in step.items()})

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self._seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._seen = list(state["seen"])


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_a_method_sees_its_results_and_keeps_its_state(
    models: dict[str, Path], run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counting(out: Path) -> TrainSettings:
        values = validated(sft(out, models, run))
        return values.model_copy(update={"method": Counting(resolved_only=False)})

    straight = counting(tmp_path / "straight")
    train(straight)
    assert isinstance(straight.method, Counting)
    seen = straight.method._seen
    assert len(seen) == 4
    data = read_runs([run], "student", max_tokens=500).trajectories
    assert {k: len(v["student_entropy"]) for k, v in seen[0].items()} == {
        one.name: one.sampled_tokens for one in data
    }
    mean = np.mean([x for each in seen[0].values() for x in each["student_entropy"]])
    assert metrics(tmp_path / "straight")[0]["student_entropy"] == pytest.approx(mean)
    halted = tmp_path / "halted"
    stopped_after(2, counting(halted), monkeypatch)
    train(counting(halted))
    assert numbers(halted) == numbers(tmp_path / "straight")


@pytest.mark.parametrize("rate", [1e30, 1e4])
def test_a_divergence_stops_and_saves_the_batch(
    models: dict[str, Path], run: Path, tmp_path: Path, rate: float
) -> None:
    """One rate makes weights that are no numbers, the other a loss far above the ones before."""
    values = sft(tmp_path, models, run, guards={"factor": 1.5, "window": 1})
    values["optimiser"] = {"steps": 9, "learning_rate": rate, "schedule": "constant"}
    values["optimiser"]["clip_norm"] = 1e9
    with pytest.raises(
        DivergedError, match=r"stopped before step (\d): the (loss|gradient)"
    ) as stop:
        train(validated(values))
    (batch,) = (tmp_path / "stopped").glob("*.safetensors")
    assert str(batch) in str(stop.value)
    facts = json.loads(batch.with_suffix(".json").read_text())
    assert load_file(batch).keys() == set(facts["trajectories"])
    assert len(facts["trajectories"]) == 6
    assert not (tmp_path / "final").exists()
    assert len(metrics(tmp_path)) == facts["step"] - 1


def test_a_teacher_that_is_no_number_stops_before_the_student_learns_it(
    models: dict[str, Path], run: Path, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    broken = tmp_path / "broken"
    broken.mkdir()
    for path in models["teacher"].iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    weights = load_file(broken / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 3] = torch.nan
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    values = settings(tmp_path / "out", models, run)
    values["teacher"] = {"model": str(broken), "dtype": "float32"}
    with pytest.raises(ModelError, match=f"{broken}.*gives logits that are no numbers"):
        train(validated(values))


def test_what_teachers_were_run_on_is_counted(
    models: dict[str, Path], run: Path, tmp_path: Path
) -> None:
    teacher = {"model": str(models["teacher"]), "dtype": "float32"}
    cached = teacher | {"cache": str(tmp_path / "cache")}
    for name, each in {"plain": teacher, "first": cached, "again": cached}.items():
        train(validated(settings(tmp_path / name, models, run) | {"teacher": each}))
    plain, first, again = (
        [line["teacher_tokens"] for line in metrics(tmp_path / name)]
        for name in ("plain", "first", "again")
    )
    lengths = {len(one.ids) for one in read_runs([run], "student", max_tokens=500).trajectories}
    assert sum(plain) > sum(first) >= sum(lengths)
    assert not any(again)


def test_instances_that_are_left_out_are_not_trained_on(
    models: dict[str, Path], run: Path, tmp_path: Path
) -> None:
    values = settings(tmp_path / "out", models, run)
    groups = sorted({one.group for one in gather_material(validated(values)).trajectories})
    values["data"]["leave_out"] = [groups[0]]
    left = gather_material(validated(values))
    assert sorted({one.group for one in left.trajectories}) == groups[1:]
    assert left.data.counts["sequences left out: data.leave_out"] > 0
    for pattern, message in ("nobody__*", "'nobody__\\*' is no instance"), ("*", "no trajectory"):
        values["data"]["leave_out"] = [pattern]
        with pytest.raises(DataError, match=message):
            gather_material(validated(values))
