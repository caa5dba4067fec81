"""The estimator study, against dense arithmetic, counts of draws, and figures by hand."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from tests.trainers.data.runs_on_disk import write_run
from tests.trainers.engine.material import write_model
from trainers.data.runs import read_runs
from trainers.engine.networks import Network, load_frozen
from trainers.losses.divergences import entropy
from trainers.omniopd.study import run as study_run
from trainers.omniopd.study.__main__ import main
from trainers.omniopd.study.figures import Estimates, rows, summary
from trainers.omniopd.study.measure import Sample, Samples, measure, read_apart
from trainers.omniopd.study.options import StudyOptions
from trainers.omniopd.study.sources import continued, trajectories
from trainers.serving.shipped import file_sha256, shipped_folders

CPU = torch.device("cpu")
TEXT = "def add(a, b):\n    return a + b  # the sum of two numbers\n\n" * 3


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A student, a teacher like it, and a teacher with a tokeniser of its own."""
    root = tmp_path_factory.mktemp("models")
    _, shipped = shipped_folders()["repair-student"]
    words = PreTrainedTokenizerFast.from_pretrained(shipped)
    return {
        "student": write_model(root / "student", 0),
        "teacher": write_model(root / "teacher", 1),
        "other": write_model(root / "other", 2, words, vocab_size=1024),
    }


@pytest.fixture(scope="module")
def networks(models: dict[str, Path]) -> dict[str, Network]:
    return {name: load_frozen(str(path), "float32", None, CPU) for name, path in models.items()}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "a.py"
    path.write_text(TEXT)
    return path


def options(**changes: Any) -> StudyOptions:
    small = {"chunks": 3, "chunk_tokens": 4, "rollouts": (2, 5), "prompt_tokens": 20}
    return StudyOptions(**{**small, "sampled_tokens": 24, **changes})


@torch.no_grad()
def log_probs(network: Network, ids: Any) -> Tensor:
    """Of every next token, `(T, V)`, all at once."""
    batch = torch.as_tensor(np.asarray(ids)).long()[None]
    found: Tensor = network.causal(input_ids=batch, use_cache=False).logits[0].log_softmax(-1)
    return found


def path_log_prob(network: Network, before: list[int], chunk: list[int]) -> float:
    states = log_probs(network, before + chunk)[len(before) - 1 : -1]
    return float(states[torch.arange(len(chunk)), torch.tensor(chunk)].sum())


def test_chunks_of_recorded_runs_are_what_dense_arithmetic_says(
    networks: dict[str, Network], models: dict[str, Path], tmp_path: Path
) -> None:
    tokenizer = file_sha256(models["student"] / "tokenizer.json")
    run = write_run(tmp_path / "run", instances=2, seeds=1, tokenizer=tokenizer)
    student, teacher = networks["student"], networks["teacher"]
    for one in trajectories(options(runs=(run,)), student):
        log_p = log_probs(student, one.ids)[one.positions - 1]
        found = measure(options(runs=(run,)), student, teacher, one)
        assert found.samples
        assert found.left_out == 0
        entropies = entropy(log_p)
        for sample in found.samples:
            places = one.positions[sample.start : sample.end]
            ids = torch.from_numpy(one.ids[places]).long()
            mine = log_p[sample.start : sample.end][torch.arange(len(ids)), ids]
            assert sample.prior == pytest.approx(float(mine.mean().exp()), rel=1e-4)
            assert sample.entropy == pytest.approx(float(entropies[sample.start]), rel=1e-4)
            before = one.ids[: places[0]].tolist()
            exact = path_log_prob(teacher, before, ids.tolist())
            assert sample.log_prob == pytest.approx(exact, abs=1e-3)
            assert sample.teacher_tokens == sample.end - sample.start == len(ids)
            assert len(sample.continuations) == 5
            assert all(len(each) <= len(sample.text) for each in sample.continuations)


