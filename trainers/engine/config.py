"""The configuration of a training: what `python -m trainers.train CONFIG.yaml` reads.

Defaults are those of the paper for SWE-bench where it gives them. Source: CHOP Table 27, App. D.2.
"""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

from harness.records.base import Record
from trainers.methods.base import Role
from trainers.methods.registry import AnyMethod
from trainers.omniopd.settings import AnyTextTeacher

SEVEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
DType = Literal["float32", "bfloat16"]
SourceName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]


def _no_head(targets: tuple[str, ...]) -> tuple[str, ...]:
    for name in targets:
        if name in ("lm_head", "embed_tokens"):
            raise ValueError(f"{name} has to stay as it is: losses project with it in chunks")
    return targets


class LoraSettings(Record):
    """A LoRA adapter. Without one, all weights are trained."""

    rank: int = Field(16, ge=1)
    alpha: float = Field(32, gt=0)
    dropout: float = Field(0.05, ge=0, lt=1)
    targets: Annotated[tuple[str, ...], AfterValidator(_no_head)] = SEVEN
    start: Path | None = Field(None, description="An adapter folder to start from (peft's format).")


class StudentSettings(Record):
    """Who learns."""

    model: str = Field(description="A shipped name, a folder, or a hub id like org/name@revision.")
    dtype: DType = Field("bfloat16", description="Of frozen weights and of the arithmetic.")
    adapter: LoraSettings | None = LoraSettings()
    activation_checkpointing: bool = True


class FrozenSettings(Record):
    """A model that is asked and not trained."""

    model: str
    dtype: DType = "bfloat16"
    adapter: Path | None = Field(None, description="An adapter folder on top of it.")
    cache: Path | None = Field(
        None, description="Keep its hidden states here: hidden size × 2 or 4 bytes a sampled token."
    )


class Interface(StrEnum):
    """How PI reaches the teacher."""

    CONTEXT = "context"  # as a block in front of the prompt, adapter on
    WEIGHTS_ONLY = "weights_only"  # adapter on, no text: the paper's App. D.2
    NO_PI = "no_pi_token"  # adapter on, the block with nothing in it: an audit
    PROMPT = "prompt"  # the block alone, no adapter: an ablation


class Composition(StrEnum):
    """How several PI sources become one teacher."""

    LOGITS = "logits"  # the base's and each source's logits, from a forward pass each: exact
    WEIGHTS = "weights"  # one pass with the sum of all adapters, one prompt with all blocks


class TeacherSettings(FrozenSettings):
    """The teacher: a local model, and the PI adapters that make the PI teacher of it."""

    kind: Literal["local"] = "local"
    adapters: dict[SourceName, Path] = Field({}, description="Adapter folders by PI source.")
    interface: Interface = Interface.CONTEXT
    composition: Composition = Composition.LOGITS

    @model_validator(mode="after")
    def _one_kind_of_adapter(self) -> "TeacherSettings":
        if self.adapter is not None and self.adapters:
            raise ValueError("give `adapter`, or `adapters` by PI source, not both")
        if self.interface is Interface.PROMPT and self.composition is Composition.WEIGHTS:
            raise ValueError("interface 'prompt' has no weights to compose: composition: logits")
        return self


class RemoteSettings(Record):
    """A teacher in another process."""

    endpoint: str = Field(description="http://HOST:PORT, or unix:PATH for a hidden_server.")
    model: str = Field(description="Its name there.")
    interface: Interface = Interface.CONTEXT
    timeout_s: float = Field(600, gt=0, description="Of one request.")
    attempts: int = Field(8, ge=1, description="Of one request, where the server is busy or gone.")


