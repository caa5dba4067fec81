"""LoRA adapters merged into the model that is served."""

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from harness.agents.embedded import ModelFacts
from tests.trainers.tiny import Serve, byte_tokenizer
from trainers.serving.adapter import merge_adapter
from trainers.serving.models import resolve_adapter, resolve_model
from trainers.serving.shipped import ModelError

PROMPT = byte_tokenizer()("What is it?", add_special_tokens=False)["input_ids"]


@pytest.fixture(scope="module")
def adapter(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter with large random weights."""
    folder = tmp_path_factory.mktemp("adapters") / "adapter"
    model = LlamaForCausalLM.from_pretrained(tiny_folder)
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "up_proj"]))
    torch.manual_seed(1)
    for name, weight in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.5)
    adapted.save_pretrained(str(folder))
    return folder


def logprobs(client: httpx.Client) -> list[float]:
    body = {"prompt": PROMPT, "max_tokens": 1, "prompt_logprobs": 0}
    answer = client.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    entries = answer.json()["choices"][0]["prompt_logprobs"][1:]
    return [entry[str(token)]["logprob"] for entry, token in zip(entries, PROMPT[1:], strict=True)]


def test_the_merged_model_is_the_adapted_one(
    serve: Serve, client: httpx.Client, adapter: Path, tiny_folder: Path
) -> None:
    merged = serve(adapter=resolve_adapter(adapter))
    model = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(tiny_folder), adapter).eval()
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([PROMPT])).logits[0, :-1]
    expected = logits.log_softmax(-1).gather(1, torch.tensor(PROMPT[1:])[:, None])[:, 0].tolist()
    assert logprobs(merged) == pytest.approx(expected, abs=1e-3)
    assert logprobs(client) != pytest.approx(expected, abs=0.1)
    facts = ModelFacts.model_validate(merged.get("/v1/models").json()["data"][0]["facts"])
    assert (facts.adapter, facts.adapter_sha256) == ("adapter", resolve_adapter(adapter).sha256)
    assert str(facts.adapter_sha256) in facts.note


def test_the_shipped_adapter_is_of_the_shipped_student(tmp_path: Path) -> None:
    student = resolve_model("repair-student", tmp_path)
    adapter = resolve_adapter(Path("chop-deployable"))
    network = AutoModelForCausalLM.from_pretrained(student.folder)
    before = network.state_dict()["model.layers.0.mlp.up_proj.weight"].clone()
    merged = merge_adapter(network, adapter, student)
    assert not torch.equal(merged.state_dict()["model.layers.0.mlp.up_proj.weight"], before)
    with pytest.raises(ModelError, match="was trained on weights"):
        merge_adapter(network, adapter, resolve_model("repair-teacher", tmp_path))


def test_the_digest_is_of_weights_and_configuration(adapter: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(adapter, copy)
    assert resolve_adapter(copy).sha256 == resolve_adapter(adapter).sha256
    config = copy / "adapter_config.json"
    config.write_text(config.read_text().replace('"r": 4', '"r": 5'))
    assert resolve_adapter(copy).sha256 != resolve_adapter(adapter).sha256


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("metadata", "was trained on weights 0000"),
        ("shape", "does not fit"),
        ("missing", "1 weights are in one alone"),
        ("config", "does not fit"),
    ],
)
def test_adapters_that_do_not_fit_are_refused(
    serve: Serve, adapter: Path, tmp_path: Path, change: str, problem: str
) -> None:
    folder = tmp_path / "other"
    shutil.copytree(adapter, folder)
    file = folder / "adapter_model.safetensors"
    tensors: dict[str, Any] = load_file(file)
    metadata = {"format": "pt"}
    first = min(tensors)
    if change == "metadata":
        metadata["base_weights_sha256"] = "0" * 64
    elif change == "shape":
        tensors[first] = torch.zeros(3, 3)
    elif change == "missing":
        del tensors[first]
    else:
        (folder / "adapter_config.json").write_text("{}")
    save_file(tensors, file, metadata)
    with pytest.raises(ModelError, match=problem):
        serve(adapter=resolve_adapter(folder))


def test_pickled_adapters_are_not_loaded(adapter: Path, tmp_path: Path) -> None:
    shutil.copy(adapter / "adapter_config.json", tmp_path)
    (tmp_path / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match=r"no adapter_model\.safetensors"):
        resolve_adapter(tmp_path)


def test_an_adapter_of_the_very_weights_is_taken(
    serve: Serve, adapter: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "own"
    shutil.copytree(adapter, folder)
    file = folder / "adapter_model.safetensors"
    digest = resolve_model(str(tiny_folder), tmp_path).weights_sha256
    save_file(load_file(file), file, {"format": "pt", "base_weights_sha256": digest})
    assert serve(adapter=resolve_adapter(folder)).get("/health").status_code == 200
