"""How much memory a training will take: arithmetic on sizes, nothing is loaded.

Shapes: T tokens of the longest row, C tokens of a chunk, D hidden size, V vocabulary.
"""

from dataclasses import dataclass

import torch
from peft import get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from harness.records.cache import cache_root
from trainers.engine.config import DType, FrozenSettings, StudentSettings, TrainSettings
from trainers.engine.networks import lora_config
from trainers.methods.base import Role
from trainers.serving.models import resolve_model

_BYTES: dict[DType, int] = {"float32": 4, "bfloat16": 2}
_LIBRARIES = (
    3 * 2**28
)  # Python, torch, transformers and peft, imported and at work: 0.7 to 0.75 GiB
_LIVE = 16  # tensors (T, D) and (T, intermediate) that one layer keeps for its backward pass
_LOGITS = 8  # tensors (C, V) in float32 that a method's forward and backward pass hold


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes by part, of one process that holds everything."""

    parameters: int
    trained: int
    parts: dict[str, int]

    @property
    def total(self) -> int:
        """Bytes."""
        return sum(self.parts.values())


def estimate_memory(settings: TrainSettings, longest_row: int) -> MemoryEstimate:
    """What the largest row will need. Activations are a rough upper estimate."""
    student = _skeleton(settings.student.model)
    config = student.config
    layers, wide = config.num_hidden_layers, config.intermediate_size
    parameters, trained = _parameters(student, settings.student)
    size = _BYTES[settings.student.dtype]
    full = settings.student.adapter is None
    layer = longest_row * 4 * _LIVE * (config.hidden_size + wide) // 2  # norms are in float32
    kept = layers * longest_row * size * config.hidden_size
    parts = {
        "libraries": _LIBRARIES,
        "student's weights": trained * 4 + (0 if full else (parameters - trained) * size),
        "gradients": trained * 4,
        "optimiser": trained * 8,
        "activations": kept + layer
        if settings.student.activation_checkpointing
        else layers * layer,
        "logits of a chunk": _LOGITS * 4 * config.vocab_size * settings.batch.chunk,
    }
    if full:  # the output embedding's gradient, and the same scaled
        parts["gradients"] += 2 * 4 * config.vocab_size * config.hidden_size
    asked = {role: settings.frozen(role) for role in settings.method.roles}
    if Role.PI_TEACHER in asked:
        asked.pop(Role.TEACHER, None)  # one model is both
    if settings.reference_is_base:
        asked.pop(Role.REFERENCE, None)
    for role, frozen in asked.items():
        if isinstance(frozen, FrozenSettings):
            other = _skeleton(frozen.model)
            weights = sum(each.numel() for each in other.parameters())
            hidden = longest_row * 8 * (other.config.hidden_size + other.config.intermediate_size)
            parts[f"{role}"] = weights * _BYTES[frozen.dtype] + hidden * _BYTES[frozen.dtype]
    return MemoryEstimate(parameters, trained, parts)


def _parameters(model: AutoModelForCausalLM, settings: StudentSettings) -> tuple[int, int]:
    """All parameters, and those that are trained."""
    if settings.adapter is not None:
        with torch.device("meta"):
            model = get_peft_model(model, lora_config(settings.adapter))
    sizes = [(each.numel(), each.requires_grad) for each in model.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, trained in sizes if trained)


def _skeleton(reference: str) -> AutoModelForCausalLM:
    """A model without memory for its weights."""
    folder = resolve_model(reference, cache_root() / "models").folder
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