class VllmSettings(RemoteSettings):
    """A teacher that vLLM serves: log-probabilities of the likeliest ids."""

    kind: Literal["vllm"]
    tokenizer: str | None = Field(
        None, description="A folder or hub id with the model's tokeniser; `model` if left out."
    )
    adapters: dict[SourceName, str] = Field(
        {}, description="Names that LoRA modules are served by, by PI source."
    )
    top: int = Field(20, ge=-1, description="Ids that are asked for; -1: all of them.")
    concurrency: int = Field(16, ge=1, description="Requests side by side.")
    api_key_env: str | None = Field(None, description="The environment variable with the key.")
    cache: Path | None = Field(None, description="Of answers; <out>/teacher if left out.")

    @model_validator(mode="after")
    def _some(self) -> "VllmSettings":
        if self.top == 0:
            raise ValueError("top: 0 asks for no distribution; give the number of ids, or -1")
        return self


class HiddenServerSettings(RemoteSettings):
    """A teacher whose hidden states `python -m trainers.teachers.hidden_server` gives."""

    kind: Literal["hidden_server"]
    sha256: str | None = Field(
        None, pattern="^[0-9a-f]{8,64}$", description="How the digest of its weights begins."
    )
    adapters: tuple[SourceName, ...] = Field(
        (), description="PI sources whose adapters it was started with."
    )
    composition: Composition = Composition.LOGITS
    cache: Path | None = None


def _kind(given: Any) -> str:
    found = given.get("kind", "local") if isinstance(given, dict) else getattr(given, "kind", "")
    return str(found)


AnyTeacher = Annotated[
    Annotated[TeacherSettings, Tag("local")]
    | Annotated[VllmSettings, Tag("vllm")]
    | Annotated[HiddenServerSettings, Tag("hidden_server")],
    Discriminator(_kind),
]


class PISettings(Record):
    """Privileged information of the trajectories."""

    contexts: tuple[Path, ...] = Field(
        min_length=1, description="Parquet of run, instance_id, seed, turn, source, text."
    )
    sources: tuple[SourceName, ...] = Field(
        (), description="Which of them the teacher has; those of its adapters if left out."
    )
    missing: Literal["error", "empty"] = "error"


class DataSettings(Record):
    """Runs of `harness eval`, or folders of runs, by who sampled them; for adapters, triples."""

    student_runs: tuple[Path, ...] = ()
    teacher_runs: tuple[Path, ...] = ()
    triples: tuple[Path, ...] = Field((), description="Files of `harness datagen triples`.")
    leave_out: tuple[str, ...] = Field(
        (), description="Instances that are not trained on: ids, or patterns like django__*."
    )
    max_tokens: int = Field(
        40_960, ge=2, description="Longer sequences are cut; longer triples are left out."
    )


class BatchSettings(Record):
    """What a step sees, whatever the number of processes."""

    trajectories: int = Field(32, ge=1)
    row_tokens: int = Field(
        4096, ge=1, description="Short sequences share a forward pass up to here."
    )
    chunk: int = Field(512, ge=1, description="Tokens whose logits are held at a time.")


class OptimiserSettings(Record):
    """AdamW, and how its learning rate goes."""

    steps: int = Field(ge=1)
    learning_rate: float = Field(2e-6, gt=0, description="At its peak.")
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warm_up_steps: int = Field(0, ge=0)
    final_share: float = Field(0.0, ge=0, le=1, description="Of the peak, at the end.")
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = Field(0.1, ge=0)
    clip_norm: float = Field(1.0, gt=0)


class CheckpointSettings(Record):
    """How often a training can be continued from."""

    every: int = Field(50, ge=1, description="Steps.")
    keep: int = Field(2, ge=1)


class GuardSettings(Record):
    """When a training stops by itself; a loss or gradient that is no number always stops it."""

    factor: float = Field(
        10.0, gt=1, description="A loss above this times max(1 nat, the largest of the window)."
    )
    window: int = Field(50, ge=1, description="Steps; the guard rests until they are full.")


