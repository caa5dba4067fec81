"""`python -m trainers.diagnose` on a training, against dense arithmetic."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from torch import Tensor

from tests.trainers.diagnostics.conftest import SOURCES, Trained
from tests.trainers.engine.material import validated
from trainers.data.runs import read_runs
from trainers.data.trajectories import Trajectory
from trainers.diagnose import main
from trainers.diagnostics.measure import measure
from trainers.engine.networks import Network, load_frozen
from trainers.losses.divergences import entropy, kl, log_probs, total_variation

SMALL = ["--states", "3", "--rollouts", "4", "--length", "3", "--anchors", "2", "--segments", "3"]
SMALL += ["--segment-length", "4"]


def _networks(trained: Trained) -> tuple[Network, Network]:
    """The student as it was exported, and the teacher."""
    values, cpu = trained.values, torch.device("cpu")
    student = load_frozen(values["student"]["model"], "float32", trained.folder / "final", cpu)
    return student, load_frozen(values["teacher"]["model"], "float32", None, cpu)


def _trajectories(trained: Trained) -> list[Trajectory]:
    return read_runs([trained.run], "student", max_tokens=500).trajectories


@torch.no_grad()
def _log_probs(network: Network, ids: Any) -> Tensor:
    """Log-probabilities of every next token, `(T, V)`, all at once."""
    batch = torch.as_tensor(np.asarray(ids)).long()[None]
    return log_probs(network.causal(input_ids=batch, use_cache=False).logits[0])


def _json(folder: Path) -> Any:
    return json.loads((folder / "diagnostics.json").read_bytes())


@pytest.fixture(scope="module")
def diagnosis(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("diagnosis")
    assert main([str(trained.folder), "--out", str(out), *SMALL]) == 0
    return out


def test_states_are_those_of_dense_arithmetic(trained: Trained, diagnosis: Path) -> None:
    student, teacher = _networks(trained)
    table = pq.read_table(diagnosis / "states.parquet").to_pandas()
    trajectories = _trajectories(trained)
    assert len(table) == sum(one.sampled_tokens for one in trajectories)
    for one in trajectories:
        rows = table[table.trajectory == one.name]
        log_p, log_q = (_log_probs(each, one.ids)[one.positions - 1] for each in (student, teacher))
        expected = {
            "tv": total_variation(log_p, log_q),
            "kl": kl(log_p, log_q),
            "teacher_entropy": entropy(log_q),
            "student_entropy": entropy(log_p),
        }
        for name, values in expected.items():
            assert rows[name].to_numpy() == pytest.approx(values.numpy(), abs=1e-4), name
        assert rows.token.tolist() == one.ids[one.positions].tolist()
        assert set(rows.outcome) == {one.outcome}
        assert rows.turn.tolist() == [t.number for t in one.turns for _ in range(t.start, t.end)]


def test_sources_share_kappa_and_cells_follow_the_gates(diagnosis: Path) -> None:
    table = pq.read_table(diagnosis / "states.parquet").to_pandas()
    parts = sum(table[f"shapley/{name}"] for name in SOURCES)
    assert parts.to_numpy() == pytest.approx(table.kappa.to_numpy(), abs=1e-5)
    without = table[table.instance_id == "owner__repo-1"]
    assert (without["shapley/call_graph"].abs() < 1e-6).all()
    assert (without["kappa/gold_patch"] - without.kappa).abs().max() < 1e-5
    assert (table[table.instance_id == "owner__repo-0"]["shapley/call_graph"] > 0).any()
    letters = {(True, False): "A", (True, True): "B", (False, False): "C", (False, True): "D"}
    gates = zip(table.trusted, table.pi_active, strict=True)
    assert table.cell.tolist() == [letters[pair] for pair in gates]
    threshold = table.rho[~table.trusted].max()
    assert (table.rho[table.trusted] > threshold).all()
    assert (~table.trusted).mean() == pytest.approx(0.3, abs=0.02)
    figures = _json(diagnosis)
    weights = figures["reliability"]["entropy_weight"], figures["reliability"]["tv_weight"]
    rho = np.exp(-weights[0] * table.teacher_entropy - weights[1] * table.tv)
    assert table.rho.to_numpy() == pytest.approx(rho.to_numpy(), abs=1e-5)
    assert figures["reliability"]["form"] == "outcome-free, calibrated by the training"
    counted = sum(row[f"{name} states"] for row in figures["cells"] for name in "ABCD")
    assert counted == len(table)


def test_graded_rollouts_give_alpha_and_its_reference(trained: Trained, tmp_path: Path) -> None:
    student, teacher = _networks(trained)
    one = _trajectories(trained)[2]
    place = int(one.positions[1])
    log_p, log_q = (_log_probs(each, one.ids)[place - 1].double() for each in (student, teacher))
    first = torch.multinomial(log_q.exp(), 12, replacement=True)
    outcomes = (torch.arange(12) % 3 == 0).double()
    rows = [
        {"trajectory": one.name, "position": place, "token": int(token), "outcome": float(outcome)}
        for token, outcome in zip(first, outcomes, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "returns.parquet")
    arguments = [str(trained.folder), "--out", str(tmp_path), "--returns"]
    assert main([*arguments, str(tmp_path / "returns.parquet")]) == 0
    scores = torch.eye(len(log_p), dtype=torch.float64)[first] - log_p.exp()
    weights = (log_p - log_q)[first].exp()
    baseline = [
        float((weights * outcomes).sum() - weights[j] * outcomes[j])
        / float(weights.sum() - weights[j])
        for j in range(12)
    ]
    scale = weights * (outcomes - torch.tensor(baseline).double())
    p, reward = log_p.exp(), log_q - log_p
    token = p * (reward - (p * reward).sum())
    expected = torch.cosine_similarity(scale @ scores, token, dim=0)
    table = pq.read_table(tmp_path / "states.parquet").to_pandas()
    found = table[np.isfinite(table.alpha)]
    assert found[["trajectory", "position"]].to_numpy().tolist() == [[one.name, place]]
    assert float(found.alpha.iloc[0]) == pytest.approx(float(expected), abs=1e-3)
    assert float(found.reference.iloc[0]) == pytest.approx(1 / 3)
    figures = _json(tmp_path)
    assert figures["alpha_returns"] == "outcomes"
    assert figures["reference"]["states"] == 1
    assert (tmp_path / "plots" / "reference.svg").is_file()


def test_continuations_are_scored_and_embedded_as_whole_sequences(trained: Trained) -> None:
    from trainers.diagnostics.continuations import follow_segments, prefix_of
    from trainers.segments.local import LocalSegments
    from trainers.segments.sampling import Place

    student, teacher = _networks(trained)
    one = max(_trajectories(trained), key=lambda each: len(each.ids))
    places = [Place(one, int(place) - 1) for place in one.positions[[0, 3]]]
    drawn = LocalSegments(teacher).continuations(places, 3, 4, 0)
    for network in (student, teacher):
        found = follow_segments(network, prefix_of(network, one), places, drawn, chunk=3)
        for place, segments, scored in zip(places, drawn, found, strict=True):
            for number, length in enumerate(segments.lengths.tolist()):
                tail = segments.ids[number, :length].numpy()
                ids = np.concatenate([one.ids[: place.state + 1], tail])
                log_p = _log_probs(network, ids)[place.state : -1]
                expected = sum(float(log_p[at, token]) for at, token in enumerate(tail))
                assert float(scored.log_probs[number]) == pytest.approx(expected, abs=1e-3)
                batch = torch.from_numpy(ids).long()[None]
                with torch.no_grad():
                    states = network.hidden(batch, torch.arange(len(ids))[None])
                mean = states[place.state + 1 :].mean(0)
                assert torch.allclose(scored.embeddings[number], mean, atol=1e-4)


def test_the_curve_has_every_checkpoint(trained: Trained, diagnosis: Path) -> None:
    figures = _json(diagnosis)
    assert [row["step"] for row in figures["curve"]] == [0, 2, 3]
    losses = [row["kl"]["value"] for row in figures["curve"]]
    assert len(set(losses)) == 3
    student, teacher = _networks(trained)
    dense = [
        kl(*(_log_probs(each, one.ids)[one.positions - 1] for each in (student, teacher)))
        for one in _trajectories(trained)
    ]
    assert losses[-1] == pytest.approx(float(torch.cat(dense).mean()), abs=1e-4)
    assert figures["curve"][-1]["states with alpha"] > 0
    rows = figures["routing"]
    assert [row["from step"] for row in rows] == [1, 2, 3]
    assert sum(row["states"] for row in rows) == sum(
        row["decisions"] for row in figures["routed_cells"]
    )


def test_a_killed_diagnosis_continues_with_what_it_has(
    trained: Trained, diagnosis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []
    real = measure

    def counting(*given: Any, **options: Any) -> Any:
        if len(measured) == 4:
            raise KeyboardInterrupt
        measured.append(given[1].name)
        return real(*given, **options)

    monkeypatch.setattr("trainers.diagnostics.run.measure", counting)
    arguments = [str(trained.folder), "--out", str(tmp_path), *SMALL]
    with pytest.raises(KeyboardInterrupt):
        main(arguments)
    monkeypatch.setattr("trainers.diagnostics.run.measure", real)
    kept = {path.name for path in (tmp_path / "parts").iterdir()}
    assert len(kept) == 4
    damaged = tmp_path / "parts" / min(kept)
    damaged.write_bytes(damaged.read_bytes()[:-9])
    whole = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").iterdir()}
    assert main(arguments) == 0
    for path, before in whole.items():
        assert (path.stat().st_mtime_ns == before) == (path != damaged)
    assert (tmp_path / "diagnostics.json").read_bytes() == (
        diagnosis / "diagnostics.json"
    ).read_bytes()
    names = [f"plots/{path.name}" for path in (diagnosis / "plots").iterdir()]
    for name in [*names, "states.parquet", "resets.jsonl", "reference_states.jsonl"]:
        assert (tmp_path / name).read_bytes() == (diagnosis / name).read_bytes(), name


def test_resets_are_listed_and_their_outcomes_taken_up(
    trained: Trained, diagnosis: Path, tmp_path: Path
) -> None:
    lines = [json.loads(line) for line in (diagnosis / "resets.jsonl").read_text().splitlines()]
    starts = {
        (one.name, turn.number): turn.start for one in _trajectories(trained) for turn in one.turns
    }
    assert {one["arm"] for one in lines} == {"student", "teacher"}
    for one in lines:
        assert starts[one["trajectory"], one["turn"]] == one["position"]
        assert one["trajectory"] == f"{one['run']}/{one['instance_id']}/{one['seed']}#0"
    rows = [
        {name: one[name] for name in ("trajectory", "turn", "arm")}
        | {"outcome": float(one["arm"] == "teacher" and one["group"] == "low")}
        for one in lines
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "outcomes.parquet")
    arguments = [str(trained.folder), "--out", str(tmp_path / "out")]
    arguments += ["--baseline", str(diagnosis), "--outcomes"]
    assert main([*arguments, str(tmp_path / "outcomes.parquet")]) == 0
    figures = _json(tmp_path / "out")
    low, high = figures["resets"]
    assert (_value(low["difference"]), _value(high["difference"])) == (1, 0)
    assert _value(figures["reset_contrast"]["difference, low less high"]) == 1
    assert [_value(row["gain"]) for row in figures["gains"]] == [0] * 10
    states = [
        json.loads(x) for x in (diagnosis / "reference_states.jsonl").read_text().splitlines()
    ]
    assert {one["trajectory"] for one in states} == {one.name for one in _trajectories(trained)}


def _value(figure: Any) -> float:
    return float(figure["value"] if isinstance(figure, dict) else figure)


def test_a_configuration_without_pi_says_what_is_not_shown(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {key: each for key, each in trained.values.items() if key != "pi"}
    values |= {"method": {"name": "opd"}, "teacher": {**values["teacher"], "adapters": {}}}
    path = tmp_path / "opd.yaml"
    path.write_text(yaml.safe_dump(values))
    assert validated(values).pi is None
    assert main([str(path), "--out", str(tmp_path / "dry"), "--limit", "2", "--dry-run"]) == 0
    assert "data       2 of 6 sequences" in capsys.readouterr().out
    assert not (tmp_path / "dry").exists()
    assert main([str(path), "--out", str(tmp_path / "out"), "--limit", "2"]) == 0
    assert "trajectory 2/2" in capsys.readouterr().err
    figures = _json(tmp_path / "out")
    assert figures["data"]["trajectories"] == 2
    assert set(figures["not_shown"]) == {
        "alpha", "kappa", "resets", "rho against rho*", "routes in training", "segment embeddings",
    }  # fmt: skip
    assert figures["alpha_diag"] is None
    assert figures["reliability"]["form"].startswith("outcome-free, calibrated on these states")


def test_mistakes_are_one_line(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = int(_trajectories(trained)[0].positions[0])
    rows = [
        {"trajectory": _trajectories(trained)[0].name, "position": 0, "token": 1, "outcome": 1.0}
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "returns.parquet")
    rows = [{"trajectory": "x", "turn": 1, "arm": "nobody", "outcome": 1.0}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "outcomes.parquet")
    assert place > 0
    folder, returns = str(trained.folder), str(tmp_path / "returns.parquet")
    for arguments, text in (
        ([str(tmp_path)], f"{tmp_path} is no folder of a training: training.json cannot be read"),
        ([str(tmp_path / "no.yaml")], f"{tmp_path}/no.yaml: cannot be read as YAML"),
        ([folder, "--set", "seed=1"], f"{folder} is a training"),
        ([folder, "--set", "data.student_runs=[nowhere]"], "no run in nowhere: "),
        ([folder, "--states", "0"], "--states: Input should be greater than or equal to 1"),
        ([folder, "--returns", returns], f"{returns}: token 0 of rollouts/owner__repo-0/0#0"),
        (
            [folder, "--outcomes", str(tmp_path / "outcomes.parquet")],
            f"{tmp_path}/outcomes.parquet: arm 'nobody'",
        ),
        ([folder, "--rollouts", "1"], "--rollouts: Value error, one rollout has no α"),
        ([folder, "--returns", "nowhere"], "nowhere: not a readable Parquet file"),
    ):
        assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith(f"error: {text}"), said
