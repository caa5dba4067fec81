"""A loaded model as the HTTP interface sees it: prompts in, pieces of text out."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainers.serving.choices import ChoiceTrie, choice_trie
from trainers.serving.engine import (
    Engine,
    EngineEvent,
    EngineFailure,
    GeneratedToken,
    Generation,
    PromptDone,
)
from trainers.serving.protocol import ChatRequest, CompletionRequest, Message, RequestError
from trainers.serving.sampling import SamplingParams
from trainers.serving.text import TextStream


class EngineError(RuntimeError):
    """The model failed while it computed an answer."""


@dataclass(frozen=True)
class Piece:
    """What one generated token adds to an answer; the first one carries the prompt's log-probs."""

    text: str
    token: GeneratedToken
    finish: Literal["stop", "length"] | None
    prompt: PromptDone | None


class Service:
    """One model, its tokeniser and what is known about it."""

    def __init__(
        self,
        *,
        name: str,
        facts: dict[str, Any],
        engine: Engine,
        tokenizer: Any,
        stop_ids: frozenset[int],
        max_model_len: int,
    ) -> None:
        self.name = name
        self._facts = facts
        self._engine = engine
        self._tokenizer = tokenizer
        self._stop_ids = stop_ids
        self._max_model_len = max_model_len
        self._started = int(time.time())

    @property
    def alive(self) -> bool:
        """Whether the model still answers."""
        return self._engine.alive

    def card(self) -> dict[str, Any]:
        """The entry of `/v1/models`: vLLM's fields, and what the model is under `facts`."""
        return {
            "id": self.name,
            "object": "model",
            "created": self._started,
            "owned_by": "embedded",
            "root": self._facts["source"],
            "parent": None,
            "max_model_len": self._max_model_len,
            "permission": [],
            "facts": self._facts,
        }

    def chat_prompt(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of a conversation, up to where the answer begins."""
        try:
            text = self._tokenizer.apply_chat_template(
                [message.as_text() for message in messages],
                tokenize=False,
                add_generation_prompt=True,
            )
        except Exception as error:  # templates raise whatever they like
            raise RequestError(f"the chat template refused: {error}", param="messages") from None
        return self.text_prompt(text)

    def text_prompt(self, prompt: str | Sequence[int]) -> list[int]:
        """The tokens of a prompt, nothing added."""
        if not isinstance(prompt, str):
            bad = [token for token in prompt if not 0 <= token < len(self._tokenizer)]
            if bad:
                raise RequestError(f"token id {bad[0]} is not in the vocabulary", param="prompt")
            return list(prompt)
        tokens: list[int] = self._tokenizer(prompt, add_special_tokens=False)["input_ids"]
        return tokens

    def token_text(self, token: int) -> str:
        """The text of one token; special tokens are shown."""
        text: str = self._tokenizer.decode([token])
        return text

    async def generate(
        self,
        asked: ChatRequest | CompletionRequest,
        prompt: list[int],
        choices: ChoiceTrie | None = None,
    ) -> AsyncIterator[Piece]:
        """The answer, piece by piece; closing the iterator cancels the generation.

        Raises EngineError.
        """
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[EngineEvent] = asyncio.Queue()
        generation = Generation(
            prompt=prompt,
            max_tokens=self.token_limit(asked, prompt),
            stop_ids=self._stop_ids,
            sampling=SamplingParams(
                temperature=asked.temperature,
                top_p=asked.top_p,
                top_k=max(asked.top_k, 0),
                seed=secrets.randbits(63) if asked.seed is None else asked.seed,
            ),
            emit=lambda event: _hand_over(loop, events, event),
            top_logprobs=asked.wanted_logprobs,
            prompt_logprobs=asked.prompt_logprobs,
            choices=choices,
        )
        text = TextStream(self._tokenizer.backend_tokenizer, asked.stops)
        self._engine.submit(generation)
        prompt_done = None
        try:
            while True:
                event = await events.get()
                if isinstance(event, EngineFailure):
                    raise EngineError(event.message)
                if isinstance(event, PromptDone):
                    prompt_done = event
                    continue
                new = "" if event.finish == "stop" else text.push(event.id)
                finish = "stop" if text.stopped else event.finish
                if finish is not None and not text.stopped:
                    new += text.flush()
                yield Piece(new, event, finish, prompt_done)
                prompt_done = None
                if finish is not None:
                    return
        finally:
            generation.cancelled = True

    def choices(self, texts: Sequence[str]) -> ChoiceTrie | None:
        """What the answer may be; None for no texts: anything. Raises RequestError."""
        if not texts:
            return None
        end = self._tokenizer.eos_token_id
        if end not in self._stop_ids:
            raise RequestError("the model has no end-of-turn token to end a choice with")
        tokens = [self.text_prompt(text) for text in texts]
        for text, ids in zip(texts, tokens, strict=True):
            if not ids or self._stop_ids.intersection(ids):
                raise RequestError(
                    f"the choice {text!r:.80} has no token, or one that ends the answer",
                    param="structured_outputs.choice",
                )
        return choice_trie(tokens, end)

    def token_limit(self, asked: ChatRequest | CompletionRequest, prompt: Sequence[int]) -> int:
        """How many tokens may be generated. Raises RequestError when they do not fit."""
        if not prompt:
            raise RequestError("the prompt is empty", param="prompt")
        limit = asked.limit or max(1, self._max_model_len - len(prompt))
        if len(prompt) + limit > self._max_model_len:
            raise RequestError(
                f"This model's maximum context length is {self._max_model_len} tokens. However, "
                f"you requested {len(prompt) + limit} tokens ({len(prompt)} in the prompt, "
                f"{limit} in the completion). Please reduce the length of the messages or of the "
                "completion.",
                param="messages" if isinstance(asked, ChatRequest) else "prompt",
                code="context_length_exceeded",
            )
        return limit


def _hand_over(
    loop: asyncio.AbstractEventLoop, events: asyncio.Queue[EngineEvent], event: EngineEvent
) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(events.put_nowait, event)
