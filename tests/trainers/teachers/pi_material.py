"""PI adapters of a tiny teacher, trajectories, and their PI."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from trainers.data.contexts import PIContexts
from trainers.data.trajectories import Trajectory, Turn
from trainers.engine.config import SEVEN
from trainers.engine.networks import BASE_KEY, SOURCE_KEY, load_frozen_with
from trainers.serving.shipped import file_sha256
from trainers.teachers.pi_teacher import PITeacher

CPU = torch.device("cpu")
SOURCES = ("call_graph", "gold_patch", "test_manifest")
TEXTS = {"call_graph": "f -> g", "gold_patch": "- x\n+ y", "test_manifest": "test_f"}


def write_adapter(folder: Path, base: Path, seed: int, source: str | None = None) -> Path:
    """A LoRA of random factors that changes what the base says."""
    torch.manual_seed(seed)
    config = LoraConfig(r=2, lora_alpha=4, target_modules=list(SEVEN), task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    for name, each in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(each, std=0.1)
    model.save_pretrained(str(folder))
    file = folder / "adapter_model.safetensors"
    facts = {"format": "pt", BASE_KEY: file_sha256(base / "model.safetensors")}
    save_file(load_file(file), file, facts | ({} if source is None else {SOURCE_KEY: source}))
    return folder


def trajectory(name: str = "r/i/0#0", bos: bool = False) -> Trajectory:
    """Three turns of 4, 5 and 6 sampled tokens, behind 3 others each."""
    seed = sum(map(ord, name))
    ids = np.random.default_rng(seed).integers(0, 256, 24).astype(np.int32)
    ids[0] = 256 if bos else ids[0]
    turns = (Turn(3, 7, 1, 1, 1), Turn(10, 15, 1, 1, 2), Turn(18, 24, 1, 1, 3))
    return Trajectory(name, "i", "student", ids, turns, np.zeros(24, np.float32), 1)


def contexts(texts: dict[str, Any]) -> PIContexts:
    """PI of the trajectory `r/i/0` by source: a text, or one for each turn."""
    known: dict[tuple[int, str], str] = {}
    for source, given in texts.items():
        each = (given,) * 3 if isinstance(given, str) else given
        known |= {(turn, source): text for turn, text in enumerate(each, 1)}
    return PIContexts({("r", "i", 0): known}, "contexts.parquet", lenient=False)


def pi_teacher(
    base: Path, adapters: dict[str, Path], texts: dict[str, Any], **options: Any
) -> PITeacher:
    """A teacher with these adapters and this PI of `trajectory()`."""
    network = load_frozen_with(str(base), "float32", adapters, CPU)
    return PITeacher(network, contexts(texts), sorted(texts), **options)