def test_a_teacher_reads_a_chunk_with_its_own_tokeniser(
    networks: dict[str, Network], text: Path
) -> None:
    student, teacher = networks["student"], networks["other"]
    given = options(texts=(text,))
    (piece, *_) = trajectories(given, student)
    whole = continued(given, student, piece)
    assert piece.ids.tolist() == whole.ids[:20].tolist()
    assert student.tokenizer.decode(piece.ids) == TEXT[:20]
    found = measure(given, student, teacher, whole)
    assert found.samples
    for sample in found.samples:
        place = whole.positions[sample.start]
        before = student.tokenizer.decode(whole.ids[:place]).rstrip("\ufffd")
        ids = [teacher.tokenizer(each).input_ids for each in (before, sample.text)]
        exact = path_log_prob(teacher, ids[0], ids[1])
        assert sample.log_prob == pytest.approx(exact, abs=1e-3)
        assert sample.teacher_tokens == len(ids[1])
        assert all(len(each) <= len(sample.text) for each in sample.continuations)
        assert any(len(each) == len(sample.text) for each in sample.continuations)
    assert {one.teacher_tokens == one.end - one.start for one in found.samples} != {True}


def test_text_and_chunk_are_read_apart(networks: dict[str, Network]) -> None:
    tokenizer = networks["other"].tokenizer
    cut, whole = read_apart(tokenizer, "def ret", "urn x"), read_apart(tokenizer, "def", " x")
    for reading, chunk in ((cut, "urn x"), (whole, " x")):
        assert tokenizer.decode(reading.ids[reading.start : reading.end]) == chunk
    assert (cut.joined, whole.joined) == (False, True)


def test_continuations_come_as_often_as_the_exact_probability_says(
    networks: dict[str, Network], text: Path
) -> None:
    """Of single tokens: the chunk's own, and the one that the teacher finds likeliest."""
    student, teacher = networks["student"], networks["teacher"]
    given = options(texts=(text,), chunks=24, chunk_tokens=1, rollouts=(400,))
    whole = continued(given, student, trajectories(given, student)[1])
    chances = log_probs(teacher, whole.ids)[whole.positions - 1].exp()
    letters = [chr(at) for at in range(33, 127)]
    ids = [teacher.tokenizer(letter).input_ids[0] for letter in letters]
    found = [
        one
        for one in measure(given, student, teacher, whole).samples
        if not student.tokenizer.decode(whole.ids[: whole.positions[one.start]]).endswith("\ufffd")
    ]
    assert len(found) > 3
    for one in found:
        said = Counter(one.continuations)
        among = chances[one.start, ids]
        best = int(among.argmax())
        expected = [(letters[best], float(among[best]))]
        if one.text in letters:
            assert float(np.exp(one.log_prob)) == pytest.approx(
                float(among[letters.index(one.text)]), rel=1e-3
            )
            expected.append((one.text, float(np.exp(one.log_prob))))
        for letter, chance in expected:
            spread = np.sqrt(400 * chance * (1 - chance))
            assert abs(said[letter] - 400 * chance) < 4 * spread + 1


