"""The records of a run's configuration."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from harness.agents.base import Decoding
from harness.config.needs import ModelNeed
from harness.gateway import GatewayOptions
from harness.grading.options import GradingOptions
from harness.records import Budget, Record
from harness.sandboxes.base import Limits

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._\-]*$", max_length=80)]


class AgentConfig(Record):
    """Which agent, with which options of its own."""

    kind: str
    options: dict[str, Any] = Field(default_factory=dict)


class ModelConfig(Record):
    """Where the model answers.

    `embedded`: `name` (a shipped model, a folder or a hub id) served on this machine's CPU, with
    the LoRA adapter `adapter` (a shipped one or a folder) merged into it.
    `endpoint`: an OpenAI-compatible server; what is not given comes from HARNESS_BASE_URL and
    HARNESS_MODEL, and vLLM is asked to load the folder `adapter`. The key comes from
    HARNESS_API_KEY alone and is never written down.
    `rehearsal`: no model but a script that plays each instance's gold patch.
    """

    kind: Literal["embedded", "endpoint", "rehearsal"]
    name: str | None = None
    adapter: Path | None = None
    base_url: str | None = None

    @model_validator(mode="after")
    def _has_a_model(self) -> Self:
        if self.adapter is not None and self.kind == "rehearsal":
            raise ValueError("a rehearsal has no model that an adapter could belong to")
        return self


class MethodSettings(Record):
    """What a method may say about its evaluation; what it does not say, the profile does.

    suite: unless the user names one. needs: models that are to be served for it.
    """

    agent: AgentConfig | None = None
    model: ModelConfig | None = None
    suite: str | None = None
    budget: Budget | None = None
    decoding: Decoding | None = None
    needs: tuple[ModelNeed, ...] = ()


class Method(MethodSettings):
    """`manifests/methods/<name>.yaml`: all that `harness eval --method` needs.

    profiles: what is different on a profile. Where some are named, the method is for these alone.
    """

    schema_version: Literal[1] = 1
    name: Name
    title: str
    description: str
    agent: AgentConfig
    needs_model: bool = False
    profiles: dict[Name, MethodSettings] = Field(default_factory=dict)


class Profile(Record):
    """`manifests/profiles/<name>.yaml`: the scale of machine a run is for."""

    schema_version: Literal[1] = 1
    name: Name
    description: str
    sandbox: Literal["docker", "process"]
    model: ModelConfig
    workers: int = Field(ge=1)
    budget: Budget = Budget()
    decoding: Decoding = Decoding()
    limits: Limits = Limits()
    gateway: GatewayOptions = GatewayOptions()
    executor: Literal["local", "ray"] = "local"


class SuiteRef(Record):
    """The instances of a run, by source and content.

    kind: repositories to change, or questions of mathematics or programming (harness/questions).
    """

    kind: Literal["instances", "math", "code"] = "instances"
    reference: str
    split: str | None = None
    revision: str | None = None
    sha256: str
    instances: int


class Replay(Record):
    """Where a run's attempts were taken from, and up to which turn.

    run: the recorded run's folder. step: the first turn that a model answers; None: none.
    pi: recorded, or as the agent was told instead. forced: recorded answers were given also where
    the request differs. ids: the recorded token ids are kept. card: of the recorded model, for what
    no model answers. calls_sha256: by instance, of the recorded `calls.parquet`.
    """

    run: str
    seed: int
    step: int | None = Field(ge=1)
    pi: Literal["recorded", "none", "given", "empty"] = "recorded"
    forced: bool = False
    ids: bool = True
    card: dict[str, Any]
    calls_sha256: dict[str, str]


class RunConfig(Record):
    """`run.yaml`: everything that a run was asked to do."""

    schema_version: Literal[1] = 1
    id: str
    method: Method
    profile: str
    suite: SuiteRef
    seeds: tuple[int, ...]
    sandbox: Literal["docker", "process"]
    model: ModelConfig | None
    budget: Budget
    decoding: Decoding
    limits: Limits
    gateway: GatewayOptions = GatewayOptions()
    grading: GradingOptions
    workers: int
    executor: Literal["local", "ray"] = "local"
    replay: Replay | None = None
    command: str
    created_at: str
    machine: dict[str, str]
    notes: tuple[str, ...] = ()
