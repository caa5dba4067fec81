"""Measurements of adapters whose right answer is known from how they were made."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests.trainers.data.triples_on_disk import TOKENIZER, ids_of, triple, write_triples
from tests.trainers.engine.material import write_model
from tests.trainers.teachers.pi_material import CPU, write_adapter
from trainers.adapters.calibrate import CalibrationSettings, calibrate, main
from trainers.adapters.measures import apart, fit
from trainers.adapters.states import read_states
from trainers.data.errors import DataError
from trainers.engine.config import Composition
from trainers.engine.networks import load_frozen, load_frozen_with
from trainers.serving.shipped import file_sha256
from trainers.teachers.local import LocalTeacher
from trainers.teachers.pi_teacher import PITeacher

NAMES = ("call_graph", "gold_patch")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, two adapters, their sum as one adapter and as a whole model, and triples."""
    folder = tmp_path_factory.mktemp("calibrate")
    base = write_model(folder / "base", 1)
    for seed, name in enumerate(NAMES):
        write_adapter(folder / name, base, seed, name)
    model: Any = AutoModelForCausalLM.from_pretrained(base)
    merged = PeftModel.from_pretrained(model, str(folder / "call_graph")).merge_and_unload()
    merged.save_pretrained(folder / "full")
    TOKENIZER.save_pretrained(folder / "full")
    _joined(folder)
    tokenizer = file_sha256(base / "tokenizer.json")
    graph = [triple(n, pi_text="" if n == 4 else f"f{n}") for n in range(6)]
    patch = [triple(n, pi_source="gold_patch", pi_text="" if n == 2 else f"+{n}") for n in range(5)]
    write_triples(folder / "call_graph.parquet", graph, tokenizer)
    write_triples(folder / "gold_patch.parquet", patch, tokenizer)
    return folder


def _joined(folder: Path) -> None:
    """The sum of both adapters as an adapter of rank 4."""
    write_adapter(folder / "joint", folder / "base", 0, "call_graph+gold_patch")
    config = folder / "joint" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"r": 4, "lora_alpha": 8}))
    one, other = (load_file(folder / name / "adapter_model.safetensors") for name in NAMES)
    joined = {key: torch.cat([one[key], other[key]], 0 if "lora_A" in key else 1) for key in one}
    save_file(joined, folder / "joint" / "adapter_model.safetensors", {"format": "pt"})


def settings(place: Path, **changes: Any) -> dict[str, Any]:
    return {
        "model": str(place / "base"),
        "dtype": "float32",
        "adapters": {name: str(place / name) for name in NAMES},
        "triples": [str(place / f"{name}.parquet") for name in NAMES],
        "references": {"call_graph": str(place / "full")},
        "joint": {"call_graph+gold_patch": str(place / "joint")},
        "out": str(place / "out" / "calibration.json"),
        "device": "cpu",
        **changes,
    }


def test_what_is_known_of_adapters_is_found(place: Path) -> None:
    report = calibrate(CalibrationSettings.model_validate(settings(place)))
    assert report["states"] == 6
    assert {name: one["states"] for name, one in report["sources"].items()} == {
        "call_graph": 5, "gold_patch": 4,
    }  # fmt: skip
    assert 0 <= report["noise_floor"] < 1e-4
    graph = report["sources"]["call_graph"]
    assert graph["symmetric_kl_to_full"]["value"] == pytest.approx(0, abs=1e-6)
    pair = report["sets"]["call_graph+gold_patch"]
    assert pair["states"] == 3, "0, 1 and 3 have PI of both"
    assert pair["kl_exact_to_weights"]["value"] > 1e-4
    assert pair["largest_kl_to_weights"] >= pair["kl_exact_to_weights"]["value"]
    assert pair["symmetric_kl_to_joint"]["value"] > 1e-4, "composed logits are not summed weights"
    losses = {key: one["value"] for key, one in graph["loss"].items()}
    assert losses.keys() == {"base", "context", "weights_only", "no_pi_token", "prompt"}
    assert len({round(loss, 6) for loss in losses.values()}) == 5


def test_a_joint_adapter_that_is_the_sum_is_the_composition_by_weights(place: Path) -> None:
    files = [place / f"{name}.parquet" for name in NAMES]
    states = read_states(files, TOKENIZER, max_tokens=99, most=9)
    chosen, both = states.having(NAMES), {name: place / name for name in NAMES}
    summed, joint = (
        PITeacher(
            load_frozen_with(str(place / "base"), "float32", adapters, CPU),
            states.contexts(),
            NAMES,
            composition=Composition.WEIGHTS,
        ).pi
        for adapters in (both, {"+".join(NAMES): place / "joint"})
    )
    assert apart(summed, joint, chosen).symmetric_kl.max() < 1e-5