def test_the_same_command_continues(
    models: dict[str, Path], text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["--out", str(tmp_path / "a"), "--texts", str(text), "--rollouts", "2", "5"]
    command += ["--student", str(models["student"]), "--teacher", str(models["other"])]
    command += ["--chunks", "3", "--chunk-tokens", "4", "--prompt-tokens", "50"]
    command += ["--sampled-tokens", "24"]
    assert main(command) == 0
    names = ["estimators.md", "estimators.json", "plots/mse.svg", "plots/edit.svg"]
    before = {name: (tmp_path / "a" / name).read_bytes() for name in names}
    parts = sorted((tmp_path / "a" / "parts").iterdir())
    assert len(parts) == 3
    parts[1].write_bytes(parts[1].read_bytes()[:100])  # as a full disk leaves it
    calls: list[str] = []

    def counted(*given: Any) -> Samples:
        calls.append(given[-1].name)
        return measure(*given)

    monkeypatch.setattr(study_run, "measure", counted)
    assert main(command) == 0
    assert len(calls) == 1
    assert {name: (tmp_path / "a" / name).read_bytes() for name in names} == before
    assert main([*command, "--strength", "2"]) == 0  # nothing is measured again for the table
    assert len(calls) == 1
    assert main([*command, "--seed", "1"]) == 0
    assert len(calls) == 4
    found = json.loads((tmp_path / "a" / "estimators.json").read_bytes())
    assert found["same_tokeniser"] is False
    assert found["chunks"] == found["rows"][0]["mse_bayesian"]["n"] > 3
    assert set(found["targets"]) == {"per teacher token", "per student token", "path"}
    assert len(found["rows"]) == 3 * 7 * 2


def sample(text: str, said: tuple[str, ...], **changes: Any) -> Sample:
    values = {"trajectory": "t", "group": text, "start": 0, "end": 2, "entropy": 1.0}
    values |= {"prior": 0.5, "log_prob": -1.0, "teacher_tokens": 2, "joined": True}
    return Sample(**{**values, "text": text, "continuations": said, **changes})


def test_figures_by_hand() -> None:
    some = [
        sample("a b", ("a b", "c d"), prior=0.4, log_prob=2 * np.log(0.9)),
        sample("c d", ("a b", "e f"), prior=0.2, log_prob=2 * np.log(0.3)),
        sample("e f", ("e f", "e f"), prior=0.6, log_prob=2 * np.log(0.7)),
    ]
    found = Estimates(some, strength=1.0)
    assert list(found.targets) == ["per teacher token", "path"]  # the student's are as many
    assert found.of("exact", 1)[0].tolist() == [1, 0, 1]  # the first of the two
    table = rows(found, [2])
    assert len(table) == 2 * 7
    row = next(one for one in table if one["similarity"] == "exact")
    plain, bayesian, exact = np.array([[0.5, 0, 1], [1.4 / 3, 0.2 / 3, 2.6 / 3], [0.9, 0.3, 0.7]])
    errors = [((each - exact) ** 2).mean() for each in (plain, bayesian)]
    assert row["mse_frequentist"]["value"] == pytest.approx(errors[0])
    assert row["mse_bayesian"]["value"] == pytest.approx(errors[1])
    assert row["mse_difference"]["value"] == pytest.approx(errors[1] - errors[0])
    for each, key in ((plain, "frequentist"), (bayesian, "bayesian")):
        number = row[f"pearson_{key}"]  # type: ignore[literal-required]
        assert number["value"] == pytest.approx(np.corrcoef(each, exact)[0, 1])
    assert row["noise"] == pytest.approx(0.5 / 2 / 3)  # s² of the first is 1/2, of others 0
    path = next(one for one in table if one["similarity"] == "exact" and one["target"] == "path")
    assert path["mse_frequentist"]["value"] == pytest.approx(((plain - exact**2) ** 2).mean())
    whole = summary(found, table)["per teacher token"]
    assert whole["rows"] == 7
    assert whole["prior_alone_mse"]["value"] == pytest.approx((0.25 + 0.01 + 0.01) / 3)
    lower = [one["mse_difference"]["value"] for one in table[:7]]
    assert whole["bayesian_mse_lower"] == sum(each is not None and each < 0 for each in lower)


def test_targets_differ_where_tokens_are_not_as_many() -> None:
    found = Estimates([sample("a", ("a", "b"), teacher_tokens=4)], strength=1.0)
    means = {name: float(each[0]) for name, each in found.targets.items()}
    assert means == pytest.approx(
        {
            "per teacher token": np.exp(-1 / 4),
            "per student token": np.exp(-1 / 2),
            "path": np.exp(-1),
        }
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "give --runs or --texts"),
        (["--texts", "a", "--runs", "b"], "give --runs or --texts"),
        (["--texts", "a", "--rollouts", "1"], "--rollouts"),
        (["--texts", "a", "--chunk-tokens", "0"], "--chunk-tokens: "),
        (["--texts", "nowhere.txt"], "nowhere.txt: not a readable text"),
        (["--texts", "a", "--student", "nobody"], "no model 'nobody'"),
    ],
)
def test_what_is_wrong_is_said(
    given: list[str],
    message: str,
    models: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    known = ["--student", str(models["student"]), "--teacher", str(models["teacher"])]
    assert main(["--out", str(tmp_path / "a"), *known, *given]) == 2
    assert message in capsys.readouterr().err


def test_a_run_of_another_tokeniser_is_refused(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", instances=1, seeds=1, tokenizer="0" * 64)
    assert read_runs([run], "student", max_tokens=500).trajectories
    known = ["--student", str(models["student"]), "--teacher", str(models["teacher"])]
    assert main(["--out", str(tmp_path / "a"), *known, "--runs", str(run)]) == 2
    assert "was sampled with a tokeniser" in capsys.readouterr().err