class TrainSettings(Record):
    """A training, from runs to an adapter or a model."""

    out: Path
    method: AnyMethod
    student: StudentSettings
    teacher: AnyTeacher | None = None
    rollout: FrozenSettings | None = Field(
        None, description="The model that sampled student_runs, for importance ratios."
    )
    reference: FrozenSettings | None = Field(
        None, description="The model to stay near; the student before training if left out."
    )
    text_teacher: AnyTextTeacher | None = Field(
        None, description="A teacher that gives text alone: for method omniopd."
    )
    pi: PISettings | None = None
    data: DataSettings
    batch: BatchSettings = BatchSettings()
    optimiser: OptimiserSettings
    checkpoints: CheckpointSettings = CheckpointSettings()
    guards: GuardSettings = GuardSettings()
    seed: int = Field(0, ge=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    sharding: Literal["none", "fsdp"] = Field(
        "none", description="With torchrun: every process has all weights, or a shard of them."
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_adapters(cls, values: Any) -> Any:
        method = values.get("method") if isinstance(values, dict) else None
        optimiser = values.get("optimiser") if isinstance(values, dict) else None
        if not isinstance(method, dict) or not isinstance(optimiser, dict):
            return values
        if method.get("name") != "adapters":
            return values
        return values | {"optimiser": {"learning_rate": 1e-4, "warm_up_steps": 200, **optimiser}}

    @model_validator(mode="after")
    def _has_what_the_method_needs(self) -> "TrainSettings":
        for role in self.method.roles:
            if self.frozen(role) is None:
                key = Role.ROLLOUT if role is Role.ROLLOUT else Role.TEACHER
                raise ValueError(
                    f"method {self.method.name} needs a {key} model: add the key `{key}:` with "
                    "`model:` below it"
                )
        if self.method.asks_for_text and self.text_teacher is None:
            raise ValueError(
                f"method {self.method.name} needs a text teacher: add the key `text_teacher:` with "
                "`kind:` (endpoint, local or recorded) below it"
            )
        if Role.PI_TEACHER in self.method.roles:
            self._check_pi()
        if self.sharding == "fsdp" and self.method.keeps_prefix:
            raise ValueError(
                f"method {self.method.name} samples from the student in every step, which needs "
                "whole weights: sharding: none (or granularity: token)"
            )
        if self.sharding == "fsdp" and self.method.asks_for_text:
            raise ValueError(
                f"method {self.method.name}: one process alone asks the student where it is "
                "unsure, which needs whole weights: sharding: none"
            )
        runs = self.data.student_runs + self.data.teacher_runs
        if self.method.name == "adapters" and (runs or not self.data.triples):
            raise ValueError("method adapters trains on data.triples, and on nothing else")
        if self.method.name != "adapters" and (self.data.triples or not runs):
            raise ValueError(
                "no data: give data.student_runs or data.teacher_runs (data.triples is for method "
                "adapters)"
            )
        return self

    def _check_pi(self) -> None:
        if self.pi is None:
            raise ValueError(
                f"method {self.method.name} needs PI: add the key `pi:` with `contexts:` below it"
            )
        if not self.sources:
            raise ValueError(
                "no PI source is left: give teacher.adapters or pi.sources, of which "
                "method.pi_sources (or its preset) allows some"
            )
        if self.teacher is not None and self.teacher.interface is not Interface.PROMPT:
            without = [one for one in self.sources if one not in self.teacher.adapters]
            if without:
                raise ValueError(f"teacher.adapters has none for PI source {without[0]!r}")

    @property
    def sources(self) -> tuple[str, ...]:
        """The PI sources of the teacher, in order: those that the method allows."""
        given = self.pi.sources if self.pi is not None else ()
        there = set(given or (self.teacher.adapters if self.teacher else ()))
        allowed: Sequence[str] | None = getattr(self.method, "pi_sources", None)
        return tuple(sorted(there if allowed is None else there & set(allowed)))

    def frozen(self, role: Role) -> FrozenSettings | RemoteSettings | None:
        """The model that has a role."""
        if role is Role.REFERENCE:
            adapter = self.student.adapter
            return self.reference or FrozenSettings(
                model=self.student.model,
                dtype=self.student.dtype,
                adapter=None if adapter is None else adapter.start,
            )
        return self.rollout if role is Role.ROLLOUT else self.teacher

    @property
    def reference_is_base(self) -> bool:
        """Whether the reference is the student without its adapter, so that it costs no memory."""
        adapter = self.student.adapter
        fresh = adapter is not None and adapter.start is None
        return self.reference is None and fresh and self.sharding == "none"
