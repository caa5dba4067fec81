"""Loading a model folder into the engine."""

# ruff: noqa: N806  (shape suffixes)

from dataclasses import asdict
from typing import Any

import tokenizers
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from trainers.serving import attention
from trainers.serving.engine import SLOTS, Engine
from trainers.serving.models import LocalAdapter, LocalModel
from trainers.serving.packed import pack_linear_layers
from trainers.serving.service import Service
from trainers.serving.shipped import ModelError

_AGREEMENT = 0.25  # standard deviations of the logits; bfloat16 rounding stays below 0.1


def load_service(
    model: LocalModel,
    *,
    adapter: LocalAdapter | None = None,
    served_name: str | None,
    dtype: str,
    threads: int,
    max_model_len: int | None,
    prefix_cache_bytes: int,
) -> Service:
    """Load a model and start its engine. `dtype` `auto` is bfloat16 where the CPU computes in it.

    An adapter is merged in float32.

    Raises ModelError for a model that this server cannot run.
    """
    torch.set_num_threads(threads)
    transformers.utils.logging.disable_progress_bar()
    chosen = _dtype(dtype)
    attention.register_attention()
    try:
        network = AutoModelForCausalLM.from_pretrained(
            model.folder,
            dtype=torch.float32 if adapter else chosen,
            attn_implementation=attention.IMPLEMENTATION,
            use_safetensors=True,
            local_files_only=True,
        ).eval()
        tokenizer = AutoTokenizer.from_pretrained(model.folder, local_files_only=True)
    except Exception as error:  # a folder can be wrong in any way
        raise ModelError(f"model {model.name} ({model.folder}): {error}") from error
    if adapter is not None:
        from trainers.serving.adapter import merge_adapter  # peft takes seconds to import

        network = merge_adapter(network, adapter, model).to(chosen).eval()
    if chosen is torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pack_linear_layers(network, SLOTS)
    if not tokenizer.is_fast:
        raise ModelError(f"model {model.name}: its tokeniser has no tokenizer.json form")
    _check_attention(model.name, network)
    longest = min(network.config.max_position_embeddings, max_model_len or 2**31)
    facts = {key: value for key, value in asdict(model).items() if key != "folder"} | {
        "adapter": adapter.folder.name if adapter else None,
        "adapter_sha256": adapter.sha256 if adapter else None,
        "dtype": str(chosen).removeprefix("torch."),
        "threads": threads,
        "max_model_len": longest,
        "runtime": f"torch {torch.__version__}, transformers {transformers.__version__}, "
        f"tokenizers {tokenizers.__version__}",
    }
    return Service(
        name=served_name or model.name,
        facts=facts,
        engine=Engine(network, prefix_cache_bytes=prefix_cache_bytes),
        tokenizer=tokenizer,
        stop_ids=_stop_ids(network.generation_config.eos_token_id, tokenizer.eos_token_id),
        max_model_len=longest,
    )


@torch.inference_mode()
def _check_attention(name: str, network: Any) -> None:
    """Raise ModelError unless cached attention per sequence gives what the model's own gives."""
    ids_BL = torch.arange(8).remainder(network.config.vocab_size)[None]
    network.set_attn_implementation("sdpa")
    expected_V = network(input_ids=ids_BL).logits[0, -1].float()
    network.set_attn_implementation(attention.IMPLEMENTATION)
    cache = attention.SequenceCache(ids_BL.shape[1])
    try:
        for start, end in ((0, 7), (7, 8)):
            logits = network(
                input_ids=ids_BL[:, start:end],
                position_ids=torch.arange(start, end)[None],
                past_key_values=attention.BatchCache([cache]),
            ).logits
            cache.advance(end - start)
        apart = float((logits[0, -1].float() - expected_V).abs().max() / expected_V.std())
    except Exception as error:
        raise ModelError(
            f"model {name}: this server runs models with plain causal attention in every layer; "
            f"{network.config.model_type!r} is another kind ({type(error).__name__}: {error})"
        ) from error
    if not apart < _AGREEMENT:
        raise ModelError(
            f"model {name}: the attention of {network.config.model_type!r} is not plain causal "
            f"attention (its logits differ by {apart:.2f} standard deviations)"
        )


def _dtype(name: str) -> torch.dtype:
    if name == "auto":
        name = "bfloat16" if torch.cpu._is_avx512_bf16_supported() else "float32"
    chosen: torch.dtype = getattr(torch, name)
    return chosen


def _stop_ids(*sources: int | list[int] | None) -> frozenset[int]:
    """The ids that end an answer."""
    found: set[int] = set()
    for source in sources:
        if source is not None:
            found.update([source] if isinstance(source, int) else source)
    return frozenset(found)
