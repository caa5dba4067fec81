"""One-off conversion of a GGUF model to a folder that transformers loads in a second."""

import json
from pathlib import Path
from typing import Any

import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

_BLOCK_NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TOP_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_CONTROL_TOKEN = 3  # gguf.TokenType.CONTROL


class UnsupportedGGUFError(ValueError):
    """The file is of an architecture or tokeniser that this converter does not know."""


def convert_gguf(source: Path, folder: Path) -> None:
    """Write `source` (llama architecture, SmolLM byte-level BPE) as float32 safetensors,
    configuration, tokeniser and chat template into an existing empty folder.

    Raises `UnsupportedGGUFError`.
    """
    reader = GGUFReader(source)
    meta = _Metadata(source, reader)
    meta.require("general.architecture", "llama")
    meta.require("tokenizer.ggml.model", "gpt2")
    meta.require("tokenizer.ggml.pre", "smollm")

    weights = _weights(
        reader, meta["llama.attention.head_count"], meta["llama.attention.head_count_kv"]
    )
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    tied = "lm_head.weight" not in weights
    _write_json(folder / "config.json", _config(meta, tied=tied))
    special = {
        name: meta["tokenizer.ggml.tokens"][meta[f"tokenizer.ggml.{key}_token_id"]]
        for name, key in (
            ("bos_token", "bos"),
            ("eos_token", "eos"),
            ("unk_token", "unknown"),
            ("pad_token", "padding"),
        )
    }
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": meta["llama.context_length"],
            "clean_up_tokenization_spaces": False,
            "chat_template": meta["tokenizer.chat_template"],
            **special,
        },
    )
    _write_json(
        folder / "generation_config.json",
        {
            "bos_token_id": meta["tokenizer.ggml.bos_token_id"],
            "eos_token_id": meta["tokenizer.ggml.eos_token_id"],
            "pad_token_id": meta["tokenizer.ggml.padding_token_id"],
        },
    )
    _tokenizer(meta).save(str(folder / "tokenizer.json"))


class _Metadata:
    """The key-value part of a GGUF file; a missing key is an error that names it."""

    def __init__(self, path: Path, reader: GGUFReader) -> None:
        self._path = path
        self._fields = reader.fields

    def __getitem__(self, key: str) -> Any:
        if key not in self._fields:
            raise UnsupportedGGUFError(f"{self._path}: no metadata key {key!r}")
        return self._fields[key].contents()

    def require(self, key: str, value: str) -> None:
        if self[key] != value:
            raise UnsupportedGGUFError(
                f"{self._path}: {key} is {self[key]!r}; only {value!r} is supported"
            )


def _weights(reader: GGUFReader, heads: int, kv_heads: int) -> dict[str, torch.Tensor]:
    weights = {}
    for tensor in reader.tensors:
        array = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
        if ".attn_q." in tensor.name:
            array = _undo_rope_permutation(array, heads)
        elif ".attn_k." in tensor.name:
            array = _undo_rope_permutation(array, kv_heads)
        weights[_transformers_name(tensor.name)] = array.contiguous()
    return weights


def _undo_rope_permutation(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """From llama.cpp's interleaved rotary pairs to transformers' two halves, per head."""
    rows = weight.shape[0]
    pairs = weight.reshape(heads, rows // heads // 2, 2, *weight.shape[1:])
    return pairs.transpose(1, 2).reshape(weight.shape)


def _transformers_name(name: str) -> str:
    if name in _TOP_NAMES:
        return _TOP_NAMES[name]
    match name.split("."):
        case ["blk", layer, part, "weight"] if part in _BLOCK_NAMES:
            return f"model.layers.{layer}.{_BLOCK_NAMES[part]}.weight"
    raise UnsupportedGGUFError(f"unknown tensor {name!r}")


def _config(meta: _Metadata, *, tied: bool) -> dict[str, object]:
    heads = meta["llama.attention.head_count"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "vocab_size": len(meta["tokenizer.ggml.tokens"]),
        "hidden_size": meta["llama.embedding_length"],
        "intermediate_size": meta["llama.feed_forward_length"],
        "num_hidden_layers": meta["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": meta["llama.attention.head_count_kv"],
        "head_dim": meta["llama.embedding_length"] // heads,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "rms_norm_eps": meta["llama.attention.layer_norm_rms_epsilon"],
        "rope_theta": meta["llama.rope.freq_base"],
        "max_position_embeddings": meta["llama.context_length"],
        "tie_word_embeddings": tied,
        "bos_token_id": meta["tokenizer.ggml.bos_token_id"],
        "eos_token_id": meta["tokenizer.ggml.eos_token_id"],
        "pad_token_id": meta["tokenizer.ggml.padding_token_id"],
    }


def _tokenizer(meta: _Metadata) -> Tokenizer:
    tokens: list[str] = meta["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ", 1)) for merge in meta["tokenizer.ggml.merges"]]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    types = meta["tokenizer.ggml.token_type"]
    tokenizer.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, types, strict=True)
            if kind == _CONTROL_TOKEN
        ]
    )
    return tokenizer


def _write_json(path: Path, value: dict[str, object]) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