def test_the_numbers_are_those_of_the_model(place: Path) -> None:
    """Loss, confidence, ECE and divergences from logits of a model that is loaded by itself."""
    report = calibrate(CalibrationSettings.model_validate(settings(place, references={})))
    model: Any = AutoModelForCausalLM.from_pretrained(place / "base")
    model = PeftModel.from_pretrained(model, str(place / "gold_patch")).eval()
    rows = [row for row in (triple(n) for n in range(5)) if row["turn"] != 3]
    loss, sure, right = [], [], []
    for row in rows:
        front = ids_of(f"[PI]\n+{row['turn'] - 1}\n[/PI]\n") + row["prompt_ids"]
        ids = torch.tensor([front + ids_of(row["completion"])])
        with torch.no_grad():
            log_p = model(input_ids=ids).logits[0].double().log_softmax(-1)
        for at in range(len(front) + 3, len(front) + 6):
            loss.append(-float(log_p[at - 1, ids[0, at]]))
            sure.append(float(log_p[at - 1].exp().max()))
            right.append(float(log_p[at - 1].argmax() == ids[0, at]))
    found = report["sources"]["gold_patch"]
    assert found["loss"]["context"]["value"] == pytest.approx(np.mean(loss), rel=1e-4)
    assert found["confidence"]["value"] == pytest.approx(np.mean(sure), rel=1e-4)
    assert found["accuracy"]["value"] == pytest.approx(np.mean(right))
    bins = np.array_split(np.argsort(sure, kind="stable"), 10)
    gaps = [abs((np.array(sure) - right)[each].sum()) for each in bins]
    assert found["ece"]["value"] == pytest.approx(sum(gaps) / len(sure), abs=0.05)


def test_divergences_are_symmetric_and_of_the_right_size(place: Path) -> None:
    states = read_states([place / "call_graph.parquet"], TOKENIZER, max_tokens=99, most=3)
    assert len(states.trajectories) == 3
    teachers = [
        LocalTeacher(load_frozen(str(place / name), "float32", None, CPU))
        for name in ("base", "full")
    ]
    one, other = teachers
    there, back = apart(one, other, states.trajectories), apart(other, one, states.trajectories)
    np.testing.assert_allclose(there.symmetric_kl, back.symmetric_kl, rtol=1e-5)
    np.testing.assert_allclose(there.kl + back.kl, 2 * there.symmetric_kl, rtol=1e-5)
    assert (there.tv <= np.sqrt(there.kl / 2) + 1e-6).all(), "Pinsker"
    assert len(there.owners) == len(there.kl) == 9
    losses = [fit(each, states.trajectories).loss for each in teachers]
    assert not np.allclose(losses[0], losses[1])
    assert apart(one, one, states.trajectories).symmetric_kl.max() == 0


def test_the_command_and_its_mistakes(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "calibrate.yaml"

    def run(**changes: Any) -> tuple[int, str]:
        config.write_text(yaml.safe_dump(settings(place, states=2, **changes)))
        code = main([str(config)])
        said = capsys.readouterr()
        return code, said.err if code else said.out

    card = {"triples": {"x": {"sha256": file_sha256(place / "call_graph.parquet")}}}
    (place / "call_graph" / "training.json").write_text(json.dumps(card))
    code, text = run(references={}, joint={})
    assert code == 0
    assert "call_graph: 1 states, ECE" in text
    assert "NOT held out" in text
    assert json.loads((place / "out" / "calibration.json").read_text())["states"] == 2
    for changes, part in (
        ({"adapters": {"gold_patch": str(place / "call_graph")}, "references": {}, "joint": {}},
         "was trained for PI source 'call_graph'"),
        ({"joint": {"gold_patch+call_graph": "x"}}, "in alphabetical order"),
        ({"max_tokens": 3}, "no state with at most 3 tokens"),
        ({"triples": [str(tmp_path / "none")]}, "not a readable file of triples"),
        ({"colour": "red"}, "colour"),
    ):  # fmt: skip
        code, text = run(**changes)
        assert code == 2
        assert part in text
        assert text.splitlines()[-1].startswith("error: ")


def test_triples_without_pi_of_a_source_are_refused(place: Path) -> None:
    one = settings(place, triples=[str(place / "call_graph.parquet")])
    with pytest.raises(DataError, match="no state with PI of 'gold_patch'"):
        calibrate(CalibrationSettings.model_validate(one))
