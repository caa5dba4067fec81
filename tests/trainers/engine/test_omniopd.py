"""OmniOPD from a configuration, with a teacher whose tokens are not the student's."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from harness.records import RunFolder, Verdict
from tests.trainers.data.runs_on_disk import SUBMISSION, call, write_attempt
from tests.trainers.engine.material import settings, validated, write_model
from tests.trainers.engine.test_trainer import adapter, metrics, numbers, stopped_after
from tests.trainers.tiny import byte_tokenizer
from trainers.cost import main as cost
from trainers.data.errors import DataError
from trainers.data.runs import read_runs
from trainers.engine.errors import TeacherError
from trainers.engine.networks import load_student
from trainers.engine.run import train
from trainers.methods.base import Role
from trainers.methods.omniopd import OmniOPD
from trainers.omniopd.posterior import posterior
from trainers.omniopd.similarity import SIMILARITIES
from trainers.serving.shipped import file_sha256
from trainers.teachers.local import BaseOfStudent
from trainers.teachers.make import make_teachers

TOKENIZER = byte_tokenizer()
METHOD = {"name": "omniopd", "chunks": 2, "chunk_tokens": 4, "rollouts": 3}


def ids_of(characters: Iterable[str]) -> list[int]:
    found: list[int] = TOKENIZER("".join(characters), add_special_tokens=False)["input_ids"]
    return found


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of whole characters, of which few are known, instead of bytes."""
    vocabulary = {"<s>": 0, "</s>": 1, "?": 2, **{chr(96 + n): 2 + n for n in range(1, 27)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    folder = tmp_path_factory.mktemp("stranger")
    return write_model(folder, 3, fast, vocab_size=len(vocabulary))


@pytest.fixture(scope="module")
def run(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Attempts of the student that are words, a byte each, two turns long."""
    root = RunFolder(tmp_path_factory.mktemp("omniopd-runs") / "rollouts")
    root.root.mkdir()
    root.config.write_text("schema_version: 1\nid: rollouts\n")
    sha = file_sha256(models["student"] / "tokenizer.json")
    root.lock.write_text(json.dumps({"model": {"tokenizer_sha256": sha}}))
    rng = np.random.default_rng(0)
    for number in range(4):
        history: list[int] = []
        calls = []
        for turn in (1, 2):
            prompt, sampled = (ids_of(rng.choice([*"abc d"], size)) for size in (6, 12))
            history += prompt
            calls.append(call(turn, history, [*sampled, SUBMISSION], logprobs=[-1.0 - number] * 13))
            history = [*history, *sampled, SUBMISSION]
        write_attempt(root, f"owner__repo-{number}", 0, calls, Verdict.RESOLVED)
    return root.root


def omniopd(
    out: Path, models: dict[str, Path], run: Path, stranger: Path, **changes: Any
) -> dict[str, Any]:
    values = settings(out, models, run, method=METHOD | changes.pop("method", {}))
    del values["teacher"]
    teacher = {"kind": "local", "model": str(stranger), "dtype": "float32", "prompt": "text"}
    return values | {"text_teacher": teacher} | changes


def audits(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(out / "audits.parquet").to_pylist()
    return found


def test_audits_are_what_they_say_and_a_stopped_training_is_the_same_to_the_bit(
    models: dict[str, Path],
    run: Path,
    stranger: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    straight, halted = tmp_path / "straight", tmp_path / "halted"
    train(validated(omniopd(straight, models, run, stranger)))
    stopped_after(2, validated(omniopd(halted, models, run, stranger)), monkeypatch)
    train(validated(omniopd(halted, models, run, stranger)))
    capsys.readouterr()
    assert numbers(straight) == numbers(halted)
    assert audits(straight) == audits(halted)
    one, other = adapter(straight), adapter(halted)
    assert all(one[name].equal(other[name]) for name in one)
    assert any(bool(one[name].any()) for name in one if "lora_B" in name)

    trajectories = {
        each.name: each for each in read_runs([run], "student", max_tokens=500).trajectories
    }
    found = audits(straight)
    assert {row["trajectory"] for row in found} == set(trajectories)
    for row in found:
        each = trajectories[row["trajectory"]]
        ids = each.ids[each.positions][row["start"] : row["end"]]
        mine = each.log_probs[each.positions][row["start"] : row["end"]]
        assert TOKENIZER.decode(ids) == row["text"]
        assert 0 < len(ids) <= 4
        assert row["prior"] == pytest.approx(float(torch.tensor(mine).mean().exp()), rel=1e-5)
        assert len(row["continuations"]) == row["rollouts"] == 3
        assert all(len(text) <= len(row["text"]) for text in row["continuations"])
        evidence = sum(SIMILARITIES["edit"].all(row["text"], row["continuations"]))
        assert row["evidence"] == pytest.approx(evidence)
        assert row["target"] == pytest.approx(float(posterior(evidence, 3, row["prior"], 1.0)))
    line = metrics(straight)[0]
    assert line["loss"] == pytest.approx(line["chunk_loss"] + line["anchor_loss"], rel=1e-5)
    assert line["kl_to_reference"] == pytest.approx(0, abs=1e-6)
    assert metrics(straight)[-1]["kl_to_reference"] > 1e-6

    assert cost([str(straight), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["measured"]["asks"] == told["estimate"]["chunks"] == len(found)
    ratio = told["measured"]["decode"] / told["estimate"]["expected"]["decode"]
    assert 0.5 < ratio <= 1.2
    assert told["estimate"]["ratio"] == pytest.approx(1, abs=0.1)


def test_records_replay_without_the_teacher(
    models: dict[str, Path], run: Path, stranger: Path, tmp_path: Path
) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    train(validated(omniopd(first, models, run, stranger)))
    kept = {"kind": "recorded", "cache": str(first / "texts"), "prompt": "text"}
    train(validated(omniopd(again, models, run, stranger, text_teacher=kept)))
    assert numbers(first) == numbers(again)
    other = omniopd(tmp_path / "other", models, run, stranger, text_teacher=kept)
    with pytest.raises(TeacherError, match=r"no recorded answer for \d+ of \d+ texts"):
        train(validated(other | {"method": METHOD | {"rollouts": 4}}))


def test_other_selections_and_priors(
    models: dict[str, Path], run: Path, stranger: Path, tmp_path: Path
) -> None:
    peaks, uniform = tmp_path / "peaks", tmp_path / "uniform"
    train(validated(omniopd(peaks, models, run, stranger, method={"prior": "reference"})))
    drawn = {"selection": "uniform", "similarity": "rouge_1", "reduction": "token_mean"}
    train(validated(omniopd(uniform, models, run, stranger, method=drawn)))
    entropies = [sum(row["entropy"] for row in audits(out)) for out in (peaks, uniform)]
    assert entropies[0] > entropies[1]
    recorded = {round(float(np.exp(-1.0 - number)), 4) for number in range(4)}
    assert {round(row["prior"], 4) for row in audits(uniform)} == recorded
    assert recorded.isdisjoint(round(row["prior"], 4) for row in audits(peaks))


def test_the_reference_is_the_student_without_its_adapter(
    models: dict[str, Path], run: Path, stranger: Path, tmp_path: Path
) -> None:
    values = validated(omniopd(tmp_path, models, run, stranger))
    student = load_student(values.student, torch.device("cpu"))
    for name, each in student.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(each)
    some = read_runs([run], "student", max_tokens=500).trajectories[:2]
    shared = make_teachers(values, torch.device("cpu"), student)[Role.REFERENCE]
    copy = make_teachers(values, torch.device("cpu"))[Role.REFERENCE]
    assert isinstance(shared, BaseOfStudent)
    found, expected = shared.project(some), copy.project(some)
    torch.testing.assert_close(found.columns, expected.columns)
    assert student.training
    assert all(each.requires_grad for name, each in student.named_parameters() if "lora" in name)


def test_control_tokens_alone_cannot_be_audited(
    models: dict[str, Path], stranger: Path, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "rollouts")
    run.root.mkdir()
    run.config.write_text("schema_version: 1\nid: rollouts\n")
    write_attempt(run, "owner__repo-0", 0, [call(1, ids_of("abc"), [SUBMISSION])], None)
    with pytest.raises(DataError, match="the 1 trajectories of this training have no text"):
        train(validated(omniopd(tmp_path / "out", models, run.root, stranger)))


def test_what_is_missing_is_said(
    models: dict[str, Path], run: Path, stranger: Path, tmp_path: Path
) -> None:
    values = omniopd(tmp_path, models, run, stranger)
    del values["text_teacher"]
    with pytest.raises(ValidationError, match="omniopd needs a text teacher"):
        validated(values)
    sharded = omniopd(tmp_path, models, run, stranger, sharding="fsdp")
    with pytest.raises(ValidationError, match="needs whole weights"):
        validated(sharded)
    kept = {"kind": "recorded", "cache": str(tmp_path / "nothing"), "prompt": "text"}
    with pytest.raises(TeacherError, match="no recorded answers"):
        train(validated(omniopd(tmp_path, models, run, stranger, text_teacher=kept)))
    assert OmniOPD().share == 1
