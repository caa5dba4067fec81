"""The requests that the server takes: the part of the OpenAI interface that agents use.

Field names and meanings are OpenAI's, with vLLM's additions `top_k`, `return_token_ids`,
`prompt_logprobs`, `structured_outputs` (its `choice` alone) and `guided_choice`, its older name.
`user` is accepted and ignored; any other unknown parameter is an error, and so is a known one at a
value that the server would not honour.
"""

import difflib
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

T = TypeVar("T", bound=BaseModel)


class RequestError(ValueError):
    """A request that cannot be served: answered with OpenAI's error object."""

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400
    ) -> None:
        super().__init__(message)
        self.param = param
        self.code = code
        self.status = status


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextPart(_Strict):
    """A part of a message's content."""

    type: Literal["text"]
    text: str


class Message(_Strict):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | list[TextPart]

    def as_text(self) -> dict[str, str]:
        """For the chat template: content as one text."""
        if isinstance(self.content, str):
            return {"role": self.role, "content": self.content}
        return {"role": self.role, "content": "".join(part.text for part in self.content)}


class StreamOptions(_Strict):
    """Options of a streamed answer."""

    include_usage: bool = False


_Choices = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=1000)]], Field(min_length=1, max_length=512)
]


class StructuredOutputs(_Strict):
    """What an answer must be: exactly one of some texts."""

    choice: _Choices


_Stop = Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=16)]


class _GenerationRequest(_Strict):
    model: str | None = None
    temperature: float = Field(1.0, ge=0, le=100)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=-1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Annotated[str, Field(min_length=1)] | _Stop | None = None
    n: Literal[1] = 1
    presence_penalty: Literal[0] = 0
    frequency_penalty: Literal[0] = 0
    stream: bool = False
    stream_options: StreamOptions | None = None
    return_token_ids: bool = False
    prompt_logprobs: int | None = Field(None, ge=0, le=20)
    structured_outputs: StructuredOutputs | None = None
    guided_choice: _Choices | None = None
    user: str | None = None

    @model_validator(mode="after")
    def _one_constraint(self) -> Self:
        if self.structured_outputs is not None and self.guided_choice is not None:
            raise ValueError("structured_outputs and guided_choice together")
        return self

    @property
    def choices(self) -> list[str]:
        """What the answer must be one of; empty: anything."""
        if self.structured_outputs is not None:
            return self.structured_outputs.choice
        return self.guided_choice or []

    @property
    def stops(self) -> list[str]:
        """The stop strings."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or [])

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the token counts."""
        return self.stream_options is not None and self.stream_options.include_usage


class ChatRequest(_GenerationRequest):
    """`POST /v1/chat/completions`."""

    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool = False
    top_logprobs: int = Field(0, ge=0, le=20)

    @property
    def limit(self) -> int | None:
        """Most tokens to generate."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def wanted_logprobs(self) -> int | None:
        """Alternatives to report for each token; None: no log-probs at all."""
        return self.top_logprobs if self.logprobs else None


class CompletionRequest(_GenerationRequest):
    """`POST /v1/completions`: a prompt as text or as token ids, used as it is."""

    prompt: str | list[int]
    max_tokens: int = Field(16, ge=1)
    logprobs: int | None = Field(None, ge=0, le=20)
    echo: Literal[False] = False

    @property
    def limit(self) -> int | None:
        """Most tokens to generate."""
        return self.max_tokens

    @property
    def wanted_logprobs(self) -> int | None:
        """Alternatives to report for each token; None: no log-probs at all."""
        return self.logprobs


def parse_request(kind: type[T], body: bytes) -> T:
    """The body as a request of a kind. Raises RequestError naming the first wrong parameter."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        raise _explain(kind, first["loc"], first["type"], first["msg"], first["input"]) from None


def _explain(
    kind: type[BaseModel], where: tuple[int | str, ...], problem: str, message: str, found: Any
) -> RequestError:
    param = ".".join(map(str, where)) or None
    if problem == "extra_forbidden" and len(where) == 1:
        known = sorted(kind.model_fields)
        near = difflib.get_close_matches(str(where[0]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"supported: {', '.join(known)}"
        return RequestError(f"parameter {param!r} is not supported; {hint}", param=param)
    if problem == "json_invalid":
        return RequestError(f"the body is not JSON: {message}")
    return RequestError(f"parameter {param!r}: {message} (found {found!r:.80})", param=param)
