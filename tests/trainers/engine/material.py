"""Tiny models of the Qwen3 architecture, and settings that train them."""

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from tests.trainers.tiny import byte_tokenizer
from trainers.engine.config import TrainSettings

VOCABULARY = 258
CONTEXT = 512


def write_model(
    folder: Path, seed: int, tokenizer: PreTrainedTokenizerFast | None = None, **changes: Any
) -> Path:
    """A random model as a folder."""
    config: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": CONTEXT,
        "initializer_range": 0.3,
        "tie_word_embeddings": True,
        **changes,
    }
    torch.manual_seed(seed)
    Qwen3ForCausalLM(Qwen3Config(**config)).save_pretrained(folder)
    (tokenizer or byte_tokenizer()).save_pretrained(folder)
    return folder


def settings(out: Path, models: dict[str, Path], run: Path, **changes: Any) -> dict[str, Any]:
    """What a YAML file would hold: on-policy distillation of a LoRA adapter, four steps."""
    return {
        "out": str(out),
        "method": {"name": "opd"},
        "student": {
            "model": str(models["student"]),
            "dtype": "float32",
            "adapter": {"rank": 2, "alpha": 4, "dropout": 0.0},
        },
        "teacher": {"model": str(models["teacher"]), "dtype": "float32"},
        "data": {"student_runs": [str(run)]},
        "batch": {"trajectories": 3, "row_tokens": 64, "chunk": 7},
        "optimiser": {"steps": 4, "learning_rate": 0.01, "schedule": "linear"},
        "checkpoints": {"every": 1, "keep": 2},
        **changes,
    }


def validated(values: dict[str, Any]) -> TrainSettings:
    """Settings of a dictionary."""
    return TrainSettings.model_validate(values)
