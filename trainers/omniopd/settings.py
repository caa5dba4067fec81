"""The keys below `text_teacher:` of a training's configuration."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from harness.records.base import Record


class Budget(Record):
    """What a training may spend on a text teacher. Kept answers cost nothing."""

    tokens: int | None = Field(None, ge=1, description="Of prompts and answers together.")
    usd: float | None = Field(None, gt=0, description="Needs prices.")


class Prices(Record):
    """Of a million tokens."""

    prompt_usd: float = Field(ge=0)
    generated_usd: float = Field(ge=0)
    cached_usd: float | None = Field(None, ge=0, description="Prompt tokens that it had cached.")


class _TextTeacherSettings(Record):
    cache: Path | None = Field(None, description="Of answers; <out>/texts if left out.")
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    prompt: Literal["chat", "text"] = Field(
        "chat", description="Messages and the answer so far, or all that the student saw as text."
    )
    length_factor: float = Field(
        1.0, ge=1, description="Tokens of a continuation for each of the chunk's."
    )
    tokenizer: str | None = Field(
        None, description="A folder or hub id with the teacher's tokeniser, to estimate costs."
    )
    budget: Budget = Budget()
    prices: Prices | None = None


class EndpointSettings(_TextTeacherSettings):
    """An OpenAI-compatible endpoint, a gateway of ours included."""

    kind: Literal["endpoint"]
    endpoint: str = Field(description="http://HOST:PORT/v1, or unix:PATH of a gateway's socket.")
    model: str
    api_key_env: str | None = Field(None, description="The environment variable with the key.")
    prefill: Literal["auto", "prefill", "instruction"] = Field(
        "auto",
        description="How an answer is continued: `auto` asks the endpoint once what it can do.",
    )
    concurrency: int = Field(16, ge=1, description="Requests side by side.")
    timeout_s: float = Field(600, gt=0)
    attempts: int = Field(8, ge=1)


class LocalTextSettings(_TextTeacherSettings):
    """A transformers model on this machine, with a tokeniser of its own."""

    kind: Literal["local"]
    model: str = Field(description="A shipped name, a folder, or a hub id like org/name@revision.")
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    batch: int = Field(16, ge=1, description="Continuations side by side.")


class RecordedSettings(_TextTeacherSettings):
    """Answers that another training kept, and no teacher: what is missing is an error."""

    kind: Literal["recorded"]


AnyTextTeacher = Annotated[
    EndpointSettings | LocalTextSettings | RecordedSettings, Field(discriminator="kind")
]
